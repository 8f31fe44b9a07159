/* Files that fail, for LD_PRELOAD: RASP_IO is "N KIND EVERY". The N-th call that reads, writes, opens, maps, measures or
 * renames a file, and with EVERY 1 all from it on, fails with EIO (KIND eio) or ENOSPC (enospc; calls that write), is
 * interrupted (eintr), or does half of what was asked for (short; reads and writes). With N 0 nothing fails.
 * RASP_IO_COUNT is a file to write the number of calls to.
 *
 * Standard streams, pipes, and what is only read below /proc and /sys or ends in .so are left alone. */
#define _GNU_SOURCE
#include <dlfcn.h>
#include <errno.h>
#include <fcntl.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>
#include <sys/stat.h>
#include <sys/uio.h>
#include <sys/vfs.h>
#include <unistd.h>

static long seen, first, every;
static char kind[16];
static int ready;

static void begin(void) {
    if (ready)
        return;
    ready = 1;
    const char *what = getenv("RASP_IO");
    if (what == NULL || sscanf(what, "%ld %15s %ld", &first, kind, &every) < 2)
        first = 0;
}

__attribute__((destructor)) static void end(void) {
    const char *file = getenv("RASP_IO_COUNT");
    FILE *to = file ? fopen(file, "we") : NULL;
    if (to) {
        fprintf(to, "%ld\n", seen);
        fclose(to);
    }
}

enum { NOTHING, FAIL, SHORT };

/* What is to become of this call: of a kind that writes, or can be done by half. */
static int fate(int writes, int halves) {
    begin();
    long now = __sync_add_and_fetch(&seen, 1);
    if (first == 0 || (every ? now < first : now != first))
        return NOTHING;
    if (strcmp(kind, "short") == 0)
        return halves ? SHORT : NOTHING;
    if (strcmp(kind, "enospc") == 0) {
        errno = ENOSPC;
        return writes ? FAIL : NOTHING;
    }
    /* One that is interrupted for ever would rightly be tried for ever. */
    errno = strcmp(kind, "eintr") == 0 ? EINTR : EIO;
    return errno == EINTR && (every || !halves) ? NOTHING : FAIL;
}

static int ours(int file) {
    struct stat about;
    static int (*real)(int, struct stat *);
    if (!real)
        *(void **)&real = dlsym(RTLD_NEXT, "fstat");
    struct statfs system;
    return file > 2 && real(file, &about) == 0 && S_ISREG(about.st_mode) && fstatfs(file, &system) == 0 &&
           system.f_type != 0x9fa0 /* proc */ && system.f_type != 0x62656572 /* sysfs */;
}

static int named(const char *path) {
    size_t n = strlen(path);
    return strncmp(path, "/proc", 5) && strncmp(path, "/sys", 4) && strncmp(path, "/dev", 4) &&
           strncmp(path, "/etc", 4) && !(n > 3 && strcmp(path + n - 3, ".so") == 0);
}

#define REAL(name) \
    static __typeof__(name) *real; \
    if (!real) \
        *(void **)&real = dlsym(RTLD_NEXT, #name)

/* Reads and writes; `LESS` is what a short one does. */
#define TRANSFER(name, writes, parameters, arguments, shorter) \
    ssize_t name parameters { \
        REAL(name); \
        int found = ours(file) ? fate(writes, 1) : NOTHING; \
        return found == FAIL ? -1 : found == SHORT ? real shorter : real arguments; \
    }

#define LESS (size > 1 ? size / 2 : size)
TRANSFER(read, 0, (int file, void *data, size_t size), (file, data, size), (file, data, LESS))
TRANSFER(write, 1, (int file, const void *data, size_t size), (file, data, size), (file, data, LESS))
TRANSFER(pread64, 0, (int file, void *data, size_t size, off64_t at), (file, data, size, at), (file, data, LESS, at))
TRANSFER(pwrite64, 1, (int file, const void *data, size_t size, off64_t at), (file, data, size, at),
         (file, data, LESS, at))
TRANSFER(writev, 1, (int file, const struct iovec *parts, int count), (file, parts, count),
         (file, parts, count > 1 ? count / 2 : count))

/* Calls that succeed or fail. */
#define CALL(result, name, writes, is, parameters, arguments, failed) \
    result name parameters { \
        REAL(name); \
        return (is) && fate(writes, 0) == FAIL ? failed : real arguments; \
    }

CALL(int, fsync, 1, ours(file), (int file), (file), -1)
CALL(int, fdatasync, 1, ours(file), (int file), (file), -1)
CALL(int, ftruncate64, 1, ours(file), (int file, off64_t size), (file, size), -1)
CALL(off64_t, lseek64, 0, ours(file), (int file, off64_t at, int from), (file, at, from), -1)
CALL(int, rename, 1, named(from), (const char *from, const char *to), (from, to), -1)
CALL(void *, mmap64, 0, ours(file), (void *at, size_t size, int use, int how, int file, off64_t from),
     (at, size, use, how, file, from), MAP_FAILED)
CALL(void *, mmap, 0, ours(file), (void *at, size_t size, int use, int how, int file, off_t from),
     (at, size, use, how, file, from), MAP_FAILED)

/* Their third argument is there only where a file is made. */
#define OPEN(name) \
    int name(const char *path, int flags, ...) { \
        REAL(name); \
        va_list rest; \
        va_start(rest, flags); \
        int mode = flags & (O_CREAT | O_TMPFILE) ? va_arg(rest, int) : 0; \
        va_end(rest); \
        return named(path) && fate(flags & O_CREAT, 0) == FAIL ? -1 : real(path, flags, mode); \
    }
OPEN(open)
OPEN(open64)

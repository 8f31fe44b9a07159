/* An allocator that fails: armed with n, the n-th allocation of the process, or all from the n-th on, is refused.
 * Linked before the C library, whose functions it takes the place of. */
#define _GNU_SOURCE
#include <errno.h>
#include <stddef.h>
#include <stdlib.h>

extern void *__libc_malloc(size_t);
extern void *__libc_calloc(size_t, size_t);
extern void *__libc_realloc(void *, size_t);
extern void *__libc_memalign(size_t, size_t);

static volatile long first = -1, seen, all;

/* 0 counts and refuses nothing; a negative number disarms. */
void failing_arm(long n, long every) {
    seen = 0;
    all = every;
    first = n;
}

long failing_disarm(void) {
    first = -1;
    return seen;
}

static int refused(void) {
    if (first < 0)
        return 0;
    long now = __sync_add_and_fetch(&seen, 1);
    if (first == 0 || (all ? now < first : now != first))
        return 0;
    errno = ENOMEM;
    return 1;
}

void *malloc(size_t size) { return refused() ? NULL : __libc_malloc(size); }
void *calloc(size_t count, size_t size) { return refused() ? NULL : __libc_calloc(count, size); }
void *realloc(void *memory, size_t size) { return refused() ? NULL : __libc_realloc(memory, size); }
void *memalign(size_t align, size_t size) { return refused() ? NULL : __libc_memalign(align, size); }
void *aligned_alloc(size_t align, size_t size) { return refused() ? NULL : __libc_memalign(align, size); }

int posix_memalign(void **place, size_t align, size_t size) {
    if (refused())
        return ENOMEM;
    *place = __libc_memalign(align, size);
    return *place ? 0 : ENOMEM;
}

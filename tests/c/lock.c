/* A model locked in memory, and one that the system does not allow to be locked (Linux).   lock MODEL.rasp */
#define _GNU_SOURCE
#include "check.h"

#include <linux/capability.h>
#include <sys/resource.h>
#include <sys/syscall.h>
#include <unistd.h>

/* Kilobytes of this process that are locked. */
static long locked(void) {
    char line[256];
    long kilobytes = -1;
    FILE *file = fopen("/proc/self/status", "r");
    CHECK(file != NULL);
    while (fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, "VmLck:", 6) == 0) {
            kilobytes = strtol(line + 6, NULL, 10);
        }
    }
    fclose(file);
    return kilobytes;
}

/* Root may lock what it likes, whatever the limit; not without this capability. */
static void obey_the_limit(void) {
    struct __user_cap_header_struct header = {_LINUX_CAPABILITY_VERSION_3, 0};
    struct __user_cap_data_struct data[_LINUX_CAPABILITY_U32S_3];
    CHECK(syscall(SYS_capget, &header, data) == 0);
    data[0].effective &= ~(1U << CAP_IPC_LOCK);
    CHECK(syscall(SYS_capset, &header, data) == 0);
    struct rlimit page = {4096, 4096};
    CHECK(setrlimit(RLIMIT_MEMLOCK, &page) == 0);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_error error;
    rasp_model *model;
    rasp_load_options options;
    rasp_load_options_init(&options);
    options.lock = 1;
    CHECK(rasp_load(argv[1], &options, &model, &error) == RASP_OK);
    rasp_model_info info;
    rasp_model_info_init(&info);
    CHECK(rasp_model_get_info(model, &info, &error) == RASP_OK);
    CHECK(locked() >= (long)(info.file_size / 1024));
    rasp_free(model);
    CHECK(locked() == 0);

    obey_the_limit();
    CHECK(rasp_load(argv[1], &options, &model, &error) == RASP_ERROR_OUT_OF_MEMORY);
    CHECK(model == NULL && strstr(error.message, "RLIMIT_MEMLOCK") != NULL && strstr(error.message, argv[1]) != NULL);
    options.lock = 0;
    CHECK(rasp_load(argv[1], &options, &model, &error) == RASP_OK);
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

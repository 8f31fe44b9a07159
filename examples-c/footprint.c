/*
 * footprint: how long it takes from nothing to the first token, and how much memory of its own that takes (Linux).
 *
 *     footprint MODEL.rasp
 */
#include <rasp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

static double milliseconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return 1e3 * (double)now.tv_sec + 1e-6 * (double)now.tv_nsec;
}

static void check(rasp_status status, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "footprint: %s: %s\n", rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

/* A line of /proc/self/status, in kilobytes; RssAnon is memory of our own, without the mapped file. */
static long status_kb(const char *name) {
    char line[256];
    long value = -1;
    FILE *file = fopen("/proc/self/status", "r");
    while (file != NULL && fgets(line, sizeof line, file) != NULL) {
        if (strncmp(line, name, strlen(name)) == 0) {
            value = strtol(line + strlen(name) + 1, NULL, 10);
        }
    }
    if (file != NULL) {
        fclose(file);
    }
    return value;
}

int main(int argc, char **argv) {
    if (argc != 2) {
        fprintf(stderr, "usage: footprint MODEL.rasp\n");
        return EXIT_FAILURE;
    }
    rasp_error error;
    rasp_model *model;
    rasp_session *session;
    uint32_t token;
    size_t count;
    double start = milliseconds();
    check(rasp_load(argv[1], NULL, &model, &error), &error);
    double loaded = milliseconds();
    check(rasp_tokenize(model, "The", 3, 0, &token, 1, &count, &error), &error);
    check(rasp_session_open(model, NULL, &session, &error), &error);
    check(rasp_prefill(session, &token, 1, &error), &error);
    check(rasp_step(session, &token, &error), &error);
    double first = milliseconds();
    printf("load %.1f ms, first token after %.1f ms, own memory %ld kB, mapped file %ld kB\n", loaded - start,
           first - start, status_kb("RssAnon"), status_kb("RssFile"));
    rasp_session_close(session);
    rasp_free(model);
    return EXIT_SUCCESS;
}

/* What the C tests share: checks that say where they failed. */
#ifndef RASP_TEST_CHECK_H
#define RASP_TEST_CHECK_H

#include <rasp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define CHECK(condition)                                                                 \
    do {                                                                                 \
        if (!(condition)) {                                                              \
            fprintf(stderr, "%s:%d: %s does not hold\n", __FILE__, __LINE__, #condition); \
            exit(EXIT_FAILURE);                                                          \
        }                                                                                \
    } while (0)

/* The call must fail with this status, and the error struct (`error`, of the program) must say so and name
   `word`. */
#define FAILS(call, status, word)                                             \
    do {                                                                      \
        memset(&error, 0, sizeof error);                                      \
        rasp_status found = (call);                                           \
        if (found != (status) || error.code != (status) ||                    \
            strstr(error.message, word) == NULL) {                            \
            fprintf(stderr, "%s:%d: %s: %d (%s)\n", __FILE__, __LINE__, #call, (int)found, error.message); \
            exit(EXIT_FAILURE);                                               \
        }                                                                     \
    } while (0)

#endif

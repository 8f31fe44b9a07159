/* What the C tests share: a check that says where it failed, and the model that make model leaves. */
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

#endif

/* Handles that are dead, in a library that checks them.   handles TINY.rasp */
#include "check.h"

static rasp_error error;

#define DEAD(call)                                                                     \
    do {                                                                               \
        memset(&error, 0, sizeof error);                                               \
        CHECK((call) == RASP_ERROR_INVALID_ARGUMENT);                                  \
        CHECK(strstr(error.message, "no live handle") != NULL);                        \
    } while (0)

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_model *model;
    rasp_session *session;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);

    /* One for the other, and what was never a handle. */
    char garbage[64] = {0};
    uint32_t token = 'a';
    size_t count;
    const uint8_t *bytes;
    DEAD(rasp_prefill((rasp_session *)model, &token, 1, &error));
    DEAD(rasp_prefill((rasp_session *)garbage, &token, 1, &error));
    DEAD(rasp_token_bytes((const rasp_model *)session, token, &bytes, &count, &error));
    CHECK(rasp_free((rasp_model *)session) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_session_close((rasp_session *)model) == RASP_ERROR_INVALID_ARGUMENT);

    /* Alive until the last reference. */
    CHECK(rasp_model_retain(model) == RASP_OK && rasp_free(model) == RASP_OK);
    CHECK(rasp_token_bytes(model, token, &bytes, &count, &error) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    CHECK(rasp_free(model) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_model_retain(model) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_token_is_end(model, 256) == 0);
    DEAD(rasp_token_bytes(model, token, &bytes, &count, &error));
    rasp_session *another;
    DEAD(rasp_session_open(model, NULL, &another, &error));
    CHECK(another == NULL);

    /* The session kept what it needs of the model. */
    CHECK(rasp_prefill(session, &token, 1, &error) == RASP_OK);
    CHECK(rasp_session_close(session) == RASP_OK);
    CHECK(rasp_session_close(session) == RASP_ERROR_INVALID_ARGUMENT);
    rasp_cancel(session);
    DEAD(rasp_prefill(session, &token, 1, &error));
    DEAD(rasp_step(session, &token, &error));

    puts("ok");
    return EXIT_SUCCESS;
}

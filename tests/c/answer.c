/* Answers as text, and embeddings, from C, with good and with bad input.   answer MODEL.rasp */
#include "check.h"

#include <math.h>

static rasp_error error;

static const uint32_t PROMPT[] = {504, 3575, 282, 4649, 314};
#define PROMPT_COUNT (sizeof PROMPT / sizeof *PROMPT)

/* The text so far, with what the session holds back unless the answer has ended. */
static const char *finished(rasp_session *session, char *all, size_t total, rasp_status status) {
    char text[RASP_STEP_TEXT_SIZE];
    size_t length;
    if (status == RASP_OK) {
        CHECK(rasp_finish_text(session, text, sizeof text, &length, &error) == RASP_OK);
        memcpy(all + total, text, length);
        total += length;
    }
    all[total] = 0;
    return all;
}

/* The answer after the prompt, at most `steps` tokens of it; *ended says why it ended. */
static const char *answer(rasp_session *session, uint32_t flags, int steps, uint32_t *ended) {
    static char all[65536];
    char text[RASP_STEP_TEXT_SIZE];
    size_t length, total = 0;
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    rasp_status status = RASP_OK;
    for (int i = 0; i < steps && status == RASP_OK; i++) {
        status = rasp_step_text(session, flags, text, sizeof text, &length, ended, &error);
        CHECK(status >= 0 && total + length < sizeof all);
        CHECK((status == RASP_END) == (*ended != RASP_ENDED_NOT));
        memcpy(all + total, text, length);
        total += length;
    }
    return finished(session, all, total, status);
}

/* The same in pieces of time, the prompt's too. */
static const char *answer_within(rasp_session *session, uint64_t budget_ns, int steps, uint32_t *ended, int *calls) {
    static char all[65536];
    char text[RASP_STEP_TEXT_SIZE];
    size_t length, total = 0;
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill_begin(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    rasp_status status = RASP_OK;
    for (*calls = 0; steps > 0 && status != RASP_END; ++*calls) {
        length = 9;
        status = rasp_step_text_within(session, budget_ns, 0, text, sizeof text, &length, ended, &error);
        CHECK(status >= 0 && total + length < sizeof all);
        CHECK((status == RASP_END) == (*ended != RASP_ENDED_NOT));
        CHECK(status != RASP_PENDING || length == 0);
        steps -= status != RASP_PENDING;
        memcpy(all + total, text, length);
        total += length;
    }
    return finished(session, all, total, status);
}

static void answers(rasp_session *session) {
    char text[RASP_STEP_TEXT_SIZE];
    size_t length = 9;
    uint32_t ended = 9;
    FAILS(rasp_step_text(session, 0, text, sizeof text, &length, &ended, &error), RASP_ERROR_INVALID_STATE, "prompt");
    CHECK(length == 0 && ended == RASP_ENDED_NOT);
    CHECK(strncmp(answer(session, 0, 12, &ended), " Paris.", 7) == 0 && ended == RASP_ENDED_NOT);

    const char *stops[RASP_STOP_MAX + 1] = {"never", "is."};
    CHECK(rasp_session_set_stop(session, stops, 2, &error) == RASP_OK);
    CHECK(strcmp(answer(session, 0, 12, &ended), " Par") == 0 && ended == RASP_ENDED_STOP);
    int calls;
    CHECK(strcmp(answer_within(session, 0, 12, &ended, &calls), " Par") == 0 && ended == RASP_ENDED_STOP && calls > 20);
    CHECK(strcmp(answer_within(session, UINT64_MAX, 12, &ended, &calls), " Par") == 0 && calls <= 12);
    rasp_session_reset(session, &error);
    FAILS(rasp_step_text_within(session, 0, 0, text, sizeof text, &length, &ended, &error), RASP_ERROR_INVALID_STATE,
          "prompt");
    CHECK(length == 0 && ended == RASP_ENDED_NOT);
    FAILS(rasp_step_text_within(NULL, 0, 0, text, sizeof text, &length, NULL, &error), RASP_ERROR_INVALID_ARGUMENT,
          "session is null");
    FAILS(rasp_step_text_within(session, 0, 0, text, 9, &length, NULL, &error), RASP_ERROR_BUFFER_TOO_SMALL, "9 bytes");
    FAILS(rasp_step_text_within(session, 0, 8, text, sizeof text, &length, NULL, &error), RASP_ERROR_INVALID_ARGUMENT,
          "flags");
    FAILS(rasp_session_set_stop(NULL, stops, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_set_stop(session, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "strings is null");
    FAILS(rasp_session_set_stop(session, stops, RASP_STOP_MAX + 1, &error), RASP_ERROR_OUT_OF_RANGE, "17");
    FAILS(rasp_session_set_stop(session, stops, 3, &error), RASP_ERROR_INVALID_ARGUMENT, "null");
    stops[2] = "";
    FAILS(rasp_session_set_stop(session, stops, 3, &error), RASP_ERROR_INVALID_ARGUMENT, "stop string 2 is empty");
    stops[2] = "\xff";
    FAILS(rasp_session_set_stop(session, stops, 3, &error), RASP_ERROR_INVALID_UTF8, "stop string");
    static char large[RASP_STOP_MAX_BYTES + 2];
    memset(large, 'x', sizeof large - 1);
    stops[0] = large;
    FAILS(rasp_session_set_stop(session, stops, 1, &error), RASP_ERROR_OUT_OF_RANGE, "1025 bytes");
    large[RASP_STOP_MAX_BYTES] = 0;
    CHECK(rasp_session_set_stop(session, stops, 1, &error) == RASP_OK);
    CHECK(rasp_session_set_stop(session, NULL, 0, &error) == RASP_OK);

    /* The context of 32 has room for 27 more. */
    answer(session, 0, 100, &ended);
    CHECK(ended == RASP_ENDED_CONTEXT || ended == RASP_ENDED_TOKEN);

    /* Nothing but a special token: hidden, or shown with its name. */
    rasp_logit_bias bias = {2, 1000.0F};
    CHECK(rasp_session_set_logit_bias(session, &bias, 1, &error) == RASP_OK);
    CHECK(strcmp(answer(session, 0, 9, &ended), "") == 0 && ended == RASP_ENDED_TOKEN);
    CHECK(strcmp(answer(session, RASP_TEXT_SHOW_SPECIAL, 9, &ended), "<|im_end|>") == 0 && ended == RASP_ENDED_TOKEN);
    CHECK(rasp_session_set_logit_bias(session, NULL, 0, &error) == RASP_OK);

    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    FAILS(rasp_step_text(session, 0, text, RASP_STEP_TEXT_SIZE - 1, &length, &ended, &error),
        RASP_ERROR_BUFFER_TOO_SMALL, "4160");
    CHECK(length == RASP_STEP_TEXT_SIZE);
    FAILS(rasp_step_text(session, 4, text, sizeof text, &length, &ended, &error), RASP_ERROR_INVALID_ARGUMENT, "flags");
    FAILS(rasp_step_text(session, 0, NULL, sizeof text, &length, &ended, &error), RASP_ERROR_INVALID_ARGUMENT,
        "text is null");
    FAILS(rasp_step_text(session, 0, text, sizeof text, NULL, &ended, &error), RASP_ERROR_INVALID_ARGUMENT,
        "length is null");
    FAILS(rasp_step_text(NULL, 0, text, sizeof text, &length, NULL, &error), RASP_ERROR_INVALID_ARGUMENT,
        "session is null");
    FAILS(rasp_finish_text(NULL, text, sizeof text, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_finish_text(session, text, 10, &length, &error), RASP_ERROR_BUFFER_TOO_SMALL, "10 bytes");
    /* None of these took a step. */
    CHECK(rasp_step_text(session, 0, text, sizeof text, &length, NULL, &error) == RASP_OK);
    CHECK(length == 6 && memcmp(text, " Paris", 6) == 0);
}

static void embeddings(rasp_session *session) {
    float vector[576], unit[576];
    size_t size = 9;
    FAILS(rasp_embed(session, PROMPT, 5, RASP_POOL_MEAN, 0, vector, 576, &size, &error), RASP_ERROR_INVALID_STATE,
        "reset it");
    CHECK(size == 0 && rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_embed(session, PROMPT, 5, RASP_POOL_MEAN, 0, vector, 576, &size, &error) == RASP_OK && size == 576);
    CHECK(rasp_embed(session, PROMPT, 5, RASP_POOL_MEAN, RASP_EMBED_NORMALISE, unit, 576, &size, &error) == RASP_OK);
    double length = 0.0, product = 0.0, one = 0.0;
    for (int i = 0; i < 576; i++) {
        length += (double)vector[i] * (double)vector[i];
        product += (double)vector[i] * (double)unit[i];
        one += (double)unit[i] * (double)unit[i];
    }
    CHECK(fabs(one - 1.0) < 1e-6 && fabs(product / sqrt(length) - 1.0) < 1e-6);
    CHECK(rasp_embed(session, PROMPT, 5, RASP_POOL_LAST, RASP_EMBED_NORMALISE, vector, 576, &size, &error) == RASP_OK);
    CHECK(memcmp(vector, unit, sizeof unit) != 0);
    FAILS(rasp_embed(session, PROMPT, 5, RASP_POOL_MEAN, 0, vector, 575, &size, &error), RASP_ERROR_BUFFER_TOO_SMALL,
        "576");
    CHECK(size == 576);
    FAILS(rasp_embed(session, PROMPT, 5, 2, 0, vector, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT, "pooling");
    FAILS(rasp_embed(session, PROMPT, 5, 0, 2, vector, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT, "flags");
    FAILS(rasp_embed(session, PROMPT, 0, 0, 0, vector, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT, "no tokens");
    FAILS(rasp_embed(session, NULL, 5, 0, 0, vector, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT,
        "tokens is null");
    FAILS(rasp_embed(session, PROMPT, 5, 0, 0, NULL, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT,
        "buffer is null");
    FAILS(rasp_embed(session, PROMPT, 5, 0, 0, vector, 576, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "size is null");
    FAILS(rasp_embed(NULL, PROMPT, 5, 0, 0, vector, 576, &size, &error), RASP_ERROR_INVALID_ARGUMENT,
        "session is null");
    uint32_t wrong = 49152;
    FAILS(rasp_embed(session, &wrong, 1, 0, 0, vector, 576, &size, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
    rasp_cancel(session);
    FAILS(rasp_embed(session, PROMPT, 5, 0, 0, vector, 576, &size, &error), RASP_ERROR_CANCELLED, "cancel");
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_model *model;
    rasp_session *session;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 32;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    answers(session);
    embeddings(session);
    CHECK(rasp_session_close(session) == RASP_OK);
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

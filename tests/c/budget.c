/* Budgets: a prompt and tokens in as many calls as it takes, and what a pending session refuses.   budget MODEL.rasp */
#include "check.h"

static const uint32_t PROMPT[] = {504, 3575, 282, 4649, 314};
enum { COUNT = sizeof PROMPT / sizeof *PROMPT, TOKENS = 4 };

static rasp_error error;

#define REFUSED(call, word) \
    CHECK((call) == RASP_ERROR_INVALID_STATE && error.code == RASP_ERROR_INVALID_STATE && strstr(error.message, word))

int main(int argc, char **argv) {
    CHECK(argc == 2);
    CHECK(RASP_PENDING == 2 && strcmp(rasp_status_name(RASP_PENDING), "pending") == 0);
    rasp_model *model;
    rasp_session *session;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
    uint32_t token = 77, expected[TOKENS];
    const float *logits;
    size_t count;
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_prefill(session, PROMPT, COUNT, &error) == RASP_OK);
    for (int i = 0; i < TOKENS; i++) {
        CHECK(rasp_step(session, &expected[i], &error) == RASP_OK);
    }

    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    REFUSED(rasp_step_within(session, 0, &token, &error), "prompt");
    REFUSED(rasp_prefill_within(session, 0, &error), "no prompt");
    CHECK(rasp_prefill_begin(session, PROMPT, 0, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_prefill_begin(session, NULL, 3, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_prefill_begin(NULL, PROMPT, 3, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_prefill_within(NULL, 0, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_step_within(NULL, 0, &token, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(rasp_step_within(session, 0, NULL, &error) == RASP_ERROR_INVALID_ARGUMENT);

    CHECK(rasp_prefill_begin(session, PROMPT, COUNT, &error) == RASP_OK);
    CHECK(rasp_prefill_within(session, 0, &error) == RASP_PENDING);
    REFUSED(rasp_prefill(session, PROMPT, 1, &error), "prompt is under way");
    REFUSED(rasp_prefill_begin(session, PROMPT, 1, &error), "prompt is under way");
    REFUSED(rasp_decode(session, 1, &error), "prompt is under way");
    REFUSED(rasp_logits(session, &logits, &count, &error), "prompt is under way");
    REFUSED(rasp_session_set_sparsity(session, 0.5F, &error), "prompt is under way");
    REFUSED(rasp_session_set_sampling(session, NULL, &error), "prompt is under way");
    /* Cancelled, it is gone. */
    rasp_cancel(session);
    CHECK(rasp_prefill_within(session, 1000000, &error) == RASP_ERROR_CANCELLED);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.tokens == 0);

    CHECK(rasp_prefill_begin(session, PROMPT, COUNT, &error) == RASP_OK);
    rasp_status status;
    int calls = 0;
    while ((status = rasp_prefill_within(session, 300000, &error)) == RASP_PENDING) {
        calls++;
    }
    CHECK(status == RASP_OK && calls > 0);
    CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK && logits[7042] > 17.0F);
    for (int i = 0; i < TOKENS; i++) {
        CHECK(rasp_session_clear_stats(session, &error) == RASP_OK);
        calls = 0;
        /* Nothing but the token's end tells; the first needs no pass. */
        while ((status = rasp_step_within(session, 0, &token, &error)) == RASP_PENDING) {
            calls++;
        }
        CHECK(status == RASP_OK && token == expected[i]);
        CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.units >= (uint64_t)calls);
        CHECK(i == 0 ? stats.units == 1 : stats.units > 100);
    }
    /* A step finishes what is pending. */
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill_begin(session, PROMPT, COUNT, &error) == RASP_OK);
    CHECK(rasp_step(session, &token, &error) == RASP_OK && token == expected[0]);
    CHECK(rasp_step_within(session, 0, &token, &error) == RASP_PENDING);
    REFUSED(rasp_decode(session, 1, &error), "step is under way");
    REFUSED(rasp_session_set_stop(session, &(const char *){"x"}, 1, &error), "step is under way");
    REFUSED(rasp_session_set_logits_callback(session, NULL, NULL, &error), "step is under way");
    CHECK(rasp_step(session, &token, &error) == RASP_OK && token == expected[1]);
    CHECK(rasp_session_set_deadline(session, 1, 0.0F, 0.9F, &error) == RASP_ERROR_OUT_OF_RANGE);
    CHECK(rasp_session_set_deadline(session, 1, 0.5F, 0.3F, &error) == RASP_ERROR_OUT_OF_RANGE);
    CHECK(rasp_session_set_deadline(NULL, 1, 0.0F, 0.5F, &error) == RASP_ERROR_INVALID_ARGUMENT);
    /* A nanosecond is never enough, an hour is. */
    CHECK(rasp_session_set_deadline(session, 1, 0.0F, 0.5F, &error) == RASP_OK);
    CHECK(rasp_step(session, &token, &error) == RASP_OK && rasp_step(session, &token, &error) == RASP_OK);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK);
    CHECK(stats.late_tokens == 2 && stats.sparsity == 0.5F);
    CHECK(rasp_session_set_deadline(session, 3600000000000, 0.0F, 0.5F, &error) == RASP_OK);
    CHECK(rasp_step(session, &token, &error) == RASP_OK && rasp_step(session, &token, &error) == RASP_OK);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK);
    CHECK(stats.late_tokens == 2 && stats.sparsity == 0.0F);
    CHECK(rasp_session_set_deadline(session, 0, 0.0F, 0.0F, &error) == RASP_OK);
    /* And a pending session can be closed. */
    CHECK(rasp_step_within(session, 0, &token, &error) == RASP_PENDING);
    CHECK(rasp_session_close(session) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    puts("ok");
    return EXIT_SUCCESS;
}

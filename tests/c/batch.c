/* Several sessions in one step: each as if by itself.   batch MODEL.rasp */
#include "check.h"

enum { SESSIONS = 6, STEPS = 5 };

static rasp_error error;

static rasp_model *load(const char *path) {
    rasp_model *model;
    CHECK(rasp_load(path, NULL, &model, &error) == RASP_OK);
    return model;
}

/* Sessions of different caches, threads, contexts, sparsities, sampling and prompts. */
static rasp_session *open(const rasp_model *model, uint32_t n) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 48 + 8 * n;
    options.threads = n == 0 ? 2 : 1;
    options.batch = n == 0 ? 16 : 0; /* Four of them pass together. */
    options.kv_type = n % 3;
    rasp_session *session;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    CHECK(rasp_session_set_sparsity(session, n % 2 == 0 ? 0.5F : 0.0F, &error) == RASP_OK);
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    sampling.temperature = n == 3 ? 0.9F : 0.0F;
    sampling.seed = 7;
    CHECK(rasp_session_set_sampling(session, &sampling, &error) == RASP_OK);
    uint32_t prompt[24];
    for (uint32_t i = 0; i < 24; i++) {
        prompt[i] = 504 + 31 * i + n;
    }
    CHECK(rasp_prefill(session, prompt, 4 + 4 * n, &error) == RASP_OK);
    return session;
}

static rasp_stats stats_of(rasp_session *session) {
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK);
    return stats;
}

static void same_state(rasp_session *a, rasp_session *b) {
    static unsigned char first[16 << 20], second[16 << 20];
    size_t length, other;
    CHECK(rasp_session_save(a, first, sizeof first, &length, &error) == RASP_OK);
    CHECK(rasp_session_save(b, second, sizeof second, &other, &error) == RASP_OK);
    CHECK(length == other && memcmp(first, second, length) == 0);
    const float *logits, *expected;
    size_t count;
    CHECK(rasp_logits(a, &logits, &count, &error) == RASP_OK);
    CHECK(rasp_logits(b, &expected, &other, &error) == RASP_OK);
    CHECK(count == other && memcmp(logits, expected, count * sizeof *logits) == 0);
    CHECK(stats_of(a).decoded_tokens == stats_of(b).decoded_tokens);
    CHECK(stats_of(a).linear_bytes_read == stats_of(b).linear_bytes_read);
    CHECK(stats_of(a).kept == stats_of(b).kept);
    CHECK(stats_of(a).head_bytes_read == stats_of(b).head_bytes_read);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_model *model = load(argv[1]);
    rasp_session *together[SESSIONS], *apart[SESSIONS];
    for (uint32_t n = 0; n < SESSIONS; n++) {
        together[n] = open(model, n);
        apart[n] = open(model, n);
    }
    uint32_t tokens[SESSIONS], expected;
    rasp_status statuses[SESSIONS];
    for (int i = 0; i < STEPS; i++) {
        CHECK(rasp_step_batch(together, SESSIONS, tokens, statuses, &error) == RASP_OK);
        for (int n = 0; n < SESSIONS; n++) {
            CHECK(rasp_step(apart[n], &expected, &error) == statuses[n] && tokens[n] == expected);
        }
    }
    for (int n = 0; n < SESSIONS; n++) {
        same_state(together[n], apart[n]);
    }

    /* None, and what cannot be: nothing happens, and every status says why. */
    CHECK(rasp_step_batch(NULL, 0, NULL, NULL, &error) == RASP_OK);
    FAILS(rasp_step_batch(NULL, 1, tokens, statuses, &error), RASP_ERROR_INVALID_ARGUMENT, "sessions is null");
    FAILS(rasp_step_batch(together, 1, NULL, statuses, &error), RASP_ERROR_INVALID_ARGUMENT, "tokens is null");
    FAILS(rasp_step_batch(together, 1, tokens, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "statuses is null");
    rasp_model *foreign = load(argv[1]);
    rasp_session *stranger = open(foreign, 1);
    rasp_session *const wrong[][3] = {
        {together[0], NULL, together[1]}, {together[0], together[1], together[0]},
        {together[0], together[1], stranger}};
    const char *const words[] = {"session 1: session is null", "session 2 is session 0 once more",
        "session 2 is of another model"};
    uint32_t before = stats_of(together[0]).tokens;
    for (int i = 0; i < 3; i++) {
        FAILS(rasp_step_batch(wrong[i], 3, tokens, statuses, &error), RASP_ERROR_INVALID_ARGUMENT, words[i]);
        for (int n = 0; n < 3; n++) {
            CHECK(statuses[n] == RASP_ERROR_INVALID_ARGUMENT);
        }
        CHECK(stats_of(together[0]).tokens == before && stats_of(together[1]).tokens == before + 4);
    }

    /* One without a prompt, one that is full, one cancelled: the others go on, and their tokens alone are written. */
    rasp_session_reset(together[1], &error);
    while (rasp_step(together[2], &expected, &error) >= 0) {
    }
    CHECK(error.code == RASP_ERROR_CONTEXT_FULL);
    rasp_cancel(together[4]);
    for (int n = 0; n < SESSIONS; n++) {
        tokens[n] = 77777;
    }
    FAILS(rasp_step_batch(together, SESSIONS, tokens, statuses, &error), RASP_ERROR_INVALID_STATE,
        "session 1: a step before");
    const rasp_status outcomes[SESSIONS] = {
        RASP_OK, RASP_ERROR_INVALID_STATE, RASP_ERROR_CONTEXT_FULL, RASP_OK, RASP_ERROR_CANCELLED, RASP_OK};
    for (int n = 0; n < SESSIONS; n++) {
        CHECK(statuses[n] == outcomes[n]);
        if (outcomes[n] == RASP_OK) {
            CHECK(rasp_step(apart[n], &expected, &error) == RASP_OK && tokens[n] == expected);
        } else {
            CHECK(tokens[n] == 77777);
        }
    }
    same_state(together[4], apart[4]);
    CHECK(rasp_step_batch(together + 4, 2, tokens, statuses, NULL) == RASP_OK);
    CHECK(rasp_step(apart[4], &expected, &error) == RASP_OK && tokens[0] == expected);

    /* The end of a text is its session's alone. */
    const rasp_logit_bias end = {2, 1000.0F}; /* <|im_end|> */
    CHECK(rasp_session_set_logit_bias(together[5], &end, 1, &error) == RASP_OK);
    CHECK(rasp_step_batch(together + 4, 2, tokens, statuses, NULL) == RASP_OK);
    CHECK(statuses[0] == RASP_OK && statuses[1] == RASP_END && tokens[1] == 2);

    for (int n = 0; n < SESSIONS; n++) {
        CHECK(rasp_session_close(together[n]) == RASP_OK && rasp_session_close(apart[n]) == RASP_OK);
    }
    CHECK(rasp_session_close(stranger) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK && rasp_free(foreign) == RASP_OK);
    puts("ok");
    return EXIT_SUCCESS;
}

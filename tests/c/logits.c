/* Logit biases and the logits callback from C, with good and with bad input.   logits MODEL.rasp */
#include "check.h"

#include <math.h>

static rasp_error error;

static const uint32_t PROMPT[] = {504, 3575, 282, 4649, 314};
#define PROMPT_COUNT (sizeof PROMPT / sizeof *PROMPT)

/* What the callback is to do, and what it saw. */
typedef struct host {
    rasp_session *session;
    int32_t answer;
    float poison;
    size_t calls;
    size_t last_count;
    uint32_t last_token;
    rasp_status inner;
} host;

static int32_t listen(void *context, float *logits, size_t vocab_size, const uint32_t *tokens, size_t token_count) {
    host *self = context;
    CHECK(vocab_size == 49152 && token_count > 0);
    self->calls++;
    self->last_count = token_count;
    self->last_token = tokens[token_count - 1];
    if (self->poison != 0.0F) {
        logits[3] = self->poison;
    }
    self->inner = rasp_session_reset(self->session, NULL);
    return self->answer;
}

static uint32_t step(rasp_session *session) {
    uint32_t token;
    CHECK(rasp_step(session, &token, &error) >= 0);
    return token;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_model *model;
    rasp_session *session;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);

    rasp_logit_bias biases[RASP_LOGIT_BIAS_MAX + 1] = {{7042, -INFINITY}, {99, 1.5F}};
    FAILS(rasp_session_set_logit_bias(NULL, biases, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_set_logit_bias(session, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "biases is null");
    FAILS(rasp_session_set_logit_bias(session, biases, RASP_LOGIT_BIAS_MAX + 1, &error), RASP_ERROR_OUT_OF_RANGE,
        "257");
    CHECK(rasp_session_set_logit_bias(session, biases, RASP_LOGIT_BIAS_MAX, &error) == RASP_OK);
    CHECK(rasp_session_set_logit_bias(session, biases, 2, &error) == RASP_OK);
    biases[1].bias = NAN;
    FAILS(rasp_session_set_logit_bias(session, biases, 2, &error), RASP_ERROR_INVALID_ARGUMENT, "bias 1 is NaN");
    biases[1].token = 49152;
    FAILS(rasp_session_set_logit_bias(session, biases, 2, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
    CHECK(step(session) != 7042); /* the bias that was set before */

    /* A generation that cannot end: its end tokens are forbidden. */
    size_t ends = 0;
    for (uint32_t token = 0; token < 49152 && ends < RASP_LOGIT_BIAS_MAX; token++) {
        if (rasp_token_is_end(model, token)) {
            biases[ends].token = token;
            biases[ends++].bias = -INFINITY;
        }
    }
    CHECK(ends > 0 && rasp_session_set_logit_bias(session, biases, ends, &error) == RASP_OK);
    for (int i = 0; i < 100; i++) {
        CHECK(rasp_token_is_end(model, step(session)) == 0);
    }
    CHECK(rasp_session_set_logit_bias(session, NULL, 0, &error) == RASP_OK);

    host self = {session, RASP_LOGITS_SAMPLE, 0.0F, 0, 0, 0, RASP_OK};
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    FAILS(rasp_session_set_logits_callback(NULL, listen, &self, &error), RASP_ERROR_INVALID_ARGUMENT,
        "session is null");
    CHECK(rasp_session_set_logits_callback(session, listen, &self, &error) == RASP_OK);
    CHECK(step(session) == 7042 && self.calls == 1 && self.last_count == PROMPT_COUNT && self.last_token == 314);
    CHECK(self.inner == RASP_ERROR_INVALID_STATE); /* the session is in use while it is called */
    self.answer = 42;
    CHECK(step(session) == 42 && self.last_token == 7042);

    uint32_t token;
    self.answer = 49152;
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
    self.answer = RASP_LOGITS_SAMPLE;
    self.poison = NAN;
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_NON_FINITE, "token 3");
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.tokens == PROMPT_COUNT + 2);
    CHECK(rasp_session_set_logits_callback(session, NULL, NULL, &error) == RASP_OK);
    self.calls = 0;
    step(session);
    CHECK(self.calls == 0);

    CHECK(rasp_session_close(session) == RASP_OK);
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

/* A session is one thread's at a time, and any thread's to cancel; a model is everybody's.   threads MODEL.rasp */
#include "check.h"

#include <pthread.h>
#include <stdatomic.h>

/* Enough prompt to be under way for as long as the other thread needs, on any machine: it ends by being cancelled. */
enum { LENGTH = 4000 };
static uint32_t tokens[LENGTH];

struct call {
    rasp_session *session;
    rasp_status status;
    rasp_error error;
};

static void *prefill(void *argument) {
    struct call *call = argument;
    /* The other thread's step may be in the way at first. */
    do {
        call->status = rasp_prefill(call->session, tokens, LENGTH, &call->error);
    } while (call->status == RASP_ERROR_INVALID_STATE);
    return NULL;
}

static void cancelled_from_outside(const rasp_model *model, uint32_t threads) {
    rasp_error error;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.threads = threads;
    struct call call = {0};
    CHECK(rasp_session_open(model, &options, &call.session, &error) == RASP_OK);
    pthread_t thread;
    CHECK(pthread_create(&thread, NULL, prefill, &call) == 0);
    /* Until the other thread is inside, a step fails for want of a prompt. */
    uint32_t token;
    do {
        CHECK(rasp_step(call.session, &token, &error) == RASP_ERROR_INVALID_STATE);
    } while (strstr(error.message, "another thread") == NULL);

    /* Every call that needs the session is refused, closing it too. */
    const float *logits;
    size_t count;
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_prefill(call.session, tokens, 1, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_decode(call.session, 1, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_logits(call.session, &logits, &count, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_reset(call.session, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_set_sparsity(call.session, 0.0F, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_set_sampling(call.session, NULL, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_get_stats(call.session, &stats, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_clear_stats(call.session, &error) == RASP_ERROR_INVALID_STATE);
    size_t size;
    rasp_session *fork;
    CHECK(rasp_session_rewind(call.session, 0, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_shift(call.session, 0, 0, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_fork(call.session, NULL, &fork, &error) == RASP_ERROR_INVALID_STATE && fork == NULL);
    CHECK(rasp_session_save(call.session, NULL, 0, &size, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_restore(call.session, tokens, sizeof tokens, &error) == RASP_ERROR_INVALID_STATE);
    CHECK(rasp_session_close(call.session) == RASP_ERROR_INVALID_STATE);

    rasp_cancel(call.session);
    CHECK(pthread_join(thread, NULL) == 0);
    CHECK(call.status == RASP_ERROR_CANCELLED && call.error.code == RASP_ERROR_CANCELLED);

    /* As it was before, and as good as new. */
    CHECK(rasp_session_get_stats(call.session, &stats, &error) == RASP_OK && stats.tokens == 0);
    CHECK(rasp_prefill(call.session, tokens, 3, &error) == RASP_OK);
    CHECK(rasp_step(call.session, &token, &error) >= 0);
    CHECK(rasp_session_close(call.session) == RASP_OK);
}

/* Reads the model, and has a session of its own over it. */
static void *share(void *argument) {
    rasp_model *model = argument;
    rasp_error error;
    rasp_session *session;
    uint32_t found[16];
    uint32_t *said = malloc(4 * sizeof *said);
    size_t count;
    CHECK(said != NULL);
    CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
    for (int i = 0; i < 50; i++) {
        CHECK(rasp_model_retain(model) == RASP_OK);
        CHECK(rasp_tokenize(model, "Once upon a time", 16, 0, found, 16, &count, &error) == RASP_OK);
        CHECK(rasp_free(model) == RASP_OK);
    }
    CHECK(rasp_prefill(session, found, count, &error) == RASP_OK);
    for (int i = 0; i < 4; i++) {
        CHECK(rasp_step(session, &said[i], &error) >= 0);
    }
    CHECK(rasp_session_close(session) == RASP_OK);
    return said;
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    for (size_t i = 0; i < LENGTH; i++) {
        tokens[i] = (uint32_t)(500 + i % 1000);
    }
    rasp_error error;
    rasp_model *model;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    cancelled_from_outside(model, 1);
    cancelled_from_outside(model, 2);

    pthread_t threads[3];
    uint32_t *said[3];
    for (int i = 0; i < 3; i++) {
        CHECK(pthread_create(&threads[i], NULL, share, model) == 0);
    }
    for (int i = 0; i < 3; i++) {
        void *result;
        CHECK(pthread_join(threads[i], &result) == 0);
        said[i] = result;
        CHECK(memcmp(said[i], said[0], 4 * sizeof **said) == 0);
    }
    for (int i = 0; i < 3; i++) {
        free(said[i]);
    }
    CHECK(rasp_free(model) == RASP_OK);
    puts("ok");
    return EXIT_SUCCESS;
}

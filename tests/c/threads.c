/* A session is one thread's at a time, and any thread's to cancel; a model is everybody's.
 * threads MODEL.rasp OTHER.rasp */
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

enum { SAID = 12, FORKS = 3, WORKERS = 4 };

/* One thread's share of the work, and what came of it. */
struct worker {
    rasp_model *model;
    rasp_session *fork;
    uint32_t said[SAID];
};

static void say(rasp_session *session, uint32_t said[SAID]) {
    rasp_error error;
    for (int i = 0; i < SAID; i++) {
        CHECK(rasp_step(session, &said[i], &error) >= 0);
    }
}

/* Reads the model, and has sessions of its own over it: opened, forked, saved, restored and closed beside those of the
 * other threads. */
static void *share(void *argument) {
    struct worker *worker = argument;
    rasp_model *model = worker->model;
    rasp_error error;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    uint32_t found[16], again[SAID];
    size_t count;
    for (int i = 0; i < 50; i++) {
        CHECK(rasp_model_retain(model) == RASP_OK);
        CHECK(rasp_tokenize(model, "Once upon a time", 16, 0, found, 16, &count, &error) == RASP_OK);
        CHECK(rasp_free(model) == RASP_OK);
    }
    rasp_session *session, *other;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, found, count, &error) == RASP_OK);
    for (int i = 0; i < FORKS; i++) {
        CHECK(rasp_session_fork(session, NULL, &other, &error) == RASP_OK);
        say(other, i == 0 ? worker->said : again);
        CHECK(i == 0 || memcmp(worker->said, again, sizeof again) == 0);
        CHECK(rasp_session_close(other) == RASP_OK);
    }
    size_t size;
    CHECK(rasp_session_save(session, NULL, 0, &size, &error) == RASP_ERROR_BUFFER_TOO_SMALL);
    void *state = malloc(size);
    CHECK(state != NULL && rasp_session_save(session, state, size, &size, &error) == RASP_OK);
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_session_restore(session, state, size, &error) == RASP_OK);
    free(state);
    say(session, again);
    CHECK(memcmp(worker->said, again, sizeof again) == 0);
    CHECK(rasp_session_close(session) == RASP_OK);
    return NULL;
}

/* Goes on with a session that another thread opened. */
static void *inherit(void *argument) {
    struct worker *worker = argument;
    say(worker->fork, worker->said);
    CHECK(rasp_session_close(worker->fork) == RASP_OK);
    return NULL;
}

/* Every worker on a thread of its own, at once. */
static void at_once(void *(*work)(void *), struct worker *workers) {
    pthread_t threads[WORKERS];
    for (int i = 0; i < WORKERS; i++) {
        CHECK(pthread_create(&threads[i], NULL, work, &workers[i]) == 0);
    }
    for (int i = 0; i < WORKERS; i++) {
        CHECK(pthread_join(threads[i], NULL) == 0);
    }
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    for (size_t i = 0; i < LENGTH; i++) {
        tokens[i] = (uint32_t)(500 + i % 1000);
    }
    rasp_error error;
    rasp_model *model;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    cancelled_from_outside(model, 1);
    cancelled_from_outside(model, 2);

    /* Two models in the process, the same file loaded twice and another one, each with several threads' sessions. */
    rasp_model *twin, *tiny;
    CHECK(rasp_load(argv[1], NULL, &twin, &error) == RASP_OK);
    CHECK(rasp_load(argv[2], NULL, &tiny, &error) == RASP_OK);
    struct worker workers[WORKERS] = {{.model = model}, {.model = tiny}, {.model = twin}, {.model = tiny}};
    at_once(share, workers);
    CHECK(memcmp(workers[0].said, workers[2].said, sizeof workers[0].said) == 0);
    CHECK(memcmp(workers[1].said, workers[3].said, sizeof workers[1].said) == 0);
    CHECK(memcmp(workers[0].said, workers[1].said, sizeof workers[0].said) != 0);

    /* Forks of one session, each gone on with by a thread of its own, after their parent and its model are given
     * back. */
    rasp_session *parent;
    uint32_t expected[SAID];
    CHECK(rasp_session_open(twin, NULL, &parent, &error) == RASP_OK);
    CHECK(rasp_prefill(parent, tokens, 40, &error) == RASP_OK);
    for (int i = 0; i < WORKERS; i++) {
        CHECK(rasp_session_fork(parent, NULL, &workers[i].fork, &error) == RASP_OK);
    }
    say(parent, expected);
    CHECK(rasp_session_close(parent) == RASP_OK && rasp_free(twin) == RASP_OK);
    at_once(inherit, workers);
    for (int i = 0; i < WORKERS; i++) {
        CHECK(memcmp(workers[i].said, expected, sizeof expected) == 0);
    }
    CHECK(rasp_free(tiny) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    puts("ok");
    return EXIT_SUCCESS;
}

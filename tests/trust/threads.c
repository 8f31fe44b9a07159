/* threads MODEL SECONDS: many threads over one model. First each with sessions of its own, opened, asked and closed over and
 * over, which must give the tokens that one thread gives; then all of them over the same sessions, which may be busy and are
 * cancelled, saved, reset and forked by whoever comes; then the model is freed before its sessions. For ThreadSanitizer
 * (`make test-threads`), and for itself. */
#define _GNU_SOURCE
#include "rasp.h"
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

enum { THREADS = 6, SHARED = 4, CONTEXT = 48, TOKENS = 20 };

static rasp_model *model;
static rasp_session *shared[SHARED];
static uint32_t right[TOKENS];
static const uint32_t prompt[4] = {1, 2, 3, 4};
static atomic_int over;
static atomic_long done, busy, cancelled, failures;

static void fail(const char *what, const rasp_error *error) {
    if (atomic_fetch_add(&failures, 1) < 10)
        printf("FAILS: %s (%s)\n", what, error->message);
}

static rasp_session *open_with(uint32_t threads) {
    rasp_error error;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = CONTEXT, options.threads = threads;
    rasp_session *session = NULL;
    if (rasp_session_open(model, &options, &session, &error) != RASP_OK)
        fail("open", &error);
    return session;
}

/* The tokens after the prompt against the right ones; a cancel that is on its way may come first. */
static void ask(rasp_session *session) {
    rasp_error error;
    rasp_status status;
    do
        rasp_session_reset(session, &error);
    while ((status = rasp_prefill(session, prompt, 4, &error)) == RASP_ERROR_CANCELLED);
    if (status != RASP_OK)
        fail("prefill", &error);
    for (int i = 0; i < TOKENS && status >= 0; i++) {
        uint32_t token = 0;
        status = rasp_step(session, &token, &error);
        if (status < 0)
            fail("step", &error);
        else if (token != right[i])
            snprintf(error.message, sizeof error.message, "token %d", i), fail("another token", &error);
    }
}

/* Sessions of its own; the model's tokenizer and template besides, which all threads use at once. */
static void *own(void *argument) {
    unsigned chance = (unsigned)(uintptr_t)argument * 7919 + 1;
    rasp_error error;
    while (!atomic_load(&over)) {
        rasp_session *session = open_with(1 + (uint32_t)rand_r(&chance) % 4);
        ask(session);
        uint32_t tokens[64];
        size_t count;
        char text[512];
        const char *words = "hello the thing";
        if (rasp_tokenize(model, words, strlen(words), 3, tokens, 64, &count, &error) != RASP_OK)
            fail("tokenize", &error);
        if (rasp_detokenize(model, tokens, count, 0, text, sizeof text, &count, &error) != RASP_OK)
            fail("detokenize", &error);
        const rasp_message message = {"user", "Hi"};
        rasp_status status = rasp_chat_format(model, &message, 1, 1, text, sizeof text, &count, &error);
        if (status != RASP_OK && status != RASP_ERROR_TEMPLATE)
            fail("chat", &error);
        if (rasp_session_close(session) != RASP_OK)
            fail("close", &error);
        atomic_fetch_add(&done, 1);
    }
    return NULL;
}

/* Whatever comes, on sessions that all threads share. */
static void *storm(void *argument) {
    unsigned chance = (unsigned)(uintptr_t)argument * 31 + 5;
    static _Thread_local char state[1 << 17];
    rasp_error error;
    while (!atomic_load(&over)) {
        rasp_session *session = shared[rand_r(&chance) % SHARED], *child = NULL;
        uint32_t token, tokens[2];
        size_t size;
        rasp_status status = RASP_OK, statuses[2];
        switch (rand_r(&chance) % 8) {
        case 0:
            rasp_cancel(session);
            continue;
        case 1:
            status = rasp_session_reset(session, &error);
            break;
        case 2:
            status = rasp_prefill(session, prompt, 4, &error);
            break;
        case 3:
            status = rasp_step_within(session, 0, &token, &error);
            break;
        case 4: {
            rasp_session *both[2] = {shared[0], shared[1 + rand_r(&chance) % (SHARED - 1)]};
            status = rasp_step_batch(both, 2, tokens, statuses, &error);
            break;
        }
        case 5:
            status = rasp_session_save(session, state, sizeof state, &size, &error);
            if (status == RASP_OK)
                status = rasp_session_restore(session, state, size, &error);
            break;
        case 6:
            status = rasp_session_fork(session, NULL, &child, &error);
            if (status == RASP_OK)
                rasp_session_close(child);
            break;
        default:
            status = rasp_step(session, &token, &error);
        }
        if (status == RASP_ERROR_INTERNAL || status == RASP_ERROR_OUT_OF_MEMORY)
            fail("under a storm", &error);
        cancelled += status == RASP_ERROR_CANCELLED;
        busy += status == RASP_ERROR_INVALID_STATE;
        done += status >= 0;
    }
    return NULL;
}

static void run(void *(*what)(void *), unsigned seconds) {
    pthread_t threads[THREADS];
    atomic_store(&over, 0);
    for (uintptr_t i = 0; i < THREADS; i++)
        if (pthread_create(&threads[i], NULL, what, (void *)i))
            abort();
    sleep(seconds);
    atomic_store(&over, 1);
    for (int i = 0; i < THREADS; i++)
        pthread_join(threads[i], NULL);
}

int main(int argc, char **argv) {
    rasp_error error;
    if (argc < 3 || rasp_load(argv[1], NULL, &model, &error) != RASP_OK)
        return 2;
    unsigned seconds = (unsigned)atoi(argv[2]);
    rasp_session *session = open_with(1);
    if (rasp_prefill(session, prompt, 4, &error) != RASP_OK)
        return 2;
    for (int i = 0; i < TOKENS; i++)
        if (rasp_step(session, &right[i], &error) < 0)
            return 2;
    rasp_session_close(session);
    run(own, seconds);
    printf("%d threads with sessions of their own: %ld sessions\n", THREADS, atomic_exchange(&done, 0));
    for (uint32_t i = 0; i < SHARED; i++)
        shared[i] = open_with(1 + i);
    run(storm, seconds);
    printf("%d threads over %d sessions: %ld calls, %ld cancelled, %ld busy\n", THREADS, SHARED, done, cancelled, busy);
    /* The sessions hold the model. */
    rasp_free(model);
    for (int i = 0; i < SHARED; i++) {
        ask(shared[i]);
        if (rasp_session_close(shared[i]) != RASP_OK)
            fail("close", &error);
    }
    printf("%ld failures\n", failures);
    return failures != 0;
}

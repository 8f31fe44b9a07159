/* The host's job system in the place of threads: the same bits whatever it does, an error if it does not do its part.
 * jobs MODEL.rasp */
#include "check.h"

#include <pthread.h>

enum { PARTS = 5, STEPS = 6 };

typedef void (*job_function)(void *data, uint32_t part);

struct host {
    /* Jobs run so far, and after how many to go wrong; 0: never. */
    uint64_t jobs, fault;
};

struct task {
    job_function job;
    void *data;
    uint32_t part;
};

static void backwards(void *context, job_function job, void *data, uint32_t parts) {
    struct host *host = context;
    host->jobs++;
    CHECK(parts == PARTS);
    for (uint32_t part = parts; part-- > 0;) {
        job(data, part);
    }
}

static void *run_task(void *argument) {
    struct task *task = argument;
    task->job(task->data, task->part);
    return NULL;
}

/* Every part on a thread of its own; every fiftieth job that way, for the sake of time. */
static void on_threads(void *context, job_function job, void *data, uint32_t parts) {
    struct host *host = context;
    if (host->jobs % 50 != 0) {
        backwards(context, job, data, parts);
        return;
    }
    host->jobs++;
    pthread_t threads[PARTS];
    struct task tasks[PARTS];
    for (uint32_t part = 0; part < parts; part++) {
        tasks[part] = (struct task){job, data, part};
        CHECK(pthread_create(&threads[part], NULL, run_task, &tasks[part]) == 0);
    }
    for (uint32_t part = 0; part < parts; part++) {
        CHECK(pthread_join(threads[part], NULL) == 0);
    }
}

static void forgets(void *context, job_function job, void *data, uint32_t parts) {
    struct host *host = context;
    host->jobs++;
    for (uint32_t part = host->jobs == host->fault ? 1 : 0; part < parts; part++) {
        job(data, part);
    }
}

static void repeats(void *context, job_function job, void *data, uint32_t parts) {
    struct host *host = context;
    host->jobs++;
    for (uint32_t part = 0; part < parts; part++) {
        job(data, part);
    }
    if (host->jobs == host->fault) {
        job(data, 0);
    }
}

static rasp_session *open_session(const rasp_model *model, rasp_run_callback run, struct host *host) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    CHECK(options.run == NULL && options.run_context == NULL);
    options.context = 64;
    if (run != NULL) {
        options.threads = PARTS;
        options.run = run;
        options.run_context = host;
    }
    rasp_session *session;
    rasp_error error;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    return session;
}

/* A prompt and some tokens, the later ones sparse; what it says, and the last logits. */
static void talk(rasp_session *session, const rasp_model_info *info, uint32_t said[STEPS], float *last) {
    const uint32_t prompt[] = {1, 7, 3, 9, 2, 4, 8};
    rasp_error error;
    CHECK(rasp_prefill(session, prompt, sizeof prompt / sizeof *prompt, &error) == RASP_OK);
    for (int i = 0; i < STEPS; i++) {
        CHECK(rasp_session_set_sparsity(session, i < 2 ? 0.0F : info->max_sparsity, &error) == RASP_OK);
        CHECK(rasp_step(session, &said[i], &error) >= 0);
    }
    const float *logits;
    size_t count;
    CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK && count == info->vocab_size);
    memcpy(last, logits, count * sizeof *logits);
}

int main(int argc, char **argv) {
    CHECK(argc == 2);
    rasp_model *model;
    rasp_error error;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    rasp_model_info info;
    rasp_model_info_init(&info);
    CHECK(rasp_model_get_info(model, &info, &error) == RASP_OK);
    const size_t bytes = info.vocab_size * sizeof(float);
    float *expected = malloc(bytes), *found = malloc(bytes);
    CHECK(expected != NULL && found != NULL);
    uint32_t said[STEPS], again[STEPS];

    rasp_session *session = open_session(model, NULL, NULL);
    talk(session, &info, said, expected);
    CHECK(rasp_session_close(session) == RASP_OK);

    const rasp_run_callback good[] = {backwards, on_threads};
    for (size_t i = 0; i < sizeof good / sizeof *good; i++) {
        struct host host = {0};
        session = open_session(model, good[i], &host);
        talk(session, &info, again, found);
        CHECK(memcmp(said, again, sizeof said) == 0 && memcmp(expected, found, bytes) == 0);
        CHECK(host.jobs > STEPS);
        CHECK(rasp_session_close(session) == RASP_OK);
    }

    /* A part left out or run twice fails the call; the session stays as it was, and goes on when the host does
     * better. */
    const rasp_run_callback bad[] = {forgets, repeats};
    for (size_t i = 0; i < sizeof bad / sizeof *bad; i++) {
        struct host host = {0, 3};
        session = open_session(model, bad[i], &host);
        const uint32_t prompt[] = {1, 7, 3};
        CHECK(rasp_prefill(session, prompt, 3, &error) == RASP_ERROR_INVALID_STATE);
        CHECK(strstr(error.message, "run callback") != NULL);
        rasp_stats stats;
        rasp_stats_init(&stats);
        CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.tokens == 0);
        talk(session, &info, again, found);
        CHECK(memcmp(said, again, sizeof said) == 0 && memcmp(expected, found, bytes) == 0);
        CHECK(rasp_session_close(session) == RASP_OK);
    }
    /* Threads of its own that watch for the next call: the same bits; and what cannot be is refused. */
    rasp_session_options options;
    rasp_session_options_init(&options);
    CHECK(options.cpus == 0 && options.spin_ns == 0);
    options.context = 64;
    options.threads = 2;
    options.spin_ns = 100000;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    talk(session, &info, again, found);
    CHECK(memcmp(said, again, sizeof said) == 0 && memcmp(expected, found, bytes) == 0);
    CHECK(rasp_session_close(session) == RASP_OK);
    options.spin_ns = 1000000001;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_ERROR_INVALID_ARGUMENT && session == NULL);
    CHECK(strstr(error.message, "spin_ns") != NULL);
    options.spin_ns = 0;
    options.cpus = (uint64_t)1 << 63;
    rasp_status status = rasp_session_open(model, &options, &session, &error);
    CHECK(status == RASP_ERROR_INVALID_ARGUMENT || status == RASP_ERROR_UNSUPPORTED || status == RASP_OK);
    CHECK(status == RASP_OK || (session == NULL && strstr(error.message, "pinned") != NULL));
    CHECK(rasp_session_close(session) == RASP_OK);
    free(expected);
    free(found);
    CHECK(rasp_free(model) == RASP_OK);
    puts("ok");
    return 0;
}

/* soak MODEL SECONDS [SEED]: sessions that do anything a host may do, for a long time. A second process, with one thread and
 * the scalar kernels, replays what each session has done plainly (no forks, no states, no budgets, no batches, a token at a
 * time) and must come to the same tokens and the same logits, to the bit. Memory, descriptors and threads must stay as many
 * as they were after the first tenth of the time. */
#define _GNU_SOURCE
#include "rasp.h"
#include <dirent.h>
#include <pthread.h>
#include <stdatomic.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

#if defined(__SANITIZE_ADDRESS__) || defined(__SANITIZE_THREAD__)
enum { SANITIZED = 1 };
#else
enum { SANITIZED = 0 };
#endif
enum { CONTEXT = 64, SESSIONS = 5, STATES = 4, LOG = 160, MOST = 12 };
enum { PREFILL, STEP, DECODE, REWIND, SHIFT, SPARSITY, SAMPLING, LOGITS };

/* What a session has done that counts. */
struct deed {
    uint32_t what, a, b;
    float sparsity;
    uint32_t tokens[MOST];
};
struct history {
    uint32_t kv_type, count;
    struct deed deeds[LOG];
};
struct slot {
    rasp_session *session;
    struct history history;
};
struct answer {
    uint64_t logits;
    int32_t wrong;
};

static const char *path;
static rasp_model *model;
static rasp_model_info info;
static rasp_error error;
static uint64_t chance;
static struct slot slots[SESSIONS];
static struct {
    void *bytes;
    size_t size;
    struct history history;
} states[STATES];
static int to_judge[2], from_judge[2];
static long calls, judged, cancels, failures;

/* Marsaglia's xorshift64*. */
static uint32_t below(uint32_t n) {
    chance ^= chance >> 12, chance ^= chance << 25, chance ^= chance >> 27;
    return (uint32_t)((chance * 2685821657736338717u) >> 32) % n;
}

static void fail(const char *what) {
    printf("FAILS: %s (%s)\n", what, error.message);
    failures++;
}

static int is_good(rasp_status status, const char *what) {
    if (status >= 0)
        return 1;
    if (status != RASP_ERROR_CANCELLED && status != RASP_ERROR_CONTEXT_FULL && status != RASP_ERROR_OUT_OF_RANGE)
        fail(what);
    cancels += status == RASP_ERROR_CANCELLED;
    return 0;
}

static rasp_session *open_with(rasp_model *of, uint32_t kv_type, uint32_t threads, uint32_t batch) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = CONTEXT, options.kv_type = kv_type, options.threads = threads, options.batch = batch;
    rasp_session *session = NULL;
    if (rasp_session_open(of, &options, &session, &error) != RASP_OK)
        fail("open");
    return session;
}

static uint64_t hash_logits(rasp_session *session) {
    const float *logits;
    size_t count;
    rasp_status status;
    /* A cancel may still be on its way. */
    while ((status = rasp_logits(session, &logits, &count, &error)) == RASP_ERROR_CANCELLED)
        ;
    if (status != RASP_OK)
        return 0;
    uint64_t hash = 1469598103934665603u;
    for (size_t i = 0; i < count * sizeof *logits; i++)
        hash = (hash ^ ((const unsigned char *)logits)[i]) * 1099511628211u;
    return hash;
}

static void sample_with(rasp_sampling *sampling, uint32_t seed) {
    rasp_sampling_init(sampling);
    sampling->temperature = seed % 3 ? 0.9f : 0, sampling->seed = seed;
    sampling->top_k = seed % 5 ? 0 : 8, sampling->top_p = seed % 7 ? 1 : 0.9f;
    sampling->repetition_penalty = seed % 11 ? 1 : 1.2f, sampling->repetition_window = 16;
    sampling->frequency_penalty = seed % 13 ? 0 : 0.5f, sampling->dry_multiplier = seed % 4 ? 0 : 0.8f;
    sampling->mirostat_tau = seed % 6 ? 0 : 3, sampling->xtc_probability = seed % 9 ? 0 : 0.5f;
}

/* The second process: histories in, logits out. */
static int judge(void) {
    setenv("RASP_ISA", "scalar", 1);
    rasp_model *plain;
    if (rasp_load(path, NULL, &plain, &error) != RASP_OK)
        return 2;
    static struct history history;
    size_t got, at;
    for (;;) {
        for (at = 0; at < sizeof history; at += got)
            if ((got = (size_t)read(to_judge[0], (char *)&history + at, sizeof history - at)) == 0 || got > sizeof history)
                return rasp_free(plain) != RASP_OK;
        rasp_session *session = open_with(plain, history.kv_type, 1, 1);
        struct answer answer;
        memset(&answer, 0, sizeof answer); /* what pads it too */
        for (uint32_t i = 0; i < history.count; i++) {
            const struct deed *deed = &history.deeds[i];
            rasp_status status = RASP_OK;
            rasp_sampling sampling;
            uint32_t token = 0;
            switch (deed->what) {
            case PREFILL: status = rasp_prefill(session, deed->tokens, deed->a, &error); break;
            case STEP: status = rasp_step(session, &token, &error); break;
            case DECODE: status = rasp_decode(session, deed->a, &error); break;
            case REWIND: status = rasp_session_rewind(session, deed->a, &error); break;
            case SHIFT: status = rasp_session_shift(session, deed->a, deed->b, &error); break;
            case SPARSITY: status = rasp_session_set_sparsity(session, deed->sparsity, &error); break;
            case LOGITS: (void)hash_logits(session); break;
            case SAMPLING:
                sample_with(&sampling, deed->a);
                status = rasp_session_set_sampling(session, &sampling, &error);
                break;
            }
            if ((status < 0 || (deed->what == STEP && token != deed->a)) && !answer.wrong)
                answer.wrong = (int32_t)i + 1;
        }
        answer.logits = hash_logits(session);
        rasp_session_close(session);
        if (write(from_judge[1], &answer, sizeof answer) != sizeof answer)
            return 2;
    }
}

static void note(struct slot *slot, struct deed deed) {
    if (slot->history.count < LOG)
        slot->history.deeds[slot->history.count++] = deed;
}

static void compare(struct slot *slot) {
    struct answer answer;
    const char *from = (const char *)&slot->history;
    for (size_t at = 0; at < sizeof slot->history;) {
        ssize_t put = write(to_judge[1], from + at, sizeof slot->history - at);
        if (put <= 0) {
            fail("the second process is gone");
            exit(1);
        }
        at += (size_t)put;
    }
    uint64_t ours = hash_logits(slot->session);
    if (read(from_judge[0], &answer, sizeof answer) != sizeof answer) {
        fail("the second process is gone");
        exit(1);
    }
    judged++;
    if (answer.wrong || answer.logits != ours) {
        fail(answer.wrong ? "a deed came out otherwise in the second process" : "other logits in the second process");
        for (uint32_t i = 0; failures < 4 && i < slot->history.count; i++) {
            const struct deed *deed = &slot->history.deeds[i];
            printf("    %u: %u %u %u %g%s\n", i + 1, deed->what, deed->a, deed->b, (double)deed->sparsity,
                   (int32_t)i + 1 == answer.wrong ? " <-" : "");
        }
    }
    /* To ask counts too: a token that is to pass again, after a rewind, has passed then, at the sparsity of that time. */
    if (ours)
        note(slot, (struct deed){.what = LOGITS});
}

/* A thread that cancels whatever is under way. */
static _Atomic(rasp_session *) under_way;
static atomic_int over;
static pthread_mutex_t closing = PTHREAD_MUTEX_INITIALIZER;

static void *canceller(void *unused) {
    while (!atomic_load(&over)) {
        usleep(3000);
        pthread_mutex_lock(&closing);
        rasp_session *session = atomic_load(&under_way);
        if (session)
            rasp_cancel(session);
        pthread_mutex_unlock(&closing);
    }
    return unused;
}

static void close_slot(struct slot *slot) {
    pthread_mutex_lock(&closing);
    atomic_store(&under_way, NULL);
    if (rasp_session_close(slot->session) != RASP_OK)
        fail("close");
    pthread_mutex_unlock(&closing);
    slot->session = NULL;
}

static void fresh(struct slot *slot) {
    slot->history.count = 0;
    slot->history.kv_type = below(3);
    slot->session = open_with(model, slot->history.kv_type, 1 + below(3), 1 + below(9));
}

/* A token, in one of three ways. */
static void step(struct slot *slot) {
    uint32_t token = 0;
    rasp_status status;
    switch (below(3)) {
    case 0:
        status = rasp_step(slot->session, &token, &error);
        break;
    case 1:
        while ((status = rasp_step_within(slot->session, below(20000), &token, &error)) == RASP_PENDING)
            ;
        break;
    default: {
        /* In a batch with all others, whose tokens are noted too. */
        rasp_session *all[SESSIONS];
        struct slot *whose[SESSIONS];
        uint32_t tokens[SESSIONS];
        rasp_status statuses[SESSIONS];
        size_t count = 0;
        for (int i = 0; i < SESSIONS; i++)
            if (slots[i].session && slots[i].history.count < LOG - 4)
                all[count] = slots[i].session, whose[count++] = &slots[i];
        rasp_step_batch(all, count, tokens, statuses, &error);
        for (size_t i = 0; i < count; i++) {
            if (statuses[i] >= 0)
                note(whose[i], (struct deed){.what = STEP, .a = tokens[i]});
            else if (statuses[i] != RASP_ERROR_CANCELLED && statuses[i] != RASP_ERROR_CONTEXT_FULL &&
                     statuses[i] != RASP_ERROR_INVALID_STATE && statuses[i] != RASP_ERROR_INVALID_ARGUMENT)
                fail("step_batch");
        }
        return;
    }
    }
    if (status == RASP_ERROR_INVALID_STATE)
        return; /* nothing to go on from yet */
    if (is_good(status, "step"))
        note(slot, (struct deed){.what = STEP, .a = token});
}

static void prefill(struct slot *slot) {
    struct deed deed = {.what = PREFILL, .a = 1 + below(MOST)};
    for (uint32_t i = 0; i < deed.a; i++)
        deed.tokens[i] = below(info.vocab_size);
    rasp_status status;
    if (below(2)) {
        status = rasp_prefill(slot->session, deed.tokens, deed.a, &error);
    } else {
        status = rasp_prefill_begin(slot->session, deed.tokens, deed.a, &error);
        while (status >= 0 && (status = rasp_prefill_within(slot->session, below(30000), &error)) == RASP_PENDING)
            ;
    }
    if (is_good(status, "prefill"))
        note(slot, deed);
}

static void settle(struct slot *slot) {
    struct deed deed = {.what = SPARSITY, .a = below(1000), .sparsity = info.max_sparsity * (float)below(5) / 4};
    rasp_sampling sampling;
    if (below(2)) {
        deed.what = SAMPLING;
        sample_with(&sampling, deed.a);
    }
    rasp_status status = deed.what == SAMPLING ? rasp_session_set_sampling(slot->session, &sampling, &error)
                                               : rasp_session_set_sparsity(slot->session, deed.sparsity, &error);
    if (is_good(status, "a setting"))
        note(slot, deed);
}

static void fork_into(struct slot *slot) {
    struct slot *other = &slots[below(SESSIONS)];
    rasp_session *child;
    if (other == slot || !is_good(rasp_session_fork(slot->session, NULL, &child, &error), "fork"))
        return;
    if (other->session)
        close_slot(other);
    other->session = child;
    other->history = slot->history;
}

static void save(struct slot *slot) {
    size_t which = below(STATES), size = 0;
    rasp_session_save(slot->session, NULL, 0, &size, NULL);
    void *bytes = malloc(size);
    if (!is_good(rasp_session_save(slot->session, bytes, size, &size, &error), "save")) {
        free(bytes);
        return;
    }
    free(states[which].bytes);
    states[which].bytes = bytes, states[which].size = size, states[which].history = slot->history;
}

static void restore(struct slot *slot) {
    size_t which = below(STATES);
    if (!states[which].bytes || states[which].history.kv_type != slot->history.kv_type)
        return;
    if (is_good(rasp_session_restore(slot->session, states[which].bytes, states[which].size, &error), "restore"))
        slot->history = states[which].history;
}

static void act(void) {
    struct slot *slot = &slots[below(SESSIONS)];
    if (!slot->session)
        fresh(slot);
    atomic_store(&under_way, below(4) == 0 ? slot->session : NULL);
    struct deed deed = {.a = below(CONTEXT), .b = below(CONTEXT / 2)};
    calls++;
    if (slot->history.count > LOG - 8) {
        compare(slot);
        close_slot(slot);
        return;
    }
    switch (below(16)) {
    case 0: case 1: prefill(slot); break;
    case 2: settle(slot); break;
    case 3: fork_into(slot); break;
    case 4: save(slot); break;
    case 5: restore(slot); break;
    case 6:
        deed.what = REWIND;
        if (is_good(rasp_session_rewind(slot->session, deed.a, &error), "rewind"))
            note(slot, deed);
        break;
    case 7:
        deed.what = SHIFT;
        deed.a %= 8;
        if (is_good(rasp_session_shift(slot->session, deed.a, deed.b, &error), "shift"))
            note(slot, deed);
        break;
    case 8:
        deed.what = DECODE, deed.a = below(info.vocab_size);
        if (is_good(rasp_decode(slot->session, deed.a, &error), "decode"))
            note(slot, deed);
        break;
    case 9:
        rasp_cancel(slot->session);
        break;
    case 10:
        if (below(4) == 0)
            compare(slot);
        break;
    case 11:
        if (below(20) == 0)
            close_slot(slot);
        break;
    default: step(slot);
    }
    atomic_store(&under_way, NULL);
}

static long entries(const char *folder) {
    long count = 0;
    DIR *all = opendir(folder);
    while (all && readdir(all))
        count++;
    closedir(all);
    return count;
}

static long pages(void) {
    long size = 0, resident = 0;
    FILE *file = fopen("/proc/self/statm", "re");
    if (file) {
        if (fscanf(file, "%ld %ld", &size, &resident) != 2)
            resident = 0;
        fclose(file);
    }
    return resident;
}

static double now(void) {
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (double)time.tv_sec + 1e-9 * (double)time.tv_nsec;
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    path = argv[1];
    double seconds = atof(argv[2]), start = now(), early = 0;
    chance = argc > 3 ? strtoull(argv[3], NULL, 10) * 2 + 1 : 88172645463325253u;
    if (pipe(to_judge) || pipe(from_judge))
        return 2;
    pid_t child = fork();
    if (child == 0) {
        close(to_judge[1]), close(from_judge[0]);
        _exit(judge());
    }
    close(to_judge[0]), close(from_judge[1]);
    rasp_model_info_init(&info);
    if (rasp_load(path, NULL, &model, &error) != RASP_OK || rasp_model_get_info(model, &info, &error) != RASP_OK) {
        printf("%s\n", error.message);
        return 2;
    }
    pthread_t thread;
    pthread_create(&thread, NULL, canceller, NULL);
    /* The one more is the canceller; a sanitizer may have one of its own from here on. */
    long resident = 0, files = entries("/proc/self/fd"), tasks = entries("/proc/self/task") - 1, most = 0;
    while (now() - start < seconds && failures < 20) {
        act();
        long at = pages();
        most = at > most ? at : most;
        if (early == 0 && now() - start > seconds / 10)
            early = now(), resident = most;
    }
    atomic_store(&over, 1);
    pthread_join(thread, NULL);
    for (int i = 0; i < SESSIONS; i++) {
        if (slots[i].session) {
            compare(&slots[i]);
            close_slot(&slots[i]);
        }
    }
    for (int i = 0; i < STATES; i++)
        free(states[i].bytes);
    if (rasp_free(model) != RASP_OK)
        fail("free");
    long left = entries("/proc/self/fd");
    if (left != files)
        fail("descriptors are left open");
    if (entries("/proc/self/task") != tasks)
        fail("threads are left running");
    /* 4 MiB: what an allocator may round up. (Sanitizers and valgrind keep what is freed.) */
    const char *loaded = getenv("LD_PRELOAD");
    if (!SANITIZED && !(loaded && strstr(loaded, "vgpreload")) && most > resident + 1024)
        fail("memory grows");
    close(to_judge[1]);
    int status;
    waitpid(child, &status, 0);
    if (!WIFEXITED(status) || WEXITSTATUS(status) != 0)
        fail("the second process");
    printf("%ld calls, %ld cancelled, %ld compared in a second process; resident at most %ld kB, after the first tenth of "
           "the time %ld kB; %ld failures\n",
           calls, cancels, judged, most * 4, resident * 4, failures);
    return failures != 0;
}

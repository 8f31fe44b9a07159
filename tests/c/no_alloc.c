/* Between the opening and the closing of a session nothing is allocated, by this thread or any other; and in the host's
 * memory neither by opening and closing it.   no_alloc MODEL.rasp [checks]
 * malloc and its kin are this program's own, which count (glibc). With checks the library keeps a list of its handles,
 * and opening takes a place in it. */
#include "check.h"

#include <errno.h>
#include <stdatomic.h>

extern void *__libc_malloc(size_t size);
extern void *__libc_calloc(size_t count, size_t size);
extern void *__libc_realloc(void *old, size_t size);
extern void *__libc_memalign(size_t alignment, size_t size);
extern void __libc_free(void *memory);
int posix_memalign(void **memory, size_t alignment, size_t size);
void *memalign(size_t alignment, size_t size);
void *aligned_alloc(size_t alignment, size_t size);

static atomic_long calls;

void *malloc(size_t size) {
    calls++;
    return __libc_malloc(size);
}
void *calloc(size_t count, size_t size) {
    calls++;
    return __libc_calloc(count, size);
}
void *realloc(void *old, size_t size) {
    calls++;
    return __libc_realloc(old, size);
}
void *aligned_alloc(size_t alignment, size_t size) {
    calls++;
    return __libc_memalign(alignment, size);
}
void *memalign(size_t alignment, size_t size) {
    calls++;
    return __libc_memalign(alignment, size);
}
int posix_memalign(void **memory, size_t alignment, size_t size) {
    calls++;
    *memory = __libc_memalign(alignment, size);
    return *memory == NULL ? ENOMEM : 0;
}
void free(void *memory) {
    calls++;
    __libc_free(memory);
}

static const uint32_t prompt[] = {50, 35, 28, 46, 31};
enum { STEPS = 40, MARGIN = 4096 };

static void say(rasp_session *session, uint32_t said[STEPS]) {
    rasp_error error;
    CHECK(rasp_session_set_sparsity(session, 0.5F, &error) == RASP_OK);
    CHECK(rasp_prefill(session, prompt, sizeof prompt / sizeof *prompt, &error) == RASP_OK);
    for (int i = 0; i < STEPS; i++) {
        CHECK(rasp_step(session, &said[i], &error) >= 0);
    }
}

/* A session of one thread in memory that held something else before: not a byte is allocated, from opening to closing,
 * none is written outside, and the tokens are those of a session in its own memory. */
static void in_the_hosts_memory(const rasp_model *model, uint32_t kv_type, int checks) {
    rasp_error error;
    rasp_session *session;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    options.kv_type = kv_type;
    uint32_t expected[STEPS], said[STEPS];
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    say(session, expected);
    CHECK(rasp_session_close(session) == RASP_OK);

    rasp_memory_plan plan;
    rasp_memory_plan_init(&plan);
    long before = calls;
    CHECK(rasp_session_plan(model, &options, &plan, &error) == RASP_OK);
    CHECK(calls == before);
    size_t size = (size_t)plan.size;
    unsigned char *memory = malloc(size + 2 * MARGIN), *second = malloc(size);
    CHECK(memory != NULL && second != NULL);
    /* As floats these bytes are no numbers. */
    memset(memory, 0xff, size + 2 * MARGIN);
    for (size_t place = MARGIN; place < MARGIN + 64; place += 24) { /* At other places of a cache line. */
        options.memory = memory + place;
        options.memory_size = size;
        before = calls;
        CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
        CHECK(checks || calls == before);
        CHECK((unsigned char *)session >= memory + place && (unsigned char *)session < memory + place + 64);
        long inside = calls;
        say(session, said);
        CHECK(memcmp(said, expected, sizeof said) == 0);
        rasp_stats stats;
        rasp_stats_init(&stats);
        CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.memory == plan.size);
        CHECK(calls == inside);
        /* Nor by a fork in other memory, which says the same once it is taken back to the prompt. */
        rasp_session *fork;
        memset(second, 0xff, size);
        options.memory = second;
        CHECK(rasp_session_fork(session, &options, &fork, &error) == RASP_OK);
        CHECK(rasp_session_rewind(fork, 0, &error) == RASP_OK);
        say(fork, said);
        CHECK(memcmp(said, expected, sizeof said) == 0);
        CHECK(rasp_session_close(fork) == RASP_OK);
        CHECK(rasp_session_close(session) == RASP_OK);
        CHECK(checks || calls == before);
        for (size_t i = 0; i < size + 2 * MARGIN; i++) {
            CHECK((i >= place && i < place + size) || memory[i] == 0xff);
        }
        memset(memory, 0xff, size + 2 * MARGIN);
    }
    free(memory);
    free(second);
}

/* Several sessions at once. */
static void together(const rasp_model *model) {
    enum { SESSIONS = 3 };
    rasp_error error;
    rasp_session *sessions[SESSIONS];
    for (int n = 0; n < SESSIONS; n++) {
        CHECK(rasp_session_open(model, NULL, &sessions[n], &error) == RASP_OK);
        CHECK(rasp_session_set_sparsity(sessions[n], n == 0 ? 0.5F : 0.0F, &error) == RASP_OK);
        CHECK(rasp_prefill(sessions[n], prompt + n, 3, &error) == RASP_OK);
    }
    long before = calls;
    for (int step = 0; step < 20; step++) {
        uint32_t tokens[SESSIONS];
        rasp_status statuses[SESSIONS];
        CHECK(rasp_step_batch(sessions, SESSIONS, tokens, statuses, &error) == RASP_OK);
    }
    CHECK(calls == before);
    for (int n = 0; n < SESSIONS; n++) {
        CHECK(rasp_session_close(sessions[n]) == RASP_OK);
    }
}

int main(int argc, char **argv) {
    static const float sparsities[] = {0.0F, 0.5F};
    CHECK(argc == 2 || argc == 3);
    rasp_error error;
    rasp_model *model;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(calls > 0); /* The count counts. */
    for (uint32_t threads = 1; threads <= 2; threads++) {
        rasp_session_options options;
        rasp_session_options_init(&options);
        options.threads = threads;
        options.context = 256;
        rasp_session *session;
        CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
        rasp_sampling sampling;
        rasp_sampling_init(&sampling);
        sampling.temperature = 1.0F;
        sampling.top_p = 0.9F;
        sampling.repetition_penalty = 1.1F;
        sampling.presence_penalty = 0.1F, sampling.frequency_penalty = 0.1F;
        sampling.typical_p = 0.95F, sampling.top_n_sigma = 3.0F, sampling.xtc_probability = 0.3F;
        sampling.dry_multiplier = 0.8F, sampling.mirostat_tau = 6.0F;
        for (size_t i = 0; i < 2; i++) {
            long before = calls;
            CHECK(rasp_session_reset(session, &error) == RASP_OK);
            CHECK(rasp_session_set_sparsity(session, sparsities[i], &error) == RASP_OK);
            CHECK(rasp_session_set_sampling(session, i == 0 ? NULL : &sampling, &error) == RASP_OK);
            CHECK(rasp_prefill(session, prompt, sizeof prompt / sizeof *prompt, &error) == RASP_OK);
            rasp_text_stream stream = {0};
            for (int step = 0; step < 200; step++) {
                uint32_t token;
                const uint8_t *bytes;
                size_t count;
                char text[4096];
                CHECK(rasp_step(session, &token, &error) >= 0);
                CHECK(rasp_token_bytes(model, token, &bytes, &count, &error) == RASP_OK);
                CHECK(rasp_text_stream_push(&stream, bytes, count, text, sizeof text, &count, &error) == RASP_OK);
            }
            const float *logits;
            size_t count;
            rasp_stats stats;
            rasp_stats_init(&stats);
            CHECK(rasp_decode(session, prompt[0], &error) == RASP_OK);
            CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK);
            CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK);
            CHECK(stats.decoded_tokens == 200); /* 199 of the steps pass the token before, and one decode. */
            static unsigned char state[32 << 20];
            CHECK(rasp_session_save(session, state, sizeof state, &count, &error) == RASP_OK);
            CHECK(rasp_session_rewind(session, 100, &error) == RASP_OK);
            CHECK(rasp_session_shift(session, 1, 70, &error) == RASP_OK);
            CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK);
            CHECK(rasp_session_save(session, state, sizeof state, &count, &error) == RASP_OK);
            CHECK(rasp_session_restore(session, state, count, &error) == RASP_OK);
            CHECK(rasp_session_clear_stats(session, &error) == RASP_OK);
            CHECK(calls == before);
        }
        rasp_session_close(session);
    }
    together(model);
    const uint32_t kv_types[] = {RASP_KV_F16, RASP_KV_F32, RASP_KV_I8};
    for (size_t i = 0; i < sizeof kv_types / sizeof *kv_types; i++) {
        in_the_hosts_memory(model, kv_types[i], argc == 3);
    }
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

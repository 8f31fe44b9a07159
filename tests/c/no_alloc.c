/* Between the opening and the closing of a session nothing is allocated, by this thread or any other.
 *   no_alloc MODEL.rasp
 * malloc and its kin are this program's own, which count (glibc). */
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

int main(int argc, char **argv) {
    static const uint32_t prompt[] = {50, 35, 28, 46, 31};
    static const float sparsities[] = {0.0F, 0.5F};
    CHECK(argc == 2);
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
            CHECK(rasp_session_clear_stats(session, &error) == RASP_OK);
            CHECK(calls == before);
        }
        rasp_session_close(session);
    }
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

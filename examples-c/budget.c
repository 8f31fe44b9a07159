/*
 * budget: a session whose every byte is the program's own: a static arena, sized beforehand, and the plan that says what
 * goes where. After the model is loaded nothing is allocated.
 *
 *     budget MODEL.rasp [PROMPT [TOKENS]]
 *
 * Build against an installed library:   cc -std=c11 budget.c -lrasp -o budget
 */
#include <rasp.h>

#include <stdalign.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What this program has for language: 16 MiB, as a game or a device would set aside. */
#define ARENA_SIZE ((size_t)16 << 20)

static alignas(max_align_t) unsigned char arena[ARENA_SIZE];

#define MAX_PROMPT 512
#define MAX_TEXT 4096

static void check(rasp_status status, const char *what, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "budget: %s: %s: %s\n", what, rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

static rasp_memory_plan plan_of(const rasp_model *model, const rasp_session_options *options) {
    rasp_error error;
    rasp_memory_plan plan;
    rasp_memory_plan_init(&plan);
    check(rasp_session_plan(model, options, &plan, &error), "plan", &error);
    return plan;
}

/* The longest context that fits the arena: what a token takes is the difference of two plans, and a few tries settle what
 * rounding to whole blocks of tokens leaves open. */
static uint32_t longest_context(const rasp_model *model, rasp_session_options *options, uint32_t limit) {
    uint32_t low = 0;
    uint32_t high = limit;
    while (low < high) {
        options->context = low + (high - low + 1) / 2;
        if (plan_of(model, options).size <= sizeof arena) {
            low = options->context;
        } else {
            high = options->context - 1;
        }
    }
    return low;
}

static void row(const char *what, uint64_t bytes, const rasp_memory_plan *plan) {
    printf("    %-14s%12llu  %5.1f%%\n", what, (unsigned long long)bytes, 100.0 * (double)bytes / (double)plan->size);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: budget MODEL.rasp [PROMPT [TOKENS]]\n");
        return EXIT_FAILURE;
    }
    const char *prompt = argc > 2 ? argv[2] : "The capital of France is";
    int limit = argc > 3 ? atoi(argv[3]) : 24;
    rasp_error error;

    rasp_model *model;
    check(rasp_load(argv[1], NULL, &model, &error), "load", &error);
    rasp_model_info info;
    rasp_model_info_init(&info);
    check(rasp_model_get_info(model, &info, &error), "model info", &error);

    /* Small pieces of prompt and keys and values in 8 bits: more context for the same bytes. */
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.batch = 16;
    options.kv_type = RASP_KV_I8;
    options.context = longest_context(model, &options, info.context_length);
    if (options.context == 0) {
        fprintf(stderr, "budget: the arena is too small for a context of one token\n");
        return EXIT_FAILURE;
    }
    rasp_memory_plan plan = plan_of(model, &options);
    printf("a context of %u tokens in an arena of %zu bytes:\n", plan.context, sizeof arena);
    row("keys, values", plan.kv_cache, &plan);
    row("activations", plan.activations, &plan);
    row("sampling", plan.sampling, &plan);
    row("bookkeeping", plan.bookkeeping, &plan);
    row("all", plan.size, &plan);

    /* Everything that is left stays the program's. A mark shows that the session keeps to its own. */
    memset(arena, 0xA5, sizeof arena);
    options.memory = arena;
    options.memory_size = (size_t)plan.size;
    rasp_session *session;
    check(rasp_session_open(model, &options, &session, &error), "open a session", &error);

    static uint32_t tokens[MAX_PROMPT];
    size_t count;
    check(rasp_tokenize(model, prompt, strlen(prompt), RASP_TOKENIZE_ADD_SPECIAL, tokens, MAX_PROMPT, &count, &error),
          "tokenize", &error);
    check(rasp_prefill(session, tokens, count, &error), "prompt", &error);
    printf("\n%s", prompt);
    rasp_text_stream stream = {0};
    static char text[MAX_TEXT];
    size_t length;
    for (int i = 0; i < limit; i++) {
        uint32_t token;
        rasp_status status = rasp_step(session, &token, &error);
        check(status, "step", &error);
        if (status == RASP_END) {
            break;
        }
        const uint8_t *bytes;
        check(rasp_token_bytes(model, token, &bytes, &count, &error), "token", &error);
        check(rasp_text_stream_push(&stream, bytes, count, text, sizeof text, &length, &error), "text", &error);
        fwrite(text, 1, length, stdout);
    }
    printf("\n\n");

    rasp_session_close(session);
    for (size_t i = (size_t)plan.size; i < sizeof arena; i++) {
        if (arena[i] != 0xA5) {
            fprintf(stderr, "budget: byte %zu of the arena, beyond the plan, has changed\n", i);
            return EXIT_FAILURE;
        }
    }
    printf("%zu bytes of the arena were left, and are untouched\n", sizeof arena - (size_t)plan.size);
    rasp_free(model);
    return EXIT_SUCCESS;
}

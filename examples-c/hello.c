/*
 * hello: load a model, feed a prompt, print what it says; dense first, then reading less and less of the weights.
 *
 *     hello MODEL.rasp [PROMPT [TOKENS]]
 *
 * Build against an installed library:   cc -std=c11 hello.c -lrasp -o hello
 */
#include <rasp.h>

#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

/* The longest token of a vocabulary has a few hundred bytes; a text stream may need three times as many. */
#define TEXT_SIZE 4096

static double seconds(void) {
    struct timespec now;
    timespec_get(&now, TIME_UTC);
    return (double)now.tv_sec + 1e-9 * (double)now.tv_nsec;
}

/* Ends the program with what went wrong, unless the call succeeded. */
static void check(rasp_status status, const char *what, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "hello: %s: %s: %s\n", what, rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

/* Continues the prompt by at most `limit` tokens at a sparsity and prints the text as it comes. */
static void generate(const rasp_model *model, rasp_session *session, float sparsity, const uint32_t *prompt,
                     size_t prompt_count, int limit) {
    rasp_error error;
    check(rasp_session_reset(session, &error), "reset", &error);
    check(rasp_session_clear_stats(session, &error), "clear statistics", &error);
    check(rasp_session_set_sparsity(session, sparsity, &error), "set sparsity", &error);
    check(rasp_prefill(session, prompt, prompt_count, &error), "prompt", &error);

    rasp_text_stream stream = {0};
    char text[TEXT_SIZE];
    size_t length = 0;
    double start = seconds();
    for (int i = 0; i < limit; i++) {
        uint32_t token;
        rasp_status status = rasp_step(session, &token, &error);
        check(status, "step", &error);
        if (status == RASP_END) {
            break;
        }
        const uint8_t *bytes;
        size_t count;
        check(rasp_token_bytes(model, token, &bytes, &count, &error), "token", &error);
        check(rasp_text_stream_push(&stream, bytes, count, text, sizeof text, &length, &error), "text", &error);
        fwrite(text, 1, length, stdout);
        fflush(stdout);
    }
    double elapsed = seconds() - start;
    check(rasp_text_stream_push(&stream, NULL, 0, text, sizeof text, &length, &error), "text", &error);
    fwrite(text, 1, length, stdout);

    rasp_stats stats;
    rasp_stats_init(&stats);
    check(rasp_session_get_stats(session, &stats, &error), "statistics", &error);
    rasp_model_info info;
    rasp_model_info_init(&info);
    check(rasp_model_get_info(model, &info, &error), "model info", &error);
    double dense = (double)(info.linear_bytes + info.head_bytes);
    /* Every token read the linears and the head, but the first read only the head: its logits are the prompt's. */
    double head = (double)stats.head_bytes_read / (double)(stats.decoded_tokens + 1);
    double read = stats.kept * (double)info.linear_bytes + head;
    printf("\n    [sparsity %.1f: %.1f tokens/s, %.0f%% of the linear weights read, %.0f%% with the head]\n\n", sparsity,
           (double)stats.decoded_tokens / elapsed, 100.0 * stats.kept, 100.0 * read / dense);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: hello MODEL.rasp [PROMPT [TOKENS]]\n");
        return EXIT_FAILURE;
    }
    const char *prompt = argc > 2 ? argv[2] : "The capital of France is";
    int limit = argc > 3 ? atoi(argv[3]) : 64;
    rasp_error error;

    rasp_model *model;
    check(rasp_load(argv[1], NULL, &model, &error), "load", &error);
    rasp_model_info info;
    rasp_model_info_init(&info);
    check(rasp_model_get_info(model, &info, &error), "model info", &error);
    printf("%s (%s): %u layers, %u wide, %.0f MB; rasp %s\n\n", info.name, info.architecture, info.num_layers,
           info.hidden_size, (double)info.file_size / 1e6, rasp_version());

    size_t count = 0;
    /* With what the model expects before a text, if anything: a token for the beginning, in Gemma's case. */
    const uint32_t flags = RASP_TOKENIZE_ADD_SPECIAL;
    rasp_status status = rasp_tokenize(model, prompt, strlen(prompt), flags, NULL, 0, &count, &error);
    if (status != RASP_ERROR_BUFFER_TOO_SMALL) {
        check(status, "tokenize", &error);
    }
    if (count == 0) {
        fprintf(stderr, "hello: the prompt is empty\n");
        return EXIT_FAILURE;
    }
    uint32_t *tokens = malloc(count * sizeof *tokens);
    if (tokens == NULL) {
        fprintf(stderr, "hello: no memory for the prompt\n");
        return EXIT_FAILURE;
    }
    check(rasp_tokenize(model, prompt, strlen(prompt), flags, tokens, count, &count, &error), "tokenize", &error);

    rasp_session *session;
    check(rasp_session_open(model, NULL, &session, &error), "open a session", &error);
    const float sparsities[] = {0.0F, 0.3F, 0.5F};
    for (size_t i = 0; i < sizeof sparsities / sizeof *sparsities; i++) {
        if (sparsities[i] <= info.max_sparsity) {
            printf("%s", prompt);
            generate(model, session, sparsities[i], tokens, count, limit);
        }
    }
    rasp_session_close(session);
    free(tokens);
    rasp_free(model);
    return EXIT_SUCCESS;
}

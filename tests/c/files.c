/* Whole and damaged files.   files TINY.rasp { STATUS WORD FILE } ...
 * Each FILE must be refused with STATUS and a message that names WORD (if that is TEMPLATE, its chats); TINY.rasp must
 * be refused when it is cut short anywhere, and otherwise work to its end. */
#include "check.h"

static rasp_error error;

/* A template that is wrong costs the chat, and not the model. */
static void chats_in_vain(const char *path, const char *word) {
    rasp_model *model;
    CHECK(rasp_load(path, NULL, &model, &error) == RASP_OK);
    rasp_message message = {"user", "Hi"};
    char text[64];
    size_t length = 1;
    CHECK(rasp_chat_format(model, &message, 1, 1, text, sizeof text, &length, &error) == RASP_ERROR_TEMPLATE);
    CHECK(strstr(error.message, word) != NULL && length == 0);
    CHECK(rasp_free(model) == RASP_OK);
}

static void refused(const char *path, rasp_status expected, const char *word) {
    if (expected == RASP_ERROR_TEMPLATE) {
        chats_in_vain(path, word);
        return;
    }
    rasp_load_options options;
    rasp_load_options_init(&options);
    options.verify = 1;
    rasp_model *model = (rasp_model *)&error;
    memset(&error, 0, sizeof error);
    rasp_status status = rasp_load(path, &options, &model, &error);
    if (status != expected || error.code != expected || strstr(error.message, word) == NULL || model != NULL) {
        fprintf(stderr, "%s: %d (%s), expected %d and \"%s\"\n", path, (int)status, error.message, (int)expected, word);
        exit(EXIT_FAILURE);
    }
    CHECK(rasp_load(path, &options, &model, NULL) == expected && model == NULL);
}

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    long length = ftell(file);
    CHECK(length > 0);
    rewind(file);
    void *data = malloc((size_t)length);
    CHECK(data != NULL && fread(data, 1, (size_t)length, file) == (size_t)length);
    CHECK(fclose(file) == 0);
    *size = (size_t)length;
    return data;
}

static void cut_short(const char *path) {
    size_t size;
    void *data = read_file(path, &size);
    rasp_model *model;
    for (size_t length = 1; length < size; length += length < 256 ? 1 : 211) {
        /* A copy of just that length, so that a memory checker sees a read beyond it. */
        void *copy = malloc(length);
        CHECK(copy != NULL);
        memcpy(copy, data, length);
        CHECK(rasp_load_bytes(copy, length, NULL, &model, &error) == RASP_ERROR_BAD_FILE && model == NULL);
        free(copy);
    }
    CHECK(rasp_load_bytes(data, 0, NULL, &model, &error) == RASP_ERROR_BAD_FILE);
    CHECK(rasp_load_bytes(data, SIZE_MAX, NULL, &model, &error) == RASP_ERROR_INVALID_ARGUMENT);
    CHECK(strstr(error.message, "length") != NULL);
    CHECK(rasp_load_bytes(data, size, NULL, &model, &error) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    free(data);
}

/* The whole way on the tiny model: to a full context, at each sparsity, with text and chat. */
static void works(const char *path) {
    rasp_model *model;
    CHECK(rasp_load(path, NULL, &model, &error) == RASP_OK);
    rasp_model_info info;
    rasp_model_info_init(&info);
    CHECK(rasp_model_get_info(model, &info, &error) == RASP_OK);
    CHECK(info.vocab_size == 257 && strcmp(info.name, "tiny") == 0 && info.bos_token == 256);

    uint32_t prompt[8];
    size_t count;
    CHECK(rasp_tokenize(model, "rasp", 4, RASP_TOKENIZE_ADD_SPECIAL, prompt, 8, &count, &error) == RASP_OK);
    CHECK(count == 5 && prompt[0] == 256 && prompt[1] == 'r' && prompt[4] == 'p');
    CHECK(rasp_tokenize(model, NULL, 0, RASP_TOKENIZE_ADD_SPECIAL, prompt, 8, &count, &error) == RASP_OK && count == 1);
    CHECK(rasp_tokenize(model, "rasp", 4, 0, prompt, 8, &count, &error) == RASP_OK && count == 4);

    rasp_message message = {"user", "Hi"};
    char text[64];
    CHECK(rasp_chat_format(model, &message, 1, 1, text, sizeof text, &count, &error) == RASP_OK);
    CHECK(count == 20 && memcmp(text, "<user>Hi\n<assistant>", count) == 0);

    uint32_t said[2][3][60];
    const float sparsities[] = {0.0F, 0.4F, 0.5F};
    for (uint32_t threads = 1; threads <= 2; threads++) {
        rasp_session_options options;
        rasp_session_options_init(&options);
        options.context = 64;
        options.threads = threads;
        options.batch = 3;
        rasp_session *session;
        CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
        for (size_t i = 0; i < 3; i++) {
            uint32_t *tokens = said[threads - 1][i];
            CHECK(rasp_session_reset(session, &error) == RASP_OK);
            CHECK(rasp_session_set_sparsity(session, sparsities[i], &error) == RASP_OK);
            CHECK(rasp_prefill(session, prompt, 4, &error) == RASP_OK);
            for (size_t step = 0; step < 60; step++) {
                rasp_status status = rasp_step(session, &tokens[step], &error);
                CHECK(status == (tokens[step] == 256 ? RASP_END : RASP_OK));
                CHECK(rasp_token_is_end(model, tokens[step]) == (tokens[step] == 256));
            }
            uint32_t token = 12345;
            CHECK(rasp_step(session, &token, &error) == RASP_ERROR_CONTEXT_FULL && token == 12345);
        }
        CHECK(rasp_session_close(session) == RASP_OK);
    }
    CHECK(memcmp(said[0], said[1], sizeof said[0]) == 0);
    CHECK(memcmp(said[0][0], said[0][2], sizeof said[0][0]) != 0);
    CHECK(rasp_free(model) == RASP_OK);
}

int main(int argc, char **argv) {
    CHECK(argc >= 2 && argc % 3 == 2);
    works(argv[1]);
    cut_short(argv[1]);
    for (int i = 2; i < argc; i += 3) {
        refused(argv[i + 2], (rasp_status)atoi(argv[i]), argv[i + 1]);
    }
    puts("ok");
    return EXIT_SUCCESS;
}

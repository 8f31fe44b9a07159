/* Every function of rasp.h from C, with good and with bad input.   api MODEL.rasp FOLDER */
#define _POSIX_C_SOURCE 200809L
#include "check.h"

#include <fcntl.h>
#include <math.h>
#include <unistd.h>

static rasp_error error;

static const uint32_t PROMPT[] = {504, 3575, 282, 4649, 314};
#define PROMPT_COUNT (sizeof PROMPT / sizeof *PROMPT)

static void names_and_versions(void) {
    CHECK(strcmp(rasp_status_name(RASP_OK), "ok") == 0);
    CHECK(strcmp(rasp_status_name(RASP_ERROR_CONTEXT_FULL), "context full") == 0);
    CHECK(strcmp(rasp_status_name(RASP_END), "end of generation") == 0);
    CHECK(strcmp(rasp_status_name(-9999), "unknown status") == 0);
    CHECK(strchr(rasp_version(), '.') != NULL);
    CHECK(rasp_abi_version() == 1);
}

static char *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL);
    CHECK(fseek(file, 0, SEEK_END) == 0);
    long length = ftell(file);
    CHECK(length > 0);
    rewind(file);
    /* malloc aligns for every type, so to 8 at least. */
    char *data = malloc((size_t)length);
    CHECK(data != NULL && fread(data, 1, (size_t)length, file) == (size_t)length);
    fclose(file);
    *size = (size_t)length;
    return data;
}

static void write_file(const char *path, const char *data, size_t size) {
    FILE *file = fopen(path, "wb");
    CHECK(file != NULL && fwrite(data, 1, size, file) == size);
    CHECK(fclose(file) == 0);
}

static void loading(const char *path, const char *folder) {
    rasp_model *model = (rasp_model *)&error;
    FAILS(rasp_load(NULL, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "path is null");
    CHECK(model == NULL);
    FAILS(rasp_load(path, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_load("/no/such/file.rasp", NULL, &model, &error), RASP_ERROR_IO, "/no/such/file.rasp");
    FAILS(rasp_load(folder, NULL, &model, &error), RASP_ERROR_IO, "not a file");
    FAILS(rasp_load("\xff\xfe", NULL, &model, &error), RASP_ERROR_INVALID_UTF8, "path");
    CHECK(rasp_load("/no/such/file.rasp", NULL, &model, NULL) == RASP_ERROR_IO);

    rasp_load_options options;
    rasp_load_options_init(NULL);
    rasp_load_options_init(&options);
    CHECK(options.struct_size == sizeof options && options.verify == 0 && options.lock == 0);
    CHECK(options.log == NULL && options.log_context == NULL && options.log_level == RASP_LOG_INFO);
    CHECK(options.large_pages == 0 && options.reserved == 0);
    options.struct_size = 3;
    FAILS(rasp_load(path, &options, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");
    options.struct_size = sizeof options;
    options.reserved = 1;
    FAILS(rasp_load(path, &options, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "reserved");
    options.reserved = 0;
    options.large_pages = 1;
    CHECK(rasp_load(path, &options, &model, &error) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    FAILS(rasp_load(folder, &options, &model, &error), RASP_ERROR_IO, "not a file");
    /* An older program's: nothing is written behind it, and what it does not have is as it was. */
    {
        rasp_load_options older;
        memset(&older, 0x55, sizeof older);
#undef rasp_load_options_init
        rasp_load_options_init(NULL);
        rasp_load_options_init(&older);
#define rasp_load_options_init rasp_load_options_init_2
        CHECK(older.struct_size == offsetof(rasp_load_options, large_pages));
        CHECK(older.verify == 0 && older.lock == 0 && older.log == NULL && older.log_level == RASP_LOG_INFO);
        CHECK(older.large_pages == 0x55555555 && older.reserved == 0x55555555);
        CHECK(rasp_load(path, &older, &model, &error) == RASP_OK);
        CHECK(rasp_free(model) == RASP_OK);
    }
    /* A newer program's struct: fine while what we do not know is zero. */
    struct {
        rasp_load_options known;
        uint32_t unknown;
    } newer;
    memset(&newer, 0, sizeof newer); /* Its padding too: that is what we do not know. */
    rasp_load_options_init(&newer.known);
    newer.known.struct_size = sizeof newer;
    newer.known.verify = 1;
    newer.unknown = 1;
    FAILS(rasp_load(path, &newer.known, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "does not know");
    newer.unknown = 0;
    CHECK(rasp_load(path, &newer.known, &model, &error) == RASP_OK);
    rasp_model_retain(model);
    CHECK(rasp_free(model) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK);
    CHECK(rasp_model_retain(NULL) == RASP_OK && rasp_free(NULL) == RASP_OK && rasp_session_close(NULL) == RASP_OK);

    size_t size;
    char *data = read_file(path, &size);
    char name[512];
    CHECK(snprintf(name, sizeof name, "%s/damaged.rasp", folder) < (int)sizeof name);
    write_file(name, data, 0);
    FAILS(rasp_load(name, NULL, &model, &error), RASP_ERROR_BAD_FILE, "is empty");
    const size_t lengths[] = {1, 7, 8, 9, 100, 4096, size / 2, size - 1};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        FAILS(rasp_load_bytes(data, lengths[i], NULL, &model, &error), RASP_ERROR_BAD_FILE, "truncated");
        CHECK(model == NULL);
    }
    write_file(name, data, 4096);
    FAILS(rasp_load(name, NULL, &model, &error), RASP_ERROR_BAD_FILE, "damaged.rasp");
    write_file(name, "GGUF\3\0\0\0 this is another kind of file altogether", 48);
    FAILS(rasp_load(name, NULL, &model, &error), RASP_ERROR_BAD_FILE, "a GGUF file");

    FAILS(rasp_load_bytes(NULL, size, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "data is null");
    FAILS(rasp_load_bytes(data + 1, size - 1, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "multiple of 8");
    char *version = strstr(data + 8, "\"rasp.version\":\"2\"");
    CHECK(version != NULL);
    version[16] = '9';
    FAILS(rasp_load_bytes(data, size, NULL, &model, &error), RASP_ERROR_UNSUPPORTED_VERSION, "9");
    version[16] = '2';
    char *heads = strstr(data + 8, "\\\"num_heads\\\"");
    CHECK(heads != NULL);
    heads[2] = 'x';
    FAILS(rasp_load_bytes(data, size, NULL, &model, &error), RASP_ERROR_BAD_FILE, "num_heads");
    heads[2] = 'n';
    CHECK(rasp_load_bytes(data, size, NULL, &model, &error) == RASP_OK);
    rasp_free(model);
    rasp_load_options_init(&options);
    options.lock = 1;
    FAILS(rasp_load_bytes(data, size, &options, &model, &error), RASP_ERROR_UNSUPPORTED, "cannot lock");
    CHECK(model == NULL);
    free(data);
    CHECK(remove(name) == 0);
}

/* What a log has heard: a count for each level, and all messages. */
struct heard {
    int count[5];
    char text[4096];
};

static void hear(void *context, uint32_t level, const char *message) {
    struct heard *heard = context;
    CHECK(level >= RASP_LOG_ERROR && level <= RASP_LOG_DEBUG);
    heard->count[level]++;
    size_t length = strlen(heard->text);
    CHECK(length + strlen(message) + 2 < sizeof heard->text);
    snprintf(heard->text + length, sizeof heard->text - length, "%s\n", message);
}

static void logs(const char *path) {
    rasp_model *model;
    rasp_session *session;
    rasp_load_options options;
    static struct heard heard;
    for (uint32_t level = RASP_LOG_ERROR; level <= RASP_LOG_DEBUG; level++) {
        memset(&heard, 0, sizeof heard);
        rasp_load_options_init(&options);
        options.log = hear;
        options.log_context = &heard;
        options.log_level = level;
        FAILS(rasp_load("/no/such.rasp", &options, &model, &error), RASP_ERROR_IO, "/no/such.rasp");
        CHECK(heard.count[RASP_LOG_ERROR] == 1 && strstr(heard.text, error.message) == heard.text);
        CHECK(rasp_load(path, &options, &model, &error) == RASP_OK);
        CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
        CHECK(rasp_session_close(session) == RASP_OK && rasp_free(model) == RASP_OK);
        for (uint32_t above = level + 1; above <= RASP_LOG_DEBUG; above++) {
            CHECK(heard.count[above] == 0);
        }
        CHECK((heard.count[RASP_LOG_INFO] >= 2) == (level >= RASP_LOG_INFO));
        CHECK((strstr(heard.text, "llama, 30 layers of bf16") != NULL) == (level >= RASP_LOG_INFO));
        CHECK((strstr(heard.text, "a session of 4096 tokens in") != NULL) == (level == RASP_LOG_DEBUG));
    }
    options.log_level = 5;
    FAILS(rasp_load(path, &options, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "log_level is 5");
}

/* A model inside another file, at these offsets. */
static void parts(const char *path, const char *folder) {
    char name[512];
    CHECK(snprintf(name, sizeof name, "%s/game.pak", folder) < (int)sizeof name);
    size_t size;
    char *data = read_file(path, &size);
    rasp_model *model;
    const size_t offsets[] = {0, 4, 64, 4096, 5000};
    uint32_t first = 0;
    for (size_t i = 0; i < sizeof offsets / sizeof *offsets; i++) {
        FILE *file = fopen(name, "wb");
        CHECK(file != NULL);
        for (size_t n = 0; n < offsets[i]; n++) {
            CHECK(fputc('x', file) == 'x');
        }
        CHECK(fwrite(data, 1, size, file) == size);
        /* What follows in the archive, in every other one. */
        CHECK(i % 2 == 0 || fwrite("more", 1, 4, file) == 4);
        CHECK(fclose(file) == 0);
        int descriptor = open(name, O_RDONLY);
        CHECK(descriptor >= 0);
        rasp_load_options options;
        rasp_load_options_init(&options);
        struct heard heard = {0};
        options.log = hear;
        options.log_context = &heard;
        options.log_level = RASP_LOG_WARNING;
        CHECK(rasp_load_fd(descriptor, offsets[i], i % 2 == 0 ? 0 : size, &options, &model, &error) == RASP_OK);
        CHECK(heard.count[RASP_LOG_WARNING] >= (offsets[i] % 64 == 0 ? 0 : 1));
        CHECK((strstr(heard.text, "cache lines") != NULL) == (offsets[i] % 64 != 0));
        CHECK(lseek(descriptor, 0, SEEK_CUR) == 0);
        CHECK(close(descriptor) == 0);
        rasp_session *session;
        uint32_t token;
        CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
        CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
        CHECK(rasp_step(session, &token, &error) == RASP_OK);
        CHECK(i == 0 || token == first);
        first = token;
        CHECK(rasp_session_close(session) == RASP_OK && rasp_free(model) == RASP_OK);
    }
    int descriptor = open(name, O_RDONLY);
    CHECK(descriptor >= 0);
    FAILS(rasp_load_fd(descriptor, 5002, 0, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "multiple of 4");
    CHECK(model == NULL);
    FAILS(rasp_load_fd(descriptor, 5000, size + 1, NULL, &model, &error), RASP_ERROR_OUT_OF_RANGE,
        "more than the file's");
    FAILS(rasp_load_fd(descriptor, 1 << 30, 0, NULL, &model, &error), RASP_ERROR_OUT_OF_RANGE, "more than the file's");
    FAILS(rasp_load_fd(descriptor, 5000 + size, 0, NULL, &model, &error), RASP_ERROR_BAD_FILE, "empty");
    FAILS(rasp_load_fd(descriptor, 4996, 0, NULL, &model, &error), RASP_ERROR_BAD_FILE, "safetensors");
    FAILS(rasp_load_fd(descriptor, 5000, size - 4, NULL, &model, &error), RASP_ERROR_BAD_FILE, "truncated");
    FAILS(rasp_load_fd(descriptor, 5000, 0, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    CHECK(close(descriptor) == 0);
    FAILS(rasp_load_fd(descriptor, 5000, 0, NULL, &model, &error), RASP_ERROR_IO, "cannot read");
    FAILS(rasp_load_fd(-1, 0, 0, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "-1 is no open file");
    FAILS(rasp_load_fd((int64_t)1 << 40, 0, 0, NULL, &model, &error), RASP_ERROR_INVALID_ARGUMENT, "no open file");
    descriptor = open(folder, O_RDONLY);
    CHECK(descriptor >= 0);
    FAILS(rasp_load_fd(descriptor, 0, 0, NULL, &model, &error), RASP_ERROR_IO, "not a file");
    CHECK(close(descriptor) == 0 && remove(name) == 0);
    free(data);
}

static void information(const rasp_model *model) {
    rasp_model_info info;
    rasp_model_info_init(NULL);
    rasp_model_info_init(&info);
    CHECK(rasp_model_get_info(model, &info, &error) == RASP_OK);
    CHECK(info.vocab_size == 49152 && info.num_layers == 30 && info.context_length == 8192);
    CHECK(info.num_heads == 9 && info.num_kv_heads == 3 && info.head_dim == 64 && info.hidden_size == 576);
    CHECK(info.intermediate_size == 1536 && info.weight_type == RASP_WEIGHTS_BF16 && info.bos_token == 1);
    CHECK(info.linear_bytes == 212336640 && info.head_bytes == 56623104 && info.file_size > info.linear_bytes);
    CHECK(fabsf(info.max_sparsity - 0.7F) < 1e-6F && strcmp(info.architecture, "llama") == 0 && info.name[0] != 0);
    FAILS(rasp_model_get_info(NULL, &info, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_model_get_info(model, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "is null");
    info.struct_size = 0;
    FAILS(rasp_model_get_info(model, &info, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");
}

static void text(const rasp_model *model) {
    const char *france = "The capital of France is";
    uint32_t tokens[64];
    size_t count = 99;
    FAILS(rasp_tokenize(model, france, strlen(france), 0, NULL, 0, &count, &error), RASP_ERROR_BUFFER_TOO_SMALL, "5");
    CHECK(count == 5);
    CHECK(rasp_tokenize(model, france, strlen(france), 0, tokens, 64, &count, &error) == RASP_OK);
    CHECK(count == PROMPT_COUNT && memcmp(tokens, PROMPT, sizeof PROMPT) == 0);
    CHECK(rasp_tokenize(model, "", 0, 0, tokens, 64, &count, &error) == RASP_OK && count == 0);
    CHECK(rasp_tokenize(model, NULL, 0, 0, NULL, 0, &count, &error) == RASP_OK && count == 0);
    FAILS(rasp_tokenize(NULL, "a", 1, 0, tokens, 64, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_tokenize(model, NULL, 1, 0, tokens, 64, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "text is null");
    FAILS(rasp_tokenize(model, "a", 1, 0, NULL, 64, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "buffer is null");
    FAILS(rasp_tokenize(model, "a", 1, 0, tokens, 64, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "count is null");
    CHECK(rasp_tokenize(model, "a", 1, 64, tokens, 64, &count, NULL) == RASP_ERROR_INVALID_ARGUMENT && count == 0);
    FAILS(rasp_tokenize(model, "a", (size_t)-1, 0, tokens, 64, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "length");
    FAILS(rasp_tokenize(model, "a", 1, 64, tokens, 64, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "flags");
    FAILS(rasp_tokenize(model, "ab\xff", 3, 0, tokens, 64, &count, &error), RASP_ERROR_INVALID_UTF8, "byte 2");

    char buffer[512];
    size_t length;
    CHECK(rasp_detokenize(model, PROMPT, PROMPT_COUNT, 0, buffer, sizeof buffer, &length, &error) == RASP_OK);
    CHECK(length == strlen(france) && memcmp(buffer, france, length) == 0);
    FAILS(rasp_detokenize(model, PROMPT, PROMPT_COUNT, 0, buffer, 3, &length, &error), RASP_ERROR_BUFFER_TOO_SMALL,
        "24");
    uint32_t wrong[] = {1, 49152};
    FAILS(rasp_detokenize(model, wrong, 2, 0, buffer, sizeof buffer, &length, &error), RASP_ERROR_OUT_OF_RANGE,
        "49152");
    FAILS(rasp_detokenize(model, NULL, 2, 0, buffer, 9, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "tokens");
    FAILS(rasp_detokenize(NULL, PROMPT, 1, 0, buffer, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT,
        "model is null");
    FAILS(rasp_detokenize(model, PROMPT, 1, 0, NULL, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT,
        "buffer is null");
    FAILS(rasp_detokenize(model, PROMPT, 1, 0, buffer, 99, NULL, &error), RASP_ERROR_INVALID_ARGUMENT,
        "length is null");
    CHECK(rasp_detokenize(model, NULL, 0, 0, NULL, 0, &length, NULL) == RASP_OK && length == 0);
    FAILS(rasp_detokenize(model, PROMPT, 1, 2, buffer, 9, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "flags");
    CHECK(rasp_detokenize(model, wrong, 1, RASP_DETOKENIZE_SKIP_SPECIAL, buffer, 9, &length, &error) == RASP_OK);
    CHECK(length == 0);

    /* A crab in four bytes, cut at every place a token may cut it. */
    const char *special = "<|im_end|>\xf0\x9f\xa6\x80";
    CHECK(rasp_tokenize(model, special, strlen(special), RASP_TOKENIZE_PARSE_SPECIAL, tokens, 64, &count,
        &error) == RASP_OK);
    CHECK(tokens[0] == 2 && rasp_token_is_special(model, 2) == 1 && rasp_token_is_end(model, 2) == 1);
    CHECK(rasp_token_is_special(model, 504) == 0 && rasp_token_is_end(model, 504) == 0);
    CHECK(rasp_token_is_end(NULL, 2) == 0 && rasp_token_is_special(NULL, 2) == 0 &&
        rasp_token_is_end(model, 99999) == 0);
    rasp_text_stream stream = {0};
    size_t total = 0;
    for (size_t i = 1; i < count; i++) {
        const uint8_t *bytes;
        size_t n;
        CHECK(rasp_token_bytes(model, tokens[i], &bytes, &n, &error) == RASP_OK);
        CHECK(rasp_text_stream_push(&stream, bytes, n, buffer + total, sizeof buffer - total, &length,
            &error) == RASP_OK);
        total += length;
    }
    CHECK(total == 4 && memcmp(buffer, special + 10, 4) == 0);
    CHECK(rasp_text_stream_push(&stream, (const uint8_t *)"\xf0\x9f", 2, buffer, 64, &length, &error) == RASP_OK &&
        length == 0);
    CHECK(rasp_text_stream_push(&stream, NULL, 0, buffer, 64, &length, &error) == RASP_OK);
    CHECK(length == 3 && memcmp(buffer, "\xef\xbf\xbd", 3) == 0);
    FAILS(rasp_text_stream_push(&stream, (const uint8_t *)"a", 1, buffer, 11, &length, &error),
        RASP_ERROR_BUFFER_TOO_SMALL, "12");
    FAILS(rasp_text_stream_push(NULL, (const uint8_t *)"a", 1, buffer, 64, &length, &error),
        RASP_ERROR_INVALID_ARGUMENT, "stream");
    FAILS(rasp_text_stream_push(&stream, NULL, 1, buffer, 64, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "bytes");
    FAILS(rasp_text_stream_push(&stream, (const uint8_t *)"a", 1, NULL, 64, &length, &error),
        RASP_ERROR_INVALID_ARGUMENT, "text");
    const uint8_t *bytes;
    FAILS(rasp_token_bytes(model, 49152, &bytes, &length, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
    CHECK(bytes == NULL && length == 0);
    FAILS(rasp_token_bytes(NULL, 1, &bytes, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_token_bytes(model, 1, &bytes, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "length is null");
    FAILS(rasp_text_stream_push(&stream, (const uint8_t *)"a", 1, buffer, 64, NULL, &error),
        RASP_ERROR_INVALID_ARGUMENT, "length is null");
    FAILS(rasp_token_bytes(model, 1, NULL, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "bytes is null");

    rasp_message messages[] = {{"user", "Hi"}};
    CHECK(rasp_chat_format(model, messages, 1, 1, buffer, sizeof buffer, &length, &error) == RASP_OK);
    buffer[length] = 0;
    CHECK(strstr(buffer, "<|im_start|>user\nHi<|im_end|>\n<|im_start|>assistant\n") != NULL);
    FAILS(rasp_chat_format(model, messages, 1, 1, NULL, 0, &length, &error), RASP_ERROR_BUFFER_TOO_SMALL, "needed");
    FAILS(rasp_chat_format(NULL, messages, 1, 1, buffer, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT,
        "model is null");
    FAILS(rasp_chat_format(model, messages, 1, 1, buffer, 99, NULL, &error), RASP_ERROR_INVALID_ARGUMENT,
        "length is null");
    FAILS(rasp_chat_format(model, messages, 1, 1, NULL, 999, &length, &error), RASP_ERROR_INVALID_ARGUMENT,
        "buffer is null");
    messages[0].role = NULL;
    FAILS(rasp_chat_format(model, messages, 1, 1, buffer, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "role");
    messages[0].role = "us\xff";
    FAILS(rasp_chat_format(model, messages, 1, 1, buffer, 99, &length, &error), RASP_ERROR_INVALID_UTF8, "role");
    messages[0].role = "user";
    messages[0].content = NULL;
    FAILS(rasp_chat_format(model, messages, 1, 1, buffer, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "content");
    FAILS(rasp_chat_format(model, NULL, 1, 1, buffer, 99, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "messages");
}

static void memory(rasp_model *model) {
    rasp_session *session;
    rasp_session_options options;
    rasp_session_options_init(&options);
    CHECK(options.memory == NULL && options.memory_size == 0);
    rasp_memory_plan plan;
    rasp_memory_plan_init(NULL);
    rasp_memory_plan_init(&plan);
    CHECK(rasp_session_plan(model, NULL, &plan, &error) == RASP_OK);
    CHECK(plan.context == 4096 && plan.batch == 128 && plan.alignment == 8);
    CHECK(plan.size == plan.kv_cache + plan.activations + plan.sampling + plan.bookkeeping);
    /* 30 layers, 3 heads of 64, keys and values of 2 bytes; and little besides. */
    CHECK(plan.kv_cache >= 94371840 && plan.kv_cache < 94371840 + 1024);
    CHECK(plan.sampling >= 49152 * 16 && plan.sampling < 49152 * 16 + 1024);
    CHECK(plan.bookkeeping > 4096 * 4 && plan.bookkeeping < 4096 * 16);
    FAILS(rasp_session_plan(NULL, NULL, &plan, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_session_plan(model, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "rasp_memory_plan is null");
    options.context = 9000;
    FAILS(rasp_session_plan(model, &options, &plan, &error), RASP_ERROR_OUT_OF_RANGE, "8192");
    options.context = 64;
    options.threads = 0;
    FAILS(rasp_session_plan(model, &options, &plan, &error), RASP_ERROR_INVALID_ARGUMENT, "0 threads");
    options.threads = 2;
    uint64_t sizes[3];
    for (uint32_t kv_type = 0; kv_type < 3; kv_type++) {
        options.kv_type = kv_type;
        CHECK(rasp_session_plan(model, &options, &plan, &error) == RASP_OK && plan.context == 64 && plan.batch == 64);
        sizes[kv_type] = plan.size;
    }
    CHECK(sizes[RASP_KV_I8] < sizes[RASP_KV_F16] && sizes[RASP_KV_F16] < sizes[RASP_KV_F32]);
    options.kv_type = 3;
    FAILS(rasp_session_plan(model, &options, &plan, &error), RASP_ERROR_INVALID_ARGUMENT, "kv_type");
    options.kv_type = RASP_KV_I8;
    plan.struct_size = 55;
    FAILS(rasp_session_plan(model, &options, &plan, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");

    size_t size = (size_t)sizes[RASP_KV_I8];
    char need[64];
    snprintf(need, sizeof need, "needs %zu bytes", size);
    char *room = malloc(size);
    CHECK(room != NULL);
    options.memory = room;
    options.memory_size = size - 1;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_BUFFER_TOO_SMALL, need);
    CHECK(session == NULL);
    options.memory = room + 4;
    options.memory_size = size;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "multiple of 8");
    options.memory = NULL;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "memory is null");
    options.memory = room;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.memory == size);
    CHECK(rasp_session_close(session) == RASP_OK);
    free(room);
}

static void sessions(rasp_model *model) {
    rasp_session *session = NULL;
    rasp_session_options options;
    rasp_session_options_init(NULL);
    rasp_session_options_init(&options);
    CHECK(options.threads == 1 && options.kv_type == RASP_KV_F16);
    FAILS(rasp_session_open(NULL, NULL, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_session_open(model, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    options.struct_size = 12;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");
    options.struct_size = sizeof options;
    options.threads = 0;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "0 threads");
    options.threads = 2;
    options.kv_type = 7;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "kv_type");
    options.kv_type = RASP_KV_F32;
    options.context = 9000;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_OUT_OF_RANGE, "8192");
    options.context = 16;
    options.windows_alone = 2;
    FAILS(rasp_session_open(model, &options, &session, &error), RASP_ERROR_INVALID_ARGUMENT, "windows_alone");
    // No layer of this model attends to a window: nothing changes.
    rasp_memory_plan whole, windows;
    rasp_memory_plan_init(&whole);
    rasp_memory_plan_init(&windows);
    options.windows_alone = 0;
    CHECK(rasp_session_plan(model, &options, &whole, &error) == RASP_OK);
    options.windows_alone = 1;
    CHECK(rasp_session_plan(model, &options, &windows, &error) == RASP_OK && windows.kv_cache == whole.kv_cache);
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);

    uint32_t token = 77;
    const float *logits;
    size_t count;
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_INVALID_STATE, "prompt");
    FAILS(rasp_logits(session, &logits, &count, &error), RASP_ERROR_INVALID_STATE, "prompt");
    FAILS(rasp_prefill(session, PROMPT, 0, &error), RASP_ERROR_INVALID_ARGUMENT, "no tokens");
    FAILS(rasp_prefill(session, NULL, 5, &error), RASP_ERROR_INVALID_ARGUMENT, "tokens is null");
    FAILS(rasp_prefill(NULL, PROMPT, 5, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    uint32_t wrong[] = {1, 49152};
    FAILS(rasp_prefill(session, wrong, 2, &error), RASP_ERROR_OUT_OF_RANGE, "token 1 has id 49152");
    FAILS(rasp_prefill(session, PROMPT, (size_t)-1, &error), RASP_ERROR_INVALID_ARGUMENT, "length");
    FAILS(rasp_prefill(session, (const uint32_t *)(const void *)((const char *)PROMPT + 1), 2, &error),
        RASP_ERROR_INVALID_ARGUMENT, "aligned");
    FAILS(rasp_decode(NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_decode(session, 49152, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    FAILS(rasp_step(session, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "token is null");
    FAILS(rasp_step(NULL, &token, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(rasp_step(session, &token, &error) == RASP_OK && token == 7042);
    CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK && count == 49152);
    CHECK(logits[7042] > 17.0F && logits[7042] < 18.0F);
    {
        float own = 1.0F;
        rasp_log_prob top[3];
        CHECK(rasp_log_probs(session, PROMPT[0], &own, top, 3, &error) == RASP_OK);
        CHECK(own < 0.0F && top[0].log_prob >= own && top[0].log_prob >= top[1].log_prob && top[0].log_prob < 0.0F);
        CHECK(rasp_log_probs(session, top[2].token, &own, NULL, 0, &error) == RASP_OK && own == top[2].log_prob);
        FAILS(rasp_log_probs(session, 49152, &own, top, 3, &error), RASP_ERROR_OUT_OF_RANGE, "49152");
        FAILS(rasp_log_probs(session, 1, &own, top, 49153, &error), RASP_ERROR_OUT_OF_RANGE, "49153 likeliest");
        FAILS(rasp_log_probs(session, 1, &own, NULL, 3, &error), RASP_ERROR_INVALID_ARGUMENT, "top is null");
        FAILS(rasp_log_probs(session, 1, NULL, top, 3, &error), RASP_ERROR_INVALID_ARGUMENT, "log_prob is null");
    }
    FAILS(rasp_logits(NULL, &logits, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(logits == NULL && count == 0);
    FAILS(rasp_logits(session, &logits, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "count is null");
    FAILS(rasp_logits(session, NULL, &count, &error), RASP_ERROR_INVALID_ARGUMENT, "logits is null");

    rasp_cancel(NULL);
    rasp_cancel(session);
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_CANCELLED, "cancelled");
    CHECK(rasp_step(session, &token, &error) == RASP_OK && token == 30);

    FAILS(rasp_session_set_sparsity(session, 0.9F, &error), RASP_ERROR_OUT_OF_RANGE, "0.7");
    FAILS(rasp_session_set_sparsity(session, NAN, &error), RASP_ERROR_OUT_OF_RANGE, "NaN");
    FAILS(rasp_session_set_sparsity(NULL, 0.5F, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(rasp_session_set_sparsity(session, 0.5F, &error) == RASP_OK);
    CHECK(rasp_session_clear_stats(session, &error) == RASP_OK);
    CHECK(rasp_decode(session, 30, &error) == RASP_OK);
    rasp_stats stats;
    rasp_stats_init(NULL);
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK);
    CHECK(stats.decoded_tokens == 1 && stats.kept > 0.2 && stats.kept < 0.7 && stats.context == 16);
    CHECK(stats.tokens == 7 && stats.sparsity == 0.5F && stats.memory > 100000);
    CHECK((double)stats.linear_bytes_read == stats.kept * 212336640.0);
    CHECK(stats.head_bytes_read == 56623104);
    FAILS(rasp_session_get_stats(session, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "is null");
    FAILS(rasp_session_get_stats(NULL, &stats, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_clear_stats(NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    stats.struct_size = 47;
    FAILS(rasp_session_get_stats(session, &stats, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");

    uint32_t many[17] = {0};
    FAILS(rasp_prefill(session, many, 17, &error), RASP_ERROR_CONTEXT_FULL, "17 tokens");
    while (rasp_step(session, &token, &error) >= 0) {
    }
    CHECK(error.code == RASP_ERROR_CONTEXT_FULL);
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    FAILS(rasp_session_reset(NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_INVALID_STATE, "prompt");

    rasp_sampling sampling;
    rasp_sampling_init(NULL);
    rasp_sampling_init(&sampling);
    CHECK(sampling.temperature == 0.0F && sampling.top_p == 1.0F);
    sampling.temperature = -1.0F;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "temperature");
    sampling.temperature = 1.0F;
    sampling.struct_size = 8;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "struct_size");
    sampling.struct_size = sizeof sampling;
    sampling.reserved = 1;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "reserved");
    sampling.reserved = 0;
    sampling.order[0] = RASP_STAGE_TOP_P, sampling.order[1] = RASP_STAGE_TOP_P;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "top_p comes twice");
    sampling.order[1] = RASP_STAGE_XTC + 1;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "has 8, which is no stage");
    sampling.order[1] = 0, sampling.order[2] = RASP_STAGE_TOP_K;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "behind a 0");
    sampling.order[2] = 0;
    sampling.typical_p = 0.0F;
    FAILS(rasp_session_set_sampling(session, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "typical_p");
    sampling.typical_p = 1.0F;
    /* An older program's: nothing is written behind it, and what it does not have is off. */
    {
        rasp_sampling older;
        memset(&older, 0x55, sizeof older);
#undef rasp_sampling_init
        rasp_sampling_init(NULL);
        rasp_sampling_init(&older);
#define rasp_sampling_init rasp_sampling_init_2
        CHECK(older.struct_size == offsetof(rasp_sampling, presence_penalty) && older.top_p == 1.0F);
        CHECK(older.dry_window == 0x55555555 && older.order[7] == 0x55);
        CHECK(rasp_session_set_sampling(session, &older, &error) == RASP_OK);
    }
    sampling.seed = 42;
    FAILS(rasp_session_set_sampling(NULL, &sampling, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    uint32_t drawn[2][6];
    for (int round = 0; round < 2; round++) {
        CHECK(rasp_session_reset(session, &error) == RASP_OK);
        CHECK(rasp_session_set_sampling(session, &sampling, &error) == RASP_OK);
        CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
        for (int i = 0; i < 6; i++) {
            CHECK(rasp_step(session, &drawn[round][i], &error) >= 0);
        }
    }
    CHECK(memcmp(drawn[0], drawn[1], sizeof drawn[0]) == 0);
    CHECK(rasp_session_set_sampling(session, NULL, &error) == RASP_OK);

    /* A session keeps its model alive. */
    rasp_free(model);
    CHECK(rasp_session_reset(session, NULL) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, NULL) == RASP_OK);
    rasp_session_close(session);
    rasp_session_close(NULL);
}

/* The next tokens of a session. */
static void say(rasp_session *session, uint32_t *said, size_t count) {
    for (size_t i = 0; i < count; i++) {
        CHECK(rasp_step(session, &said[i], &error) >= 0);
    }
}

/* As much memory of ours as a session with these options takes; to be freed after it. */
static void give_memory(const rasp_model *model, rasp_session_options *options) {
    rasp_memory_plan plan;
    rasp_memory_plan_init(&plan);
    CHECK(rasp_session_plan(model, options, &plan, &error) == RASP_OK);
    options->memory_size = (size_t)plan.size;
    options->memory = malloc(options->memory_size);
    CHECK(options->memory != NULL);
}

static void states(rasp_model *model) {
    rasp_session *session, *fork, *other;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    uint32_t first[12], again[12];
    say(session, first, 12);

    FAILS(rasp_session_rewind(NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_rewind(session, 18, &error), RASP_ERROR_OUT_OF_RANGE, "18 tokens of 17");
    CHECK(rasp_session_rewind(session, PROMPT_COUNT, &error) == RASP_OK);
    const float *logits;
    size_t count;
    CHECK(rasp_logits(session, &logits, &count, &error) == RASP_OK && logits[7042] > 17.0F && logits[7042] < 18.0F);
    say(session, again, 12);
    CHECK(memcmp(first, again, sizeof first) == 0);
    CHECK(rasp_session_rewind(session, PROMPT_COUNT + 4, &error) == RASP_OK);
    say(session, again, 8);
    CHECK(memcmp(first + 4, again, 8 * sizeof *first) == 0);
    CHECK(rasp_session_rewind(session, PROMPT_COUNT + 2, &error) == RASP_OK);

    fork = session;
    FAILS(rasp_session_fork(NULL, NULL, &fork, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(fork == NULL);
    FAILS(rasp_session_fork(session, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "fork is null");
    options.context = 6;
    FAILS(rasp_session_fork(session, &options, &fork, &error), RASP_ERROR_CONTEXT_FULL, "7 tokens");
    options.context = 100;
    options.kv_type = RASP_KV_I8;
    FAILS(rasp_session_fork(session, &options, &fork, &error), RASP_ERROR_INVALID_ARGUMENT, "one type");
    options.kv_type = RASP_KV_F16;
    give_memory(model, &options);
    CHECK(rasp_session_fork(session, &options, &fork, &error) == RASP_OK);
    CHECK(rasp_session_fork(session, NULL, &other, &error) == RASP_OK);
    CHECK(rasp_session_close(session) == RASP_OK);
    say(fork, again, 10);
    CHECK(memcmp(first + 2, again, 10 * sizeof *first) == 0);
    CHECK(rasp_session_close(fork) == RASP_OK);
    free(options.memory);

    size_t size = 7;
    FAILS(rasp_session_save(other, NULL, 0, &size, &error), RASP_ERROR_BUFFER_TOO_SMALL, "bytes");
    CHECK(size > 7 * 30 * 3 * 64 * 4 && size < 8 * 30 * 3 * 64 * 4);
    unsigned char *state = malloc(size);
    CHECK(state != NULL);
    FAILS(rasp_session_save(NULL, state, size, &size, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(size == 0);
    FAILS(rasp_session_save(other, state, size, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "size is null");
    FAILS(rasp_session_save(other, NULL, 1 << 30, &size, &error), RASP_ERROR_INVALID_ARGUMENT, "buffer is null");
    CHECK(rasp_session_save(other, state, size, &size, &error) == RASP_OK);
    say(other, again, 10);
    CHECK(memcmp(first + 2, again, 10 * sizeof *first) == 0);
    FAILS(rasp_session_restore(NULL, state, size, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_restore(other, NULL, size, &error), RASP_ERROR_INVALID_ARGUMENT, "data is null");
    FAILS(rasp_session_restore(other, state, 0, &error), RASP_ERROR_BAD_STATE, "no saved session");
    FAILS(rasp_session_restore(other, state, size - 1, &error), RASP_ERROR_BAD_STATE, "bytes");
    state[size / 2] ^= 4;
    FAILS(rasp_session_restore(other, state, size, &error), RASP_ERROR_BAD_STATE, "damaged");
    state[size / 2] ^= 4;
    state[8] += 2;
    FAILS(rasp_session_restore(other, state, size, &error), RASP_ERROR_UNSUPPORTED_VERSION, "version 4");
    state[8] -= 2;
    CHECK(rasp_session_rewind(other, 0, &error) == RASP_OK);
    CHECK(rasp_session_restore(other, state, size, &error) == RASP_OK);
    say(other, again, 10);
    CHECK(memcmp(first + 2, again, 10 * sizeof *first) == 0);
    free(state);

    FAILS(rasp_session_shift(NULL, 0, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    FAILS(rasp_session_shift(other, 1, 15, &error), RASP_ERROR_OUT_OF_RANGE, "one must be left");
    CHECK(rasp_session_shift(other, 1, 6, &error) == RASP_OK);
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(other, &stats, &error) == RASP_OK && stats.tokens == 11);
    say(other, again, 10);
    CHECK(rasp_session_close(other) == RASP_OK);
}

/* Forks read what they begin with in one place, and each goes on by itself. */
static void forks(rasp_model *model) {
    enum { BEGINNING = 70, FORKS = 3 };
    uint32_t beginning[BEGINNING], expected[8], said[8];
    for (uint32_t i = 0; i < BEGINNING; i++) {
        beginning[i] = PROMPT[i % PROMPT_COUNT];
    }
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 100;
    rasp_session *session, *fork[FORKS], *lodger;
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, beginning, BEGINNING, &error) == RASP_OK);
    rasp_stats stats;
    rasp_stats_init(&stats);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.shared_bytes == 0);
    for (int i = 0; i < FORKS; i++) {
        CHECK(rasp_session_fork(session, NULL, &fork[i], &error) == RASP_OK);
    }
    /* 64 tokens of 30 layers, 3 heads of 64 keys and as many values, of 2 bytes. */
    const uint64_t shared = 64 * 30 * 3 * 2 * 64 * 2;
    for (int i = 0; i < FORKS; i++) {
        CHECK(rasp_session_get_stats(fork[i], &stats, &error) == RASP_OK);
        CHECK(stats.shared_bytes >= shared && stats.shared_bytes < shared + 4096);
    }
    /* What a host gives memory for is there. */
    give_memory(model, &options);
    CHECK(rasp_session_fork(session, &options, &lodger, &error) == RASP_OK);
    CHECK(rasp_session_get_stats(lodger, &stats, &error) == RASP_OK && stats.shared_bytes == 0);

    say(session, expected, 8);
    CHECK(rasp_session_rewind(session, 3, &error) == RASP_OK);
    CHECK(rasp_prefill(session, PROMPT, PROMPT_COUNT, &error) == RASP_OK);
    CHECK(rasp_session_get_stats(session, &stats, &error) == RASP_OK && stats.shared_bytes == 0);
    say(session, said, 8);
    CHECK(rasp_session_close(session) == RASP_OK);
    for (int i = 0; i < FORKS; i++) {
        say(fork[i], said, 8);
        CHECK(memcmp(expected, said, sizeof said) == 0);
        CHECK(rasp_session_close(fork[i]) == RASP_OK);
    }
    say(lodger, said, 8);
    CHECK(memcmp(expected, said, sizeof said) == 0);
    CHECK(rasp_session_close(lodger) == RASP_OK);
    free(options.memory);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    names_and_versions();
    loading(argv[1], argv[2]);
    logs(argv[1]);
    parts(argv[1], argv[2]);
    rasp_model *model;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    information(model);
    text(model);
    memory(model);
    states(model);
    forks(model);
    sessions(model);
    puts("ok");
    return EXIT_SUCCESS;
}

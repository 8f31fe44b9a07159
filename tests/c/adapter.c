/* LoRA adapters from C.   adapter MODEL.rasp ADAPTER OTHER-MODEL.rasp */
#include "check.h"

#include <fcntl.h>

static rasp_error error;

/* Tokens of an answer, from the beginning of a text. */
static void answer(rasp_session *session, uint32_t tokens[16]) {
    static const uint32_t prompt[] = {5, 40, 77, 120};
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, prompt, 4, &error) == RASP_OK);
    for (int n = 0; n < 16; n++) {
        CHECK(rasp_step(session, &tokens[n], &error) >= 0);
    }
}

static int same(rasp_session *session, const uint32_t *expected) {
    uint32_t found[16];
    answer(session, found);
    return memcmp(found, expected, sizeof found) == 0;
}

static void *read_file(const char *path, size_t *size) {
    FILE *file = fopen(path, "rb");
    CHECK(file != NULL && fseek(file, 0, SEEK_END) == 0);
    *size = (size_t)ftell(file);
    void *data = malloc(*size);
    rewind(file);
    CHECK(data != NULL && fread(data, 1, *size, file) == *size && fclose(file) == 0);
    return data;
}

int main(int count, char **arguments) {
    CHECK(count == 4);
    rasp_model *model, *other;
    CHECK(rasp_load(arguments[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_load(arguments[3], NULL, &other, &error) == RASP_OK);

    rasp_adapter *adapter, *twin;
    CHECK(rasp_adapter_load(model, arguments[2], &adapter, &error) == RASP_OK);
    rasp_adapter_info info;
    rasp_adapter_info_init(&info);
    CHECK(rasp_adapter_get_info(adapter, &info, &error) == RASP_OK);
    CHECK(info.rank == 4 && info.linears > 0 && info.bytes > 0 && strcmp(info.name, "test") == 0);

    /* From memory and from an open file it is the same. */
    size_t size;
    void *data = read_file(arguments[2], &size);
    CHECK(rasp_adapter_load_bytes(model, data, size, &twin, &error) == RASP_OK);
    rasp_adapter *third;
    int file = open(arguments[2], O_RDONLY);
    CHECK(file >= 0 && rasp_adapter_load_fd(model, file, 0, 0, &third, &error) == RASP_OK);

    rasp_session_options options;
    rasp_session_options_init(&options);
    CHECK(options.adapter_rank == 0);
    options.context = 64;
    rasp_memory_plan without, with;
    rasp_memory_plan_init(&without);
    rasp_memory_plan_init(&with);
    CHECK(rasp_session_plan(model, &options, &without, &error) == RASP_OK);
    rasp_session *bare, *session;
    CHECK(rasp_session_open(model, &options, &bare, &error) == RASP_OK);
    options.adapter_rank = 2 * info.rank;
    CHECK(rasp_session_plan(model, &options, &with, &error) == RASP_OK && with.size > without.size);
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);

    uint32_t alone[16], adapted[16];
    answer(bare, alone);
    CHECK(same(session, alone));
    const rasp_adapter *both[] = {adapter, twin};
    float scales[] = {0.5f, 0.5f};
    CHECK(rasp_session_set_adapters(session, both, NULL, 1, &error) == RASP_OK);
    answer(session, adapted);
    CHECK(memcmp(alone, adapted, sizeof alone) != 0);
    both[0] = twin;
    CHECK(rasp_session_set_adapters(session, both, NULL, 1, &error) == RASP_OK && same(session, adapted));
    both[0] = third;
    CHECK(rasp_session_set_adapters(session, both, NULL, 1, &error) == RASP_OK && same(session, adapted));
    CHECK(rasp_session_set_adapters(session, NULL, NULL, 0, &error) == RASP_OK && same(session, alone));
    scales[0] = 0;
    scales[1] = 0;
    CHECK(rasp_session_set_adapters(session, both, scales, 2, &error) == RASP_OK && same(session, alone));

    /* What is refused leaves what was set before. */
    scales[0] = 1;
    CHECK(rasp_session_set_adapters(session, both, scales, 1, &error) == RASP_OK);
    FAILS(rasp_session_set_adapters(bare, both, NULL, 1, &error), RASP_ERROR_OUT_OF_RANGE, "adapter_rank 4");
    const rasp_adapter *three[] = {adapter, adapter, adapter};
    FAILS(rasp_session_set_adapters(session, three, NULL, 3, &error), RASP_ERROR_OUT_OF_RANGE, "adapter_rank 12");
    FAILS(rasp_session_set_adapters(session, NULL, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "adapters is null");
    FAILS(rasp_session_set_adapters(session, both, NULL, RASP_ADAPTERS_MAX + 1, &error), RASP_ERROR_OUT_OF_RANGE,
          "at most 8");
    const rasp_adapter *none[] = {NULL};
    FAILS(rasp_session_set_adapters(session, none, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "adapter 0");
    scales[0] = 1.0f / 0.0f;
    FAILS(rasp_session_set_adapters(session, both, scales, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "finite");
    FAILS(rasp_session_set_adapters(NULL, both, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(same(session, adapted));
    rasp_adapter *bad = adapter;
    FAILS(rasp_adapter_load(model, arguments[1], &bad, &error), RASP_ERROR_BAD_FILE, "not an adapter");
    CHECK(bad == NULL);
    FAILS(rasp_adapter_load(model, "/nowhere", &bad, &error), RASP_ERROR_IO, "/nowhere");
    FAILS(rasp_adapter_load(NULL, arguments[2], &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    FAILS(rasp_adapter_load(model, NULL, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "path is null");
    FAILS(rasp_adapter_load(model, arguments[2], NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "adapter is null");
    FAILS(rasp_adapter_load(other, arguments[2], &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "is for a llama model");
    FAILS(rasp_adapter_load_bytes(model, NULL, 8, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "data is null");
    FAILS(rasp_adapter_load_bytes(model, data, size - 1, &bad, &error), RASP_ERROR_BAD_FILE, "truncated");
    FAILS(rasp_adapter_load_fd(model, -1, 0, 0, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "no open file");
    FAILS(rasp_adapter_load_fd(model, file, 0, size + 1, &bad, &error), RASP_ERROR_OUT_OF_RANGE, "");
    FAILS(rasp_adapter_get_info(NULL, &info, &error), RASP_ERROR_INVALID_ARGUMENT, "adapter is null");
    info.struct_size = 4;
    FAILS(rasp_adapter_get_info(adapter, &info, &error), RASP_ERROR_INVALID_ARGUMENT, "rasp_adapter_info");

    /* A session keeps what it needs, and so does its fork. */
    CHECK(rasp_adapter_free(adapter) == RASP_OK && rasp_adapter_free(twin) == RASP_OK);
    CHECK(rasp_adapter_free(third) == RASP_OK && rasp_adapter_free(NULL) == RASP_OK);
    CHECK(rasp_free(model) == RASP_OK && rasp_free(other) == RASP_OK);
    rasp_session *fork;
    CHECK(rasp_session_fork(session, NULL, &fork, &error) == RASP_OK);
    CHECK(same(session, adapted) && same(fork, adapted));
    CHECK(rasp_session_close(session) == RASP_OK && rasp_session_close(fork) == RASP_OK);
    CHECK(rasp_session_close(bare) == RASP_OK);
    free(data);
    puts("ok");
    return 0;
}

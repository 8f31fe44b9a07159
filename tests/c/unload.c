/* Loads the library, uses it and unloads it, many times. To be run under valgrind, which tells whether memory is lost.
 *   unload LIBRARY MODEL.rasp TIMES STEPS
 * The first STEPS times a session also computes tokens. This program is not linked with the library. */
#include "check.h"

#include <dlfcn.h>

/* A function of the library, of the type the header gives it. */
#define FUNCTION(library, name) \
    __typeof__(&name) name##_; \
    do { \
        void *address = dlsym(library, #name); \
        CHECK(address != NULL); \
        memcpy(&name##_, &address, sizeof address); \
    } while (0)

static void use(void *library, const char *path, int step) {
    FUNCTION(library, rasp_load);
    FUNCTION(library, rasp_free);
    FUNCTION(library, rasp_tokenize);
    FUNCTION(library, rasp_chat_format);
    FUNCTION(library, rasp_session_options_init);
    FUNCTION(library, rasp_session_open);
    FUNCTION(library, rasp_session_close);
    FUNCTION(library, rasp_prefill);
    FUNCTION(library, rasp_step);

    rasp_error error;
    rasp_model *model;
    CHECK(rasp_load_("/no/such/file", NULL, &model, &error) == RASP_ERROR_IO);
    CHECK(rasp_load_(path, NULL, &model, &error) == RASP_OK);
    uint32_t tokens[64];
    size_t count;
    CHECK(rasp_tokenize_(model, "Hello there", 11, 0, tokens, 64, &count, &error) == RASP_OK && count > 0);
    const rasp_message message = {"user", "Hi"};
    char text[1024];
    size_t length;
    CHECK(rasp_chat_format_(model, &message, 1, 1, text, sizeof text, &length, &error) == RASP_OK);

    /* Two threads, so that one of the library's own starts and ends. */
    rasp_session_options options;
    rasp_session_options_init_(&options);
    options.threads = 2;
    options.context = 64;
    rasp_session *session;
    CHECK(rasp_session_open_(model, &options, &session, &error) == RASP_OK);
    uint32_t token;
    CHECK(rasp_step_(session, &token, &error) == RASP_ERROR_INVALID_STATE);
    if (step) {
        CHECK(rasp_prefill_(session, tokens, 1, &error) == RASP_OK);
        CHECK(rasp_step_(session, &token, &error) >= RASP_OK);
        CHECK(rasp_step_(session, &token, &error) >= RASP_OK);
    }
    CHECK(rasp_session_close_(session) == RASP_OK);
    CHECK(rasp_free_(model) == RASP_OK);
}

int main(int argc, char **argv) {
    CHECK(argc == 5);
    for (int i = 0; i < atoi(argv[3]); i++) {
        void *library = dlopen(argv[1], RTLD_NOW | RTLD_LOCAL);
        if (library == NULL) {
            fprintf(stderr, "%s\n", dlerror());
            return EXIT_FAILURE;
        }
        use(library, argv[2], i < atoi(argv[4]));
        CHECK(dlclose(library) == 0);
    }
    puts("ok");
    return EXIT_SUCCESS;
}

/* Constrained output from C; in a library without it, that it says so.   constraint MODEL.rasp with|without */
#include "check.h"

#if defined(__GLIBC__)
/* Thread-locals with a destructor are announced to glibc by this function, which Rust's standard library finds here. A
   constraint makes none, in a thread that lives on or one that ends. */
static int announced;
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library);
int __cxa_thread_atexit_impl(void (*destructor)(void *), void *object, void *library) {
    (void)destructor, (void)object, (void)library;
    return announced++, 0;
}
#define ANNOUNCED announced
#else
#define ANNOUNCED 0
#endif

static rasp_error error;

static const char SCHEMA[] =
    "{\"type\":\"object\",\"properties\":{\"colour\":{\"enum\":[\"red\",\"green\"]},\"count\":{\"type\":\"integer\","
    "\"minimum\":1,\"maximum\":9}},\"required\":[\"colour\",\"count\"],\"additionalProperties\":false}";

static rasp_constraint *compile(rasp_model *model, uint32_t kind, const char *source) {
    rasp_constraint *constraint;
    CHECK(rasp_constraint_new(model, kind, source, strlen(source), &constraint, &error) == RASP_OK);
    return constraint;
}

/* What the model says after the prompt, to its end. */
static const char *answer(rasp_model *model, rasp_session *session, const char *prompt) {
    static char all[4096];
    uint32_t tokens[64], ended = RASP_ENDED_NOT;
    size_t count, total = 0;
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_tokenize(model, prompt, strlen(prompt), 0, tokens, 64, &count, &error) == RASP_OK);
    CHECK(rasp_prefill(session, tokens, count, &error) == RASP_OK);
    char text[RASP_STEP_TEXT_SIZE];
    rasp_status status;
    do {
        size_t length;
        status = rasp_step_text(session, 0, text, sizeof text, &length, &ended, &error);
        CHECK(status >= 0 && total + length < sizeof all);
        memcpy(all + total, text, length);
        total += length;
    } while (status == RASP_OK);
    CHECK(ended == RASP_ENDED_TOKEN);
    all[total] = 0;
    return all;
}

static int32_t choose(void *context, float *logits, size_t vocab_size, const uint32_t *tokens, size_t token_count) {
    (void)logits, (void)vocab_size, (void)tokens, (void)token_count;
    return *(int32_t *)context;
}

static void with(rasp_model *model, rasp_session *session) {
    rasp_constraint *json = compile(model, RASP_CONSTRAINT_JSON_SCHEMA, SCHEMA);
    rasp_constraint *digits = compile(model, RASP_CONSTRAINT_REGEX, "[0-9]{3}-[a-z]{2}");
    rasp_constraint *verse = compile(model, RASP_CONSTRAINT_GRAMMAR, "start: \"go \" (\"left\" | \"right\") \".\"");
    CHECK(rasp_session_set_constraint(session, json, &error) == RASP_OK);
    rasp_constraint_free(json); /* the session keeps what it needs */
    const char *text = answer(model, session, "As JSON, five green apples:");
    CHECK(strncmp(text, "{\"colour\": \"", 12) == 0 && text[strlen(text) - 1] == '}');
    CHECK(strstr(text, "\"red\"") != NULL || strstr(text, "\"green\"") != NULL);
    CHECK(rasp_session_set_constraint(session, digits, &error) == RASP_OK);
    text = answer(model, session, "The code is ");
    CHECK(strlen(text) == 6 && text[3] == '-' && strspn(text, "0123456789") == 3);
    CHECK(rasp_session_set_constraint(session, verse, &error) == RASP_OK);
    text = answer(model, session, "Directions:");
    CHECK(strcmp(text, "go left.") == 0 || strcmp(text, "go right.") == 0);

    /* The host's choice is held to it too. */
    uint32_t token, digit;
    size_t count;
    CHECK(rasp_tokenize(model, "7", 1, 0, &digit, 1, &count, &error) == RASP_OK && count == 1);
    CHECK(rasp_session_set_constraint(session, digits, &error) == RASP_OK);
    CHECK(rasp_session_reset(session, &error) == RASP_OK);
    CHECK(rasp_prefill(session, &digit, 1, &error) == RASP_OK);
    int32_t choice = (int32_t)digit;
    CHECK(rasp_session_set_logits_callback(session, choose, &choice, &error) == RASP_OK);
    CHECK(rasp_step(session, &token, &error) == RASP_OK && token == digit);
    choice = 314;
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_INVALID_ARGUMENT, "forbids");
    CHECK(rasp_session_set_logits_callback(session, NULL, NULL, &error) == RASP_OK);
    CHECK(rasp_decode(session, 314, &error) == RASP_OK);
    FAILS(rasp_step(session, &token, &error), RASP_ERROR_INVALID_STATE, "does not fit");

    rasp_constraint *bad = (rasp_constraint *)&error;
    FAILS(rasp_constraint_new(model, 0, "{", 1, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "constraint");
    CHECK(bad == NULL);
    FAILS(rasp_constraint_new(model, 1, "(", 1, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "constraint");
    FAILS(rasp_constraint_new(model, 2, "start: missing", 14, &bad, &error), RASP_ERROR_INVALID_ARGUMENT, "missing");
    FAILS(rasp_constraint_new(model, 0, "{\"type\":\"colour\"}", 17, &bad, &error), RASP_ERROR_INVALID_ARGUMENT,
        "colour");
    rasp_constraint_free(digits);
    rasp_constraint_free(verse);
}

int main(int argc, char **argv) {
    CHECK(argc == 3);
    rasp_model *model;
    rasp_session *session;
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 128;
    CHECK(rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    CHECK(rasp_session_open(model, &options, &session, &error) == RASP_OK);

    rasp_constraint *constraint = (rasp_constraint *)&error;
    FAILS(rasp_constraint_new(NULL, 0, "{}", 2, &constraint, &error), RASP_ERROR_INVALID_ARGUMENT, "model is null");
    CHECK(constraint == NULL);
    FAILS(rasp_constraint_new(model, 9, "{}", 2, &constraint, &error), RASP_ERROR_INVALID_ARGUMENT, "kind is 9");
    FAILS(rasp_constraint_new(model, 0, NULL, 2, &constraint, &error), RASP_ERROR_INVALID_ARGUMENT, "source is null");
    FAILS(rasp_constraint_new(model, 0, "\xff", 1, &constraint, &error), RASP_ERROR_INVALID_UTF8, "source");
    FAILS(rasp_constraint_new(model, 0, "{}", 2, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "constraint is null");
    FAILS(rasp_session_set_constraint(NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "session is null");
    CHECK(rasp_session_set_constraint(session, NULL, &error) == RASP_OK);
    CHECK(rasp_constraint_free(NULL) == RASP_OK);
    if (strcmp(argv[2], "with") == 0) {
        int before = ANNOUNCED;
        with(model, session);
        CHECK(ANNOUNCED == before);
    } else {
        FAILS(rasp_constraint_new(model, 0, SCHEMA, sizeof SCHEMA - 1, &constraint, &error), RASP_ERROR_UNSUPPORTED,
            "`constrained`");
    }
    CHECK(rasp_session_close(session) == RASP_OK);
    rasp_free(model);
    puts("ok");
    return EXIT_SUCCESS;
}

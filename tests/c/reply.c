/* Answers told apart, from C, with good and with bad input.   reply MODEL.rasp with|without
 * The model's template teaches <tool_call> and thoughts; without: the library has no constraints. */
#include "check.h"

#define TEXT(words) (words), sizeof(words) - 1

static rasp_error error;
static rasp_model *model;
static const rasp_chat_message messages[] = {{TEXT("user"), TEXT("How warm?"), NULL, 0}};
static const char tools[] = "{\"tools\": [{\"type\": \"function\", \"function\": {\"name\": \"weather\", "
                            "\"parameters\": {\"type\": \"object\", \"properties\": {\"place\": {\"type\": \"string\"}}}}}]}";
static char seen[4096];

/* Appends what is known as "kind:name:text|". What the last call returned. */
static int take(rasp_reply *reply) {
    rasp_reply_part part;
    int status;
    while ((status = rasp_reply_next(reply, &part, &error)) == RASP_OK) {
        CHECK(part.kind && part.text && part.reserved == 0 && (part.kind == RASP_PART_CALL) == (part.name != NULL));
        CHECK(part.kind != RASP_PART_CALL || part.id_length == 9);
        size_t length = strlen(seen);
        snprintf(seen + length, sizeof seen - length, "%u:%.*s:%.*s|", (unsigned)part.kind, (int)part.name_length,
                 part.name ? part.name : "", (int)part.text_length, part.text);
    }
    CHECK(part.kind == 0 && part.text == NULL);
    return status;
}

static rasp_reply *begin(void) {
    rasp_chat_options options;
    rasp_chat_options_init(&options);
    options.variables = tools;
    options.variables_length = sizeof tools - 1;
    rasp_reply *reply;
    CHECK(rasp_reply_new(model, messages, 1, &options, &reply, &error) == RASP_OK);
    seen[0] = 0;
    return reply;
}

static void an_answer_in_pieces(void) {
    static const char answer[] = "<think>Hm.</think>Let me see.\n<tool_call>\n{\"name\": \"weather\", \"arguments\": "
                                 "{\"place\": \"Z\xc3\xbcrich\"}}\n</tool_call>";
    rasp_reply *reply = begin();
    CHECK(take(reply) == RASP_PENDING);
    CHECK(rasp_reply_push(reply, answer, sizeof answer - 1, &error) == RASP_OK && take(reply) == RASP_PENDING);
    CHECK(rasp_reply_finish(reply, &error) == RASP_OK && take(reply) == RASP_END);
    CHECK(rasp_reply_finish(reply, &error) == RASP_OK && take(reply) == RASP_END);
    static const char *expected = "2::Hm.|1::Let me see.|3:weather:{\"place\":\"Z\xc3\xbcrich\"}|";
    CHECK(strcmp(seen, expected) == 0);
    FAILS(rasp_reply_push(reply, TEXT("x"), &error), RASP_ERROR_INVALID_STATE, "finished");

    char json[1024];
    size_t length, again;
    FAILS(rasp_reply_message(reply, json, 3, &length, &error), RASP_ERROR_BUFFER_TOO_SMALL, "room");
    CHECK(rasp_reply_message(reply, json, sizeof json, &again, &error) == RASP_OK && again == length);
    static const char *message = "{\"content\":\"Let me see.\",\"reasoning_content\":\"Hm.\",\"tool_calls\":[{\"";
    CHECK(strncmp(json, message, strlen(message)) == 0 && json[length - 1] == '}');
    /* It goes back into the chat. */
    rasp_chat_message more[] = {messages[0], {TEXT("assistant"), NULL, 0, json, length}};
    char text[1024];
    CHECK(rasp_chat_text(model, more, 2, NULL, text, sizeof text, &length, &error) == RASP_OK);
    CHECK(length > 0);
    CHECK(rasp_reply_free(reply) == RASP_OK);

    /* By tokens, a character of which comes in two. */
    reply = begin();
    for (const char *at = answer; *at; at++)
        CHECK(rasp_reply_push_token(reply, (unsigned char)*at, &error) == RASP_OK && take(reply) == RASP_PENDING);
    CHECK(rasp_reply_push_token(reply, 256, &error) == RASP_OK);
    FAILS(rasp_reply_push_token(reply, 257, &error), RASP_ERROR_OUT_OF_RANGE, "257");
    CHECK(rasp_reply_finish(reply, &error) == RASP_OK && take(reply) == RASP_END);
    CHECK(strstr(seen, "3:weather:{\"place\":\"Z\xc3\xbcrich\"}|") != NULL && strstr(seen, "<") == NULL);
    CHECK(rasp_reply_free(reply) == RASP_OK && rasp_reply_free(NULL) == RASP_OK);
}

static void an_answer_of_a_session(const char *built) {
    rasp_constraint *constraint;
    rasp_session *session;
    static const char required[] = "{\"tool_choice\": \"required\", \"tools\": [{\"name\": \"now\", \"parameters\": "
                                   "{\"type\": \"object\", \"properties\": {}, \"additionalProperties\": false}}]}";
    int status = rasp_constraint_new(model, RASP_CONSTRAINT_TOOLS, TEXT(required), &constraint, &error);
    CHECK(status == (strcmp(built, "with") == 0 ? RASP_OK : RASP_ERROR_UNSUPPORTED));
    if (status != RASP_OK)
        return;
    rasp_constraint *none;
    FAILS(rasp_constraint_new(model, RASP_CONSTRAINT_TOOLS, TEXT("[]"), &none, &error), RASP_ERROR_INVALID_ARGUMENT,
          "none");
    CHECK(rasp_session_open(model, NULL, &session, &error) == RASP_OK);
    CHECK(rasp_session_set_constraint(session, constraint, &error) == RASP_OK);
    uint32_t prompt = 'x';
    CHECK(rasp_prefill(session, &prompt, 1, &error) == RASP_OK);
    rasp_reply *reply = begin();
    static char text[RASP_STEP_TEXT_SIZE];
    size_t length;
    do {
        status = rasp_step_text(session, RASP_TEXT_SHOW_MARKS, text, sizeof text, &length, NULL, &error);
        CHECK(status >= 0 && rasp_reply_push(reply, text, length, &error) == RASP_OK);
        if (status == RASP_END)
            CHECK(rasp_reply_finish(reply, &error) == RASP_OK);
        take(reply);
    } while (status == RASP_OK);
    CHECK(strcmp(seen, "3:now:{}|") == 0);
    CHECK(rasp_reply_free(reply) == RASP_OK);
    FAILS(rasp_step_text(session, 4, text, sizeof text, &length, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "flags");
    rasp_session_close(session);
    rasp_constraint_free(constraint);
}

static void bad_input(void) {
    rasp_reply *reply = begin(), *none;
    rasp_reply_part part;
    size_t length;
    FAILS(rasp_reply_new(NULL, messages, 1, NULL, &none, &error), RASP_ERROR_INVALID_ARGUMENT, "model");
    CHECK(none == NULL);
    FAILS(rasp_reply_new(model, messages, 1, NULL, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    FAILS(rasp_reply_new(model, NULL, 1, NULL, &none, &error), RASP_ERROR_INVALID_ARGUMENT, "messages");
    rasp_chat_options options;
    rasp_chat_options_init(&options);
    options.variables = "[]";
    options.variables_length = 2;
    FAILS(rasp_reply_new(model, messages, 1, &options, &none, &error), RASP_ERROR_INVALID_ARGUMENT, "variables");
    FAILS(rasp_reply_push(NULL, TEXT("x"), &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    FAILS(rasp_reply_push(reply, NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "text");
    FAILS(rasp_reply_push(reply, TEXT("\xff"), &error), RASP_ERROR_INVALID_UTF8, "UTF-8");
    CHECK(rasp_reply_push(reply, NULL, 0, &error) == RASP_OK);
    FAILS(rasp_reply_push_token(NULL, 1, &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    FAILS(rasp_reply_next(NULL, &part, &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    CHECK(part.kind == 0);
    FAILS(rasp_reply_next(reply, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "part");
    FAILS(rasp_reply_finish(NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    FAILS(rasp_reply_message(NULL, NULL, 0, &length, &error), RASP_ERROR_INVALID_ARGUMENT, "reply");
    FAILS(rasp_reply_message(reply, NULL, 0, NULL, &error), RASP_ERROR_INVALID_ARGUMENT, "length");
    CHECK(rasp_reply_free(reply) == RASP_OK);
}

int main(int argc, char **argv) {
    CHECK(argc == 3 && rasp_load(argv[1], NULL, &model, &error) == RASP_OK);
    an_answer_in_pieces();
    an_answer_of_a_session(argv[2]);
    bad_input();
    rasp_free(model);
    puts("ok");
    return 0;
}

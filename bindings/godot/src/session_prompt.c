/* The prompts of a RaspSession. prefill_chat and prefill only begin them; step_text_within computes. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

typedef struct message {
    char *role, *content, *fields;
} message;

typedef struct conversation {
    message *messages;
    size_t count, capacity;
    rasp_error *error;
} conversation;

static bool message_read(void *context, const variant *element) {
    static const field FIELDS[] = {
        {"role", FIELD_TEXT, offsetof(message, role)},
        {"content", FIELD_TEXT, offsetof(message, content)},
        {"fields", FIELD_TEXT, offsetof(message, fields)},
    };
    conversation *self = context;
    if (variant_type(element) != DICTIONARY) {
        error_set(self->error, RASP_ERROR_INVALID_ARGUMENT, "message %zu is no Dictionary", self->count);
        return false;
    }
    if (self->count == self->capacity) {
        const size_t capacity = 2 * self->capacity + 8;
        message *grown = realloc(self->messages, capacity * sizeof *grown);
        if (grown == NULL) {
            error_set(self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the messages");
            return false;
        }
        self->messages = grown;
        self->capacity = capacity;
    }
    message *next = &self->messages[self->count++];
    memset(next, 0, sizeof *next);
    if (!fields_read(element, FIELDS, COUNT(FIELDS), next, self->error)) {
        return false;
    }
    if (next->role == NULL) {
        error_set(self->error, RASP_ERROR_INVALID_ARGUMENT, "message %zu has no role", self->count - 1);
        return false;
    }
    return true;
}

static size_t length_of(const char *text) { return text == NULL ? 0 : strlen(text); }

/* Begins the prompt of a conversation that has been read. */
static rasp_status conversation_begin(session *self, const conversation *chat, const rasp_chat_options *options) {
    rasp_chat_message *messages = calloc(chat->count + 1, sizeof *messages);
    if (messages == NULL) {
        return error_set(&self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the messages");
    }
    for (size_t i = 0; i < chat->count; i++) {
        const message *from = &chat->messages[i];
        messages[i] = (rasp_chat_message){
            .role = from->role,
            .role_length = length_of(from->role),
            .content = from->content,
            .content_length = length_of(from->content),
            .fields = from->fields,
            .fields_length = length_of(from->fields),
        };
    }
    const rasp_status status =
        rasp_chat_prefill_begin(self->handle, messages, chat->count, options, NULL, &self->error);
    free(messages);
    return status;
}

typedef struct chat_settings {
    uint32_t add_generation_prompt;
    int64_t time;
    char *variables;
} chat_settings;

value session_prefill_chat(void *object, const GDExtensionConstTypePtr *arguments) {
    static const field FIELDS[] = {
        {"add_generation_prompt", FIELD_FLAG, offsetof(chat_settings, add_generation_prompt)},
        {"time", FIELD_64, offsetof(chat_settings, time)},
        {"variables", FIELD_TEXT, offsetof(chat_settings, variables)},
    };
    session *self = object;
    ENTER("RaspSession.prefill_chat")
    answer_over(self, RASP_ENDED_NOT);
    answer_settle(self);
    rasp_status status = sparsity_apply(self);
    conversation chat = {.error = &self->error};
    chat_settings settings = {.add_generation_prompt = 1};
    variant messages, dictionary;
    variant_of(&messages, ARRAY, arguments[0]);
    variant_of(&dictionary, DICTIONARY, arguments[1]);
    if (status >= 0 && !(variant_each(&messages, message_read, &chat) &&
                         fields_read(&dictionary, FIELDS, COUNT(FIELDS), &settings, &self->error))) {
        status = self->error.code;
    }
    variant_end(&dictionary);
    variant_end(&messages);
    if (status >= 0) {
        rasp_chat_options options;
        rasp_chat_options_init(&options);
        options.add_generation_prompt = settings.add_generation_prompt;
        options.time = settings.time;
        options.variables = settings.variables;
        options.variables_length = length_of(settings.variables);
        status = conversation_begin(self, &chat, &options);
    }
    for (size_t i = 0; i < chat.count; i++) {
        free(chat.messages[i].role);
        free(chat.messages[i].content);
        free(chat.messages[i].fields);
    }
    free(chat.messages);
    free(settings.variables);
    if (status >= 0) {
        answer_begin(self);
    }
    return LEFT(status, "RaspSession.prefill_chat");
}

value session_prefill(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    ENTER("RaspSession.prefill")
    answer_over(self, RASP_ENDED_NOT);
    answer_settle(self);
    rasp_stats stats;
    rasp_status status = sparsity_apply(self);
    if (status >= 0) {
        status = stats_read(self, &stats);
    }
    if (status >= 0) {
        char *text = string_text(arguments[0]);
        const size_t length = length_of(text);
        /* No text has more tokens than bytes, but for those that begin and end it. */
        const size_t capacity = length + 8;
        uint32_t *tokens = malloc(capacity * sizeof *tokens);
        size_t count = 0;
        if (text == NULL || tokens == NULL) {
            status = error_set(&self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the text");
        } else {
            const uint32_t flags = stats.tokens == 0 ? RASP_TOKENIZE_ADD_SPECIAL : 0;
            status = rasp_tokenize(self->model, text, length, flags, tokens, capacity, &count, &self->error);
        }
        if (status >= 0) {
            status = rasp_prefill_begin(self->handle, tokens, count, &self->error);
        }
        free(tokens);
        free(text);
    }
    if (status >= 0) {
        answer_begin(self);
    }
    return LEFT(status, "RaspSession.prefill");
}

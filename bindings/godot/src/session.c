/*
 * RaspSession: one text in the making, for a game that gives it some time every frame.
 *
 * A prompt is only begun by prefill_chat and prefill; step_text_within computes, as much as fits its budget. A session
 * belongs to one thread at a time: a call that meets another one returns ERR_BUSY. cancel and is_answering alone may
 * come from any thread.
 */
#define _POSIX_C_SOURCE 200809L

#include "classes.h"

#include <stdlib.h>
#include <string.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif

/* Why an answer ended, besides RASP_ENDED_: the session's own reasons are below zero. */
enum { ENDED_LIMIT = -1, ENDED_CANCELLED = -2, ENDED_ERROR = -3 };

/* A longer budget is no budget: ten days, in microseconds. */
#define BUDGET_MAX INT64_C(864000000000)

typedef struct session {
    instance base;
    atomic_flag busy; /* a call is under way */
    moment exchange;  /* of handle, for cancel */
    rasp_session *handle;
    rasp_model *model; /* a reference of its own, for its tokenizer */
    float max_sparsity;
    atomic_bool answering;
    atomic_bool cancelling; /* a cancel that no call has answered yet */
    bool pending;           /* a prompt or a token is unfinished */
    bool sparsity_waits;    /* for the token to be finished */
    float sparsity;         /* what waits */
    int64_t limit;          /* tokens of an answer; 0: none */
    int64_t made;           /* tokens of this answer */
    int64_t ended;
    char *text; /* of the call that is under way */
    size_t length, capacity;
    rasp_error error; /* the last; RASP_OK: none yet */
} session;

static int64_t failed(session *self, const char *function, int line) {
    error_print(function, &self->error, __FILE__, line);
    return error_code(self->error.code);
}

#define FAILED(function) value_error(failed(self, function, __LINE__))

/* Begins a call on the session. False: another thread is inside one. */
static bool enter(session *self, const char *function, int line) {
    if (!atomic_flag_test_and_set_explicit(&self->busy, memory_order_acquire)) {
        return true;
    }
    rasp_error error;
    error_set(&error, RASP_ERROR_INVALID_STATE, "another thread is using the session");
    error_print(function, &error, __FILE__, line);
    return false;
}

/* The same, of a call that wants an open session. */
static int64_t enter_open(session *self, const char *function, int line) {
    if (!enter(self, function, line)) {
        return GODOT_ERR_BUSY;
    }
    if (self->handle != NULL) {
        return GODOT_OK;
    }
    error_set(&self->error, RASP_ERROR_INVALID_STATE, "the session is not open");
    failed(self, function, line);
    atomic_flag_clear_explicit(&self->busy, memory_order_release);
    return GODOT_ERR_UNCONFIGURED;
}

static void leave(session *self) { atomic_flag_clear_explicit(&self->busy, memory_order_release); }

/* Ends a call: OK, or what went wrong. */
static value left(session *self, rasp_status status, const char *function, int line) {
    const int64_t error = status < 0 ? failed(self, function, line) : GODOT_OK;
    leave(self);
    return value_error(error);
}

#define ENTER(function)                                              \
    const int64_t entered = enter_open(self, function, __LINE__);    \
    if (entered != GODOT_OK) {                                       \
        return value_error(entered);                                 \
    }

#define LEFT(status, function) left(self, status, function, __LINE__)

/* Nanoseconds of a clock that is never set. */
static uint64_t now(void) {
#ifdef _WIN32
    LARGE_INTEGER count, frequency;
    QueryPerformanceCounter(&count);
    QueryPerformanceFrequency(&frequency);
    const uint64_t seconds = (uint64_t)(count.QuadPart / frequency.QuadPart);
    return seconds * 1000000000 + (uint64_t)(count.QuadPart % frequency.QuadPart * 1000000000 / frequency.QuadPart);
#else
    struct timespec time;
    clock_gettime(CLOCK_MONOTONIC, &time);
    return (uint64_t)time.tv_sec * 1000000000 + (uint64_t)time.tv_nsec;
#endif
}

/* Takes back what is unfinished, and a cancel that came too late for its answer: the session takes any call again. */
static void settle(session *self) {
    uint32_t token = 0;
    if (self->pending) {
        rasp_cancel(self->handle);
        rasp_step_within(self->handle, 0, &token, NULL);
    } else if (atomic_load(&self->cancelling)) {
        /* A prompt that the cancel ends appends nothing. */
        rasp_prefill(self->handle, &token, 1, NULL);
    }
    self->pending = false;
    atomic_store(&self->cancelling, false);
}

/* Gives the session a new sparsity as soon as no token is unfinished. */
static rasp_status sparsity_apply(session *self) {
    if (!self->sparsity_waits || self->pending) {
        return RASP_OK;
    }
    self->sparsity_waits = false;
    return rasp_session_set_sparsity(self->handle, self->sparsity, &self->error);
}

/* An answer is no longer under way. */
static void answer_over(session *self, int64_t ended) {
    self->ended = ended;
    atomic_store(&self->answering, false);
}

static void answer_begin(session *self) {
    self->pending = true;
    self->made = 0;
    self->ended = RASP_ENDED_NOT;
    atomic_store(&self->answering, true);
}

static void handle_close(session *self) {
    answer_over(self, RASP_ENDED_NOT);
    moment_begin(&self->exchange);
    rasp_session *handle = self->handle;
    self->handle = NULL;
    moment_end(&self->exchange);
    rasp_session_close(handle);
    rasp_free(self->model);
    self->model = NULL;
    self->pending = self->sparsity_waits = false;
    atomic_store(&self->cancelling, false);
}

static void session_end(void *object) {
    session *self = object;
    handle_close(self);
    free(self->text);
}

static value session_open(void *object, const GDExtensionConstTypePtr *arguments) {
    static const field FIELDS[] = {
        {"context", FIELD_U32, offsetof(rasp_session_options, context)},
        {"threads", FIELD_U32, offsetof(rasp_session_options, threads)},
        {"batch", FIELD_U32, offsetof(rasp_session_options, batch)},
        {"kv_type", FIELD_U32, offsetof(rasp_session_options, kv_type)},
        {"windows_alone", FIELD_FLAG, offsetof(rasp_session_options, windows_alone)},
        {"cpus", FIELD_64, offsetof(rasp_session_options, cpus)},
        {"spin_ns", FIELD_64, offsetof(rasp_session_options, spin_ns)},
        {"drafts", FIELD_U32, offsetof(rasp_session_options, drafts)},
    };
    session *self = object;
    if (!enter(self, "RaspSession.open", __LINE__)) {
        return value_error(GODOT_ERR_BUSY);
    }
    rasp_model *model = model_reference(ARGUMENT(GDExtensionObjectPtr, 0));
    if (model == NULL) {
        error_set(&self->error, RASP_ERROR_INVALID_ARGUMENT, "the model is not loaded");
        failed(self, "RaspSession.open", __LINE__);
        leave(self);
        return value_error(GODOT_ERR_UNCONFIGURED);
    }
    rasp_session_options options;
    rasp_session_options_init(&options);
    variant dictionary;
    variant_of(&dictionary, DICTIONARY, arguments[1]);
    const bool read = fields_read(&dictionary, FIELDS, COUNT(FIELDS), &options, &self->error);
    variant_end(&dictionary);
    rasp_session *handle = NULL;
    rasp_model_info info;
    rasp_model_info_init(&info);
    rasp_status status = read ? rasp_model_get_info(model, &info, &self->error) : self->error.code;
    if (status >= 0) {
        status = rasp_session_open(model, &options, &handle, &self->error);
    }
    if (status < 0) {
        rasp_free(model);
        return LEFT(status, "RaspSession.open");
    }
    handle_close(self);
    moment_begin(&self->exchange);
    self->handle = handle;
    moment_end(&self->exchange);
    self->model = model;
    self->max_sparsity = info.max_sparsity;
    self->sparsity = info.default_sparsity;
    leave(self);
    return value_error(GODOT_OK);
}

static value session_close(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (enter(self, "RaspSession.close", __LINE__)) {
        handle_close(self);
        leave(self);
    }
    return (value){0};
}

static value session_is_open(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    moment_begin(&self->exchange);
    const bool open = self->handle != NULL;
    moment_end(&self->exchange);
    return (value){.truth = open};
}

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

static value session_prefill_chat(void *object, const GDExtensionConstTypePtr *arguments) {
    static const field FIELDS[] = {
        {"add_generation_prompt", FIELD_FLAG, offsetof(chat_settings, add_generation_prompt)},
        {"time", FIELD_64, offsetof(chat_settings, time)},
        {"variables", FIELD_TEXT, offsetof(chat_settings, variables)},
    };
    session *self = object;
    ENTER("RaspSession.prefill_chat")
    answer_over(self, RASP_ENDED_NOT);
    settle(self);
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

static rasp_status stats_read(session *self, rasp_stats *stats) {
    rasp_stats_init(stats);
    return rasp_session_get_stats(self->handle, stats, &self->error);
}

static value session_prefill(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    ENTER("RaspSession.prefill")
    answer_over(self, RASP_ENDED_NOT);
    settle(self);
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

/* Room for the text of one more step. */
static bool room_for_step(session *self) {
    if (self->capacity - self->length < RASP_STEP_TEXT_SIZE) {
        const size_t capacity = 2 * self->capacity + RASP_STEP_TEXT_SIZE;
        char *grown = realloc(self->text, capacity);
        if (grown == NULL) {
            error_set(&self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the text");
            return false;
        }
        self->text = grown;
        self->capacity = capacity;
    }
    return true;
}

/* What is held back becomes text. */
static void text_finish(session *self) {
    size_t length = 0;
    if (room_for_step(self) && rasp_finish_text(self->handle, self->text + self->length, RASP_STEP_TEXT_SIZE, &length,
                                                NULL) >= 0) {
        self->length += length;
    }
}

/* Steps until the time is over or the answer is. */
static void answer_go_on(session *self, uint64_t budget) {
    const uint64_t end = now() + budget;
    rasp_status status = RASP_OK;
    for (uint64_t left = budget; status == RASP_OK;) {
        size_t length = 0;
        uint32_t ended = RASP_ENDED_NOT;
        status = room_for_step(self)
                     ? rasp_step_text_within(self->handle, left, 0, self->text + self->length, RASP_STEP_TEXT_SIZE,
                                             &length, &ended, &self->error)
                     : self->error.code;
        self->length += length;
        self->pending = status == RASP_PENDING;
        if (status == RASP_END) {
            answer_over(self, ended);
        } else if (status == RASP_OK && ++self->made == self->limit) {
            text_finish(self);
            answer_over(self, ENDED_LIMIT);
            break;
        } else if (status == RASP_ERROR_CANCELLED) {
            atomic_store(&self->cancelling, false);
            text_finish(self);
            answer_over(self, ENDED_CANCELLED);
        } else if (status < 0) {
            answer_over(self, ENDED_ERROR);
        }
        if (status >= 0) {
            const rasp_status applied = sparsity_apply(self);
            status = applied < 0 ? applied : status;
        }
        const uint64_t time = now();
        if (time >= end) {
            break;
        }
        left = end - time;
    }
    if (status < 0 && status != RASP_ERROR_CANCELLED) {
        failed(self, "RaspSession.step_text_within", __LINE__);
    }
}

/* Ends a call that may have brought text or the end of the answer: tells the signals, and gives the text. Handlers may
   call the session, and may let go of it. */
static value left_with_news(session *self, bool was_answering) {
    value text = value_string(self->text, self->length);
    const bool over = was_answering && !atomic_load(&self->answering), some = self->length > 0;
    const int64_t ended = self->ended;
    self->length = 0;
    variant held;
    variant_of(&held, OBJECT, &self->base.object);
    leave(self);
    if (some) {
        instance_emit(&self->base, "text_added", STRING, &text);
    }
    if (over) {
        instance_emit(&self->base, "ended", WHOLE, &ended);
    }
    variant_end(&held);
    return text;
}

static value session_step_text_within(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    if (!atomic_load(&self->answering) || !enter(self, "RaspSession.step_text_within", __LINE__)) {
        return value_string("", 0);
    }
    const bool was_answering = atomic_load(&self->answering);
    if (was_answering) {
        const int64_t budget = ARGUMENT(int64_t, 0);
        answer_go_on(self, 1000 * (uint64_t)(budget < 0 ? 0 : budget > BUDGET_MAX ? BUDGET_MAX : budget));
    }
    return left_with_news(self, was_answering);
}

static value session_finish_text(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (!atomic_load(&self->answering) || !enter(self, "RaspSession.finish_text", __LINE__)) {
        return value_string("", 0);
    }
    const bool was_answering = atomic_load(&self->answering);
    if (was_answering) {
        settle(self);
        text_finish(self);
        answer_over(self, ENDED_CANCELLED);
    }
    return left_with_news(self, was_answering);
}

static value session_is_answering(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    return (value){.truth = atomic_load(&self->answering)};
}

static value session_get_ended(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value ended = {.whole = RASP_ENDED_NOT};
    if (enter(self, "RaspSession.get_ended", __LINE__)) {
        ended.whole = self->ended;
        leave(self);
    }
    return ended;
}

static value session_cancel(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    moment_begin(&self->exchange);
    if (self->handle != NULL && atomic_load(&self->answering)) {
        atomic_store(&self->cancelling, true);
        rasp_cancel(self->handle);
    }
    moment_end(&self->exchange);
    return (value){0};
}

static value session_reset(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    ENTER("RaspSession.reset")
    answer_over(self, RASP_ENDED_NOT);
    settle(self);
    return LEFT(rasp_session_reset(self->handle, &self->error), "RaspSession.reset");
}

static value session_rewind(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    const int64_t tokens = ARGUMENT(int64_t, 0);
    ENTER("RaspSession.rewind")
    answer_over(self, RASP_ENDED_NOT);
    settle(self);
    const rasp_status status = tokens < 0
                                   ? error_set(&self->error, RASP_ERROR_OUT_OF_RANGE, "fewer than no tokens")
                                   : rasp_session_rewind(self->handle, (size_t)tokens, &self->error);
    return LEFT(status, "RaspSession.rewind");
}

static value session_get_token_count(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (enter_open(self, "RaspSession.get_token_count", __LINE__) != GODOT_OK) {
        return (value){.whole = 0};
    }
    rasp_stats stats;
    const rasp_status status = stats_read(self, &stats);
    if (status < 0) {
        stats.tokens = 0;
        failed(self, "RaspSession.get_token_count", __LINE__);
    }
    leave(self);
    return (value){.whole = stats.tokens};
}

static value session_set_sparsity(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    const double sparsity = ARGUMENT(double, 0);
    ENTER("RaspSession.set_sparsity")
    rasp_status status = RASP_OK;
    if (!(sparsity >= 0 && (float)sparsity <= self->max_sparsity)) {
        status = error_set(&self->error, RASP_ERROR_OUT_OF_RANGE, "a sparsity of %g; this model takes 0 to %g",
                           sparsity, (double)self->max_sparsity);
    } else {
        self->sparsity = (float)sparsity;
        self->sparsity_waits = true;
        status = sparsity_apply(self);
    }
    return LEFT(status, "RaspSession.set_sparsity");
}

static value session_get_sparsity(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value sparsity = {.number = 0};
    if (enter(self, "RaspSession.get_sparsity", __LINE__)) {
        sparsity.number = (double)self->sparsity;
        leave(self);
    }
    return sparsity;
}

static value session_set_limit(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    if (enter(self, "RaspSession.set_limit", __LINE__)) {
        const int64_t limit = ARGUMENT(int64_t, 0);
        self->limit = limit < 0 ? 0 : limit;
        leave(self);
    }
    return (value){0};
}

static value session_get_limit(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value limit = {.whole = 0};
    if (enter(self, "RaspSession.get_limit", __LINE__)) {
        limit.whole = self->limit;
        leave(self);
    }
    return limit;
}

static value session_set_sampling(void *object, const GDExtensionConstTypePtr *arguments) {
#define SAMPLING(name, kind) {#name, kind, offsetof(rasp_sampling, name)}
    static const field FIELDS[] = {
        SAMPLING(temperature, FIELD_F32),
        SAMPLING(top_k, FIELD_U32),
        SAMPLING(top_p, FIELD_F32),
        SAMPLING(min_p, FIELD_F32),
        SAMPLING(repetition_penalty, FIELD_F32),
        SAMPLING(repetition_window, FIELD_U32),
        SAMPLING(seed, FIELD_64),
        SAMPLING(presence_penalty, FIELD_F32),
        SAMPLING(frequency_penalty, FIELD_F32),
        SAMPLING(top_n_sigma, FIELD_F32),
        SAMPLING(typical_p, FIELD_F32),
        SAMPLING(xtc_probability, FIELD_F32),
        SAMPLING(xtc_threshold, FIELD_F32),
        SAMPLING(dry_multiplier, FIELD_F32),
        SAMPLING(dry_base, FIELD_F32),
        SAMPLING(dry_allowed_length, FIELD_U32),
        SAMPLING(dry_window, FIELD_U32),
        SAMPLING(mirostat_tau, FIELD_F32),
        SAMPLING(mirostat_eta, FIELD_F32),
    };
#undef SAMPLING
    session *self = object;
    ENTER("RaspSession.set_sampling")
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    variant dictionary;
    variant_of(&dictionary, DICTIONARY, arguments[0]);
    const bool read = fields_read(&dictionary, FIELDS, COUNT(FIELDS), &sampling, &self->error);
    variant_end(&dictionary);
    const rasp_status status =
        read ? rasp_session_set_sampling(self->handle, &sampling, &self->error) : self->error.code;
    return LEFT(status, "RaspSession.set_sampling");
}

typedef struct texts {
    char *list[RASP_STOP_MAX + 1]; /* one too many is for the library to refuse */
    size_t count;
    bool whole;
} texts;

static bool text_read(void *context, const variant *element) {
    texts *self = context;
    value string = variant_value(element, STRING);
    char *text = string_text((GDExtensionConstTypePtr)&string);
    value_destroy(STRING, &string);
    self->whole = text != NULL;
    if (text != NULL) {
        self->list[self->count++] = text;
    }
    return text != NULL && self->count < COUNT(self->list);
}

static value session_set_stop(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    ENTER("RaspSession.set_stop")
    texts strings = {.whole = true};
    variant list;
    variant_of(&list, STRINGS, arguments[0]);
    variant_each(&list, text_read, &strings);
    variant_end(&list);
    const char *const *list_read = (const char *const *)strings.list;
    const rasp_status status = strings.whole
                                   ? rasp_session_set_stop(self->handle, list_read, strings.count, &self->error)
                                   : error_set(&self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the strings");
    for (size_t i = 0; i < strings.count; i++) {
        free(strings.list[i]);
    }
    return LEFT(status, "RaspSession.set_stop");
}

static value session_set_constraint(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    const int64_t kind = ARGUMENT(int64_t, 0);
    ENTER("RaspSession.set_constraint")
    char *source = string_text(arguments[1]);
    rasp_constraint *constraint = NULL;
    rasp_status status;
    if (source == NULL) {
        status = error_set(&self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the source");
    } else if (kind < 0 || kind > UINT32_MAX) {
        status = error_set(&self->error, RASP_ERROR_INVALID_ARGUMENT, "there is no such kind of constraint");
    } else {
        status = rasp_constraint_new(self->model, (uint32_t)kind, source, strlen(source), &constraint, &self->error);
    }
    if (status >= 0) {
        status = rasp_session_set_constraint(self->handle, constraint, &self->error);
    }
    rasp_constraint_free(constraint);
    free(source);
    return LEFT(status, "RaspSession.set_constraint");
}

static value session_clear_constraint(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    ENTER("RaspSession.clear_constraint")
    return LEFT(rasp_session_set_constraint(self->handle, NULL, &self->error), "RaspSession.clear_constraint");
}

static value session_get_stats(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value dictionary = value_new(DICTIONARY);
    if (enter_open(self, "RaspSession.get_stats", __LINE__) != GODOT_OK) {
        return dictionary;
    }
    rasp_stats stats;
    if (stats_read(self, &stats) < 0) {
        failed(self, "RaspSession.get_stats", __LINE__);
    } else {
        const struct {
            const char *key;
            int64_t number;
        } WHOLES[] = {
            {"tokens", stats.tokens},
            {"context", stats.context},
            {"memory", (int64_t)stats.memory},
            {"decoded_tokens", (int64_t)stats.decoded_tokens},
            {"linear_bytes_read", (int64_t)stats.linear_bytes_read},
            {"head_bytes_read", (int64_t)stats.head_bytes_read},
            {"units", (int64_t)stats.units},
            {"drafted_tokens", (int64_t)stats.drafted_tokens},
            {"accepted_tokens", (int64_t)stats.accepted_tokens},
            {"shared_bytes", (int64_t)stats.shared_bytes},
        };
        for (size_t i = 0; i < COUNT(WHOLES); i++) {
            dictionary_set(&dictionary, WHOLES[i].key, WHOLE, &WHOLES[i].number);
        }
        const double sparsity = (double)stats.sparsity;
        dictionary_set(&dictionary, "sparsity", NUMBER, &sparsity);
        dictionary_set(&dictionary, "kept", NUMBER, &stats.kept);
    }
    leave(self);
    return dictionary;
}

static value session_get_error_message(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (!enter(self, "RaspSession.get_error_message", __LINE__)) {
        return value_string("", 0);
    }
    value message = value_string(self->error.message, strlen(self->error.message));
    leave(self);
    return message;
}

static const method_table METHODS[] = {
    {"open", session_open, RESULT_ERROR,
     {{"model", OBJECT, "RaspModel"}, {"options", DICTIONARY, NULL}}, 2, 1, false},
    {"close", session_close, RESULT_NONE, {{0}}, 0, 0, false},
    {"is_open", session_is_open, RESULT(TRUTH), {{0}}, 0, 0, true},
    {"prefill_chat", session_prefill_chat, RESULT_ERROR,
     {{"messages", ARRAY, NULL}, {"options", DICTIONARY, NULL}}, 2, 1, false},
    {"prefill", session_prefill, RESULT_ERROR, {{"text", STRING, NULL}}, 1, 0, false},
    {"step_text_within", session_step_text_within, RESULT(STRING), {{"budget_usec", WHOLE, NULL}}, 1, 0, false},
    {"finish_text", session_finish_text, RESULT(STRING), {{0}}, 0, 0, false},
    {"is_answering", session_is_answering, RESULT(TRUTH), {{0}}, 0, 0, true},
    {"get_ended", session_get_ended, {NULL, WHOLE, "RaspSession.Ended"}, {{0}}, 0, 0, true},
    {"cancel", session_cancel, RESULT_NONE, {{0}}, 0, 0, false},
    {"reset", session_reset, RESULT_ERROR, {{0}}, 0, 0, false},
    {"rewind", session_rewind, RESULT_ERROR, {{"tokens", WHOLE, NULL}}, 1, 0, false},
    {"get_token_count", session_get_token_count, RESULT(WHOLE), {{0}}, 0, 0, true},
    {"set_sparsity", session_set_sparsity, RESULT_ERROR, {{"sparsity", NUMBER, NULL}}, 1, 0, false},
    {"get_sparsity", session_get_sparsity, RESULT(NUMBER), {{0}}, 0, 0, true},
    {"set_limit", session_set_limit, RESULT_NONE, {{"limit", WHOLE, NULL}}, 1, 0, false},
    {"get_limit", session_get_limit, RESULT(WHOLE), {{0}}, 0, 0, true},
    {"set_sampling", session_set_sampling, RESULT_ERROR, {{"sampling", DICTIONARY, NULL}}, 1, 0, false},
    {"set_stop", session_set_stop, RESULT_ERROR, {{"strings", STRINGS, NULL}}, 1, 0, false},
    {"set_constraint", session_set_constraint, RESULT_ERROR,
     {{"kind", WHOLE, "RaspSession.ConstraintKind"}, {"source", STRING, NULL}}, 2, 0, false},
    {"clear_constraint", session_clear_constraint, RESULT_ERROR, {{0}}, 0, 0, false},
    {"get_stats", session_get_stats, RESULT(DICTIONARY), {{0}}, 0, 0, true},
    {"get_error_message", session_get_error_message, RESULT(STRING), {{0}}, 0, 0, true},
    {0},
};

static const constant_table CONSTANTS[] = {
    {"Ended", "ENDED_NOT", RASP_ENDED_NOT},
    {"Ended", "ENDED_TOKEN", RASP_ENDED_TOKEN},
    {"Ended", "ENDED_STOP", RASP_ENDED_STOP},
    {"Ended", "ENDED_CONTEXT", RASP_ENDED_CONTEXT},
    {"Ended", "ENDED_LIMIT", ENDED_LIMIT},
    {"Ended", "ENDED_CANCELLED", ENDED_CANCELLED},
    {"Ended", "ENDED_ERROR", ENDED_ERROR},
    {"ConstraintKind", "CONSTRAINT_JSON_SCHEMA", RASP_CONSTRAINT_JSON_SCHEMA},
    {"ConstraintKind", "CONSTRAINT_REGEX", RASP_CONSTRAINT_REGEX},
    {"ConstraintKind", "CONSTRAINT_GRAMMAR", RASP_CONSTRAINT_GRAMMAR},
    {"KvType", "KV_F16", RASP_KV_F16},
    {"KvType", "KV_F32", RASP_KV_F32},
    {"KvType", "KV_I8", RASP_KV_I8},
    {0},
};

static const property_table PROPERTIES[] = {
    {{"sparsity", NUMBER, NULL}, "set_sparsity", "get_sparsity"},
    {{"limit", WHOLE, NULL}, "set_limit", "get_limit"},
    {{0}, NULL, NULL},
};

static const signal_table SIGNALS[] = {
    {"text_added", {"text", STRING, NULL}},
    {"ended", {"reason", WHOLE, "RaspSession.Ended"}},
    {0},
};

const class_table SESSION_CLASS = {
    .name = "RaspSession",
    .size = sizeof(session),
    .end = session_end,
    .methods = METHODS,
    .constants = CONSTANTS,
    .properties = PROPERTIES,
    .signals = SIGNALS,
};

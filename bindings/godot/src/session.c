/* RaspSession: one text in the making. Here: its life, how calls come and go, and what it tells of itself. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

int64_t call_failed(session *self, const char *function, const char *file, int line) {
    error_print(function, &self->error, file, line);
    return error_code(self->error.code);
}

bool call_enter(session *self, const char *function, const char *file, int line) {
    if (!atomic_flag_test_and_set_explicit(&self->busy, memory_order_acquire)) {
        return true;
    }
    rasp_error error;
    error_set(&error, RASP_ERROR_INVALID_STATE, "another thread is using the session");
    error_print(function, &error, file, line);
    return false;
}

int64_t call_enter_open(session *self, const char *function, const char *file, int line) {
    if (!call_enter(self, function, file, line)) {
        return GODOT_ERR_BUSY;
    }
    if (self->handle != NULL) {
        return GODOT_OK;
    }
    error_set(&self->error, RASP_ERROR_INVALID_STATE, "the session is not open");
    call_failed(self, function, file, line);
    atomic_flag_clear_explicit(&self->busy, memory_order_release);
    return GODOT_ERR_UNCONFIGURED;
}

void call_leave(session *self) { atomic_flag_clear_explicit(&self->busy, memory_order_release); }

value call_left(session *self, rasp_status status, const char *function, const char *file, int line) {
    const int64_t error = status < 0 ? call_failed(self, function, file, line) : GODOT_OK;
    call_leave(self);
    return value_error(error);
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

void session_end(void *object) {
    session *self = object;
    handle_close(self);
    free(self->text);
}

value session_open(void *object, const GDExtensionConstTypePtr *arguments) {
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
    if (!call_enter(self, "RaspSession.open", HERE)) {
        return value_error(GODOT_ERR_BUSY);
    }
    rasp_model *model = model_reference(ARGUMENT(GDExtensionObjectPtr, 0));
    if (model == NULL) {
        error_set(&self->error, RASP_ERROR_INVALID_ARGUMENT, "the model is not loaded");
        call_failed(self, "RaspSession.open", HERE);
        call_leave(self);
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
    call_leave(self);
    return value_error(GODOT_OK);
}

value session_close(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (call_enter(self, "RaspSession.close", HERE)) {
        handle_close(self);
        call_leave(self);
    }
    return (value){0};
}

value session_is_open(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    moment_begin(&self->exchange);
    const bool open = self->handle != NULL;
    moment_end(&self->exchange);
    return (value){.truth = open};
}

value session_reset(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    ENTER("RaspSession.reset")
    answer_over(self, RASP_ENDED_NOT);
    answer_settle(self);
    return LEFT(rasp_session_reset(self->handle, &self->error), "RaspSession.reset");
}

value session_rewind(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    const int64_t tokens = ARGUMENT(int64_t, 0);
    ENTER("RaspSession.rewind")
    answer_over(self, RASP_ENDED_NOT);
    answer_settle(self);
    const rasp_status status = tokens < 0
                                   ? error_set(&self->error, RASP_ERROR_OUT_OF_RANGE, "fewer than no tokens")
                                   : rasp_session_rewind(self->handle, (size_t)tokens, &self->error);
    return LEFT(status, "RaspSession.rewind");
}

rasp_status stats_read(session *self, rasp_stats *stats) {
    rasp_stats_init(stats);
    return rasp_session_get_stats(self->handle, stats, &self->error);
}

value session_get_token_count(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (call_enter_open(self, "RaspSession.get_token_count", HERE) != GODOT_OK) {
        return (value){.whole = 0};
    }
    rasp_stats stats;
    const rasp_status status = stats_read(self, &stats);
    if (status < 0) {
        stats.tokens = 0;
        call_failed(self, "RaspSession.get_token_count", HERE);
    }
    call_leave(self);
    return (value){.whole = stats.tokens};
}

value session_get_stats(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value dictionary = value_new(DICTIONARY);
    if (call_enter_open(self, "RaspSession.get_stats", HERE) != GODOT_OK) {
        return dictionary;
    }
    rasp_stats stats;
    if (stats_read(self, &stats) < 0) {
        call_failed(self, "RaspSession.get_stats", HERE);
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
    call_leave(self);
    return dictionary;
}

value session_get_error_message(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (!call_enter(self, "RaspSession.get_error_message", HERE)) {
        return value_string("", 0);
    }
    value message = value_string(self->error.message, strlen(self->error.message));
    call_leave(self);
    return message;
}

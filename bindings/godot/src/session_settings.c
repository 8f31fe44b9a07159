/* The settings of a RaspSession: sparsity, limit, sampling, stop strings and constraints. */
#include "session.h"

#include <stdlib.h>
#include <string.h>

rasp_status sparsity_apply(session *self) {
    if (!self->sparsity_waits || self->pending) {
        return RASP_OK;
    }
    self->sparsity_waits = false;
    return rasp_session_set_sparsity(self->handle, self->sparsity, &self->error);
}

value session_set_sparsity(void *object, const GDExtensionConstTypePtr *arguments) {
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

value session_get_sparsity(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value sparsity = {.number = 0};
    if (call_enter(self, "RaspSession.get_sparsity", HERE)) {
        sparsity.number = (double)self->sparsity;
        call_leave(self);
    }
    return sparsity;
}

value session_set_limit(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    if (call_enter(self, "RaspSession.set_limit", HERE)) {
        const int64_t limit = ARGUMENT(int64_t, 0);
        self->limit = limit < 0 ? 0 : limit;
        call_leave(self);
    }
    return (value){0};
}

value session_get_limit(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value limit = {.whole = 0};
    if (call_enter(self, "RaspSession.get_limit", HERE)) {
        limit.whole = self->limit;
        call_leave(self);
    }
    return limit;
}

value session_set_sampling(void *object, const GDExtensionConstTypePtr *arguments) {
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

value session_set_stop(void *object, const GDExtensionConstTypePtr *arguments) {
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

value session_set_constraint(void *object, const GDExtensionConstTypePtr *arguments) {
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

value session_clear_constraint(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    ENTER("RaspSession.clear_constraint")
    return LEFT(rasp_session_set_constraint(self->handle, NULL, &self->error), "RaspSession.clear_constraint");
}

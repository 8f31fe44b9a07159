/* The answer of a RaspSession, for a game that gives it some time every frame: each step keeps within a budget. */
#define _POSIX_C_SOURCE 200809L

#include "session.h"

#include <stdlib.h>
#ifdef _WIN32
#include <windows.h>
#else
#include <time.h>
#endif

/* A longer budget is no budget: ten days, in microseconds. */
#define BUDGET_MAX INT64_C(864000000000)

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

void answer_settle(session *self) {
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

void answer_over(session *self, int64_t ended) {
    self->ended = ended;
    atomic_store(&self->answering, false);
}

void answer_begin(session *self) {
    self->pending = true;
    self->made = 0;
    self->ended = RASP_ENDED_NOT;
    atomic_store(&self->answering, true);
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
        call_failed(self, "RaspSession.step_text_within", HERE);
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
    call_leave(self);
    if (some) {
        instance_emit(&self->base, "text_added", STRING, &text);
    }
    if (over) {
        instance_emit(&self->base, "ended", WHOLE, &ended);
    }
    variant_end(&held);
    return text;
}

value session_step_text_within(void *object, const GDExtensionConstTypePtr *arguments) {
    session *self = object;
    if (!atomic_load(&self->answering) || !call_enter(self, "RaspSession.step_text_within", HERE)) {
        return value_string("", 0);
    }
    const bool was_answering = atomic_load(&self->answering);
    if (was_answering) {
        const int64_t budget = ARGUMENT(int64_t, 0);
        answer_go_on(self, 1000 * (uint64_t)(budget < 0 ? 0 : budget > BUDGET_MAX ? BUDGET_MAX : budget));
    }
    return left_with_news(self, was_answering);
}

value session_finish_text(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    if (!atomic_load(&self->answering) || !call_enter(self, "RaspSession.finish_text", HERE)) {
        return value_string("", 0);
    }
    const bool was_answering = atomic_load(&self->answering);
    if (was_answering) {
        answer_settle(self);
        text_finish(self);
        answer_over(self, ENDED_CANCELLED);
    }
    return left_with_news(self, was_answering);
}

value session_is_answering(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    return (value){.truth = atomic_load(&self->answering)};
}

value session_get_ended(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    session *self = object;
    value ended = {.whole = RASP_ENDED_NOT};
    if (call_enter(self, "RaspSession.get_ended", HERE)) {
        ended.whole = self->ended;
        call_leave(self);
    }
    return ended;
}

value session_cancel(void *object, const GDExtensionConstTypePtr *arguments) {
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

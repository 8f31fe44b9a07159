/*
 * What the files of RaspSession share.
 *
 * A session belongs to one thread at a time: a call that meets another one returns ERR_BUSY. cancel and is_answering
 * alone may come from any thread.
 */
#ifndef RASP_GODOT_SESSION_H
#define RASP_GODOT_SESSION_H

#include "classes.h"

/* Why an answer ended, besides RASP_ENDED_: the session's own reasons are below zero. */
enum { ENDED_LIMIT = -1, ENDED_CANCELLED = -2, ENDED_ERROR = -3 };

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

/* The place of a call in the source, which Godot's list of errors shows. */
#define HERE __FILE__, __LINE__

/* Begins a call on the session. False: another thread is inside one. */
bool call_enter(session *self, const char *function, const char *file, int line);

/* The same, of a call that wants an open session. */
int64_t call_enter_open(session *self, const char *function, const char *file, int line);

void call_leave(session *self);

/* Tells Godot of the session's error, and gives its code there. */
int64_t call_failed(session *self, const char *function, const char *file, int line);

/* Ends a call: OK, or what went wrong. */
value call_left(session *self, rasp_status status, const char *function, const char *file, int line);

#define ENTER(function)                                            \
    const int64_t entered = call_enter_open(self, function, HERE); \
    if (entered != GODOT_OK) {                                     \
        return value_error(entered);                               \
    }

#define LEFT(status, function) call_left(self, status, function, HERE)

rasp_status stats_read(session *self, rasp_stats *stats);

/* An answer is under way from the beginning of its prompt. */
void answer_begin(session *self);

/* An answer is no longer under way. */
void answer_over(session *self, int64_t ended);

/* Takes back what is unfinished, and a cancel that came too late for its answer: the session takes any call again. */
void answer_settle(session *self);

/* Gives the session a new sparsity as soon as no token is unfinished. */
rasp_status sparsity_apply(session *self);

/* Gives back what a session holds, but for itself. */
void session_end(void *object);

/* Bodies of the methods: of session.c, session_prompt.c, session_answer.c and session_settings.c. */
typedef value session_method(void *object, const GDExtensionConstTypePtr *arguments);
session_method session_open, session_close, session_is_open, session_reset, session_rewind, session_get_token_count,
    session_get_stats, session_get_error_message;
session_method session_prefill_chat, session_prefill;
session_method session_step_text_within, session_finish_text, session_is_answering, session_get_ended, session_cancel;
session_method session_set_sparsity, session_get_sparsity, session_set_limit, session_get_limit, session_set_sampling,
    session_set_stop, session_set_constraint, session_clear_constraint;

#endif

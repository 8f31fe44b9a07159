/* RaspSession as Godot sees it: methods, constants, properties and signals. */
#include "session.h"

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

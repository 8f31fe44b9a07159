/* RaspModel: a .rasp file, loaded. It is immutable, and any number of sessions may be opened on it from any thread. */
#include "classes.h"

#include <stdlib.h>
#include <string.h>

typedef struct model {
    instance base;
    moment exchange; /* of the two below */
    rasp_model *handle;
    rasp_error error; /* the last; RASP_OK: none yet */
} model;

static rasp_model *reference(model *self) {
    moment_begin(&self->exchange);
    rasp_model *handle = self->handle;
    rasp_model_retain(handle);
    moment_end(&self->exchange);
    return handle;
}

rasp_model *model_reference(GDExtensionObjectPtr object) {
    model *self = instance_of(object, &MODEL_CLASS);
    return self == NULL ? NULL : reference(self);
}

static void model_end(void *object) {
    model *self = object;
    rasp_free(self->handle);
}

/* Keeps an error for get_error_message, and tells Godot of it. */
static int64_t failed(model *self, const char *function, const rasp_error *error, int line) {
    error_print(function, error, __FILE__, line);
    moment_begin(&self->exchange);
    self->error = *error;
    moment_end(&self->exchange);
    return error_code(error->code);
}

static value model_load(void *object, const GDExtensionConstTypePtr *arguments) {
    static const field FIELDS[] = {
        {"verify", FIELD_FLAG, offsetof(rasp_load_options, verify)},
        {"lock", FIELD_FLAG, offsetof(rasp_load_options, lock)},
        {"large_pages", FIELD_FLAG, offsetof(rasp_load_options, large_pages)},
    };
    model *self = object;
    rasp_load_options options;
    rasp_load_options_init(&options);
    rasp_error error;
    variant dictionary;
    variant_of(&dictionary, DICTIONARY, arguments[1]);
    const bool read = fields_read(&dictionary, FIELDS, COUNT(FIELDS), &options, &error);
    variant_end(&dictionary);
    rasp_model *handle = NULL;
    rasp_status status = read ? RASP_OK : error.code;
    if (read) {
        char *path = string_path(arguments[0]);
        status = path == NULL ? error_set(&error, RASP_ERROR_OUT_OF_MEMORY, "no memory for the path")
                              : rasp_load(path, &options, &handle, &error);
        free(path);
    }
    if (status < 0) {
        return value_error(failed(self, "RaspModel.load", &error, __LINE__));
    }
    moment_begin(&self->exchange);
    rasp_model *before = self->handle;
    self->handle = handle;
    moment_end(&self->exchange);
    rasp_free(before);
    return value_error(GODOT_OK);
}

static value model_is_loaded(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    model *self = object;
    moment_begin(&self->exchange);
    const bool loaded = self->handle != NULL;
    moment_end(&self->exchange);
    return (value){.truth = loaded};
}

static const char *weights(uint32_t type) {
    switch (type) {
        case RASP_WEIGHTS_BF16: return "bf16";
        case RASP_WEIGHTS_F16: return "f16";
        case RASP_WEIGHTS_Q8: return "q8";
        case RASP_WEIGHTS_Q4: return "q4";
        case RASP_WEIGHTS_Q4S: return "q4s";
        default: return "";
    }
}

static void set_whole(value *dictionary, const char *key, int64_t number) {
    dictionary_set(dictionary, key, WHOLE, &number);
}

static void set_number(value *dictionary, const char *key, double number) {
    dictionary_set(dictionary, key, NUMBER, &number);
}

static void set_text(value *dictionary, const char *key, const char *text) {
    value string = value_string(text, strlen(text));
    dictionary_set(dictionary, key, STRING, &string);
    value_destroy(STRING, &string);
}

static value model_get_info(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    model *self = object;
    value dictionary = value_new(DICTIONARY);
    rasp_model_info info;
    rasp_model_info_init(&info);
    rasp_error error;
    rasp_model *handle = reference(self);
    const rasp_status status = handle == NULL
                                   ? error_set(&error, RASP_ERROR_INVALID_STATE, "no model is loaded")
                                   : rasp_model_get_info(handle, &info, &error);
    rasp_free(handle);
    if (status < 0) {
        failed(self, "RaspModel.get_info", &error, __LINE__);
        return dictionary;
    }
    set_text(&dictionary, "name", info.name);
    set_text(&dictionary, "architecture", info.architecture);
    set_text(&dictionary, "weights", weights(info.weight_type));
    set_whole(&dictionary, "vocab_size", info.vocab_size);
    set_whole(&dictionary, "hidden_size", info.hidden_size);
    set_whole(&dictionary, "num_layers", info.num_layers);
    set_whole(&dictionary, "context_length", info.context_length);
    set_number(&dictionary, "max_sparsity", info.max_sparsity);
    set_number(&dictionary, "default_sparsity", info.default_sparsity);
    set_whole(&dictionary, "file_size", (int64_t)info.file_size);
    set_whole(&dictionary, "linear_bytes", (int64_t)info.linear_bytes);
    set_whole(&dictionary, "head_bytes", (int64_t)info.head_bytes);
    return dictionary;
}

static value model_get_error_message(void *object, const GDExtensionConstTypePtr *arguments) {
    (void)arguments;
    model *self = object;
    moment_begin(&self->exchange);
    const rasp_error error = self->error;
    moment_end(&self->exchange);
    return value_string(error.message, strlen(error.message));
}

static const method_table METHODS[] = {
    {"load", model_load, RESULT_ERROR, {{"path", STRING, NULL}, {"options", DICTIONARY, NULL}}, 2, 1, false},
    {"is_loaded", model_is_loaded, RESULT(TRUTH), {{0}}, 0, 0, true},
    {"get_info", model_get_info, RESULT(DICTIONARY), {{0}}, 0, 0, true},
    {"get_error_message", model_get_error_message, RESULT(STRING), {{0}}, 0, 0, true},
    {0},
};

const class_table MODEL_CLASS = {.name = "RaspModel", .size = sizeof(model), .end = model_end, .methods = METHODS};

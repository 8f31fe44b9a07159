/* Godot's interface, values and classes: see godot.h. */
#include "godot.h"

#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Flags of Godot's PropertyUsageFlags: stored and shown in the editor; an int that is of an enum. */
#define USAGE_DEFAULT 6
#define USAGE_CLASS_IS_ENUM 65536

godot_interface godot;

bool godot_connect(GDExtensionInterfaceGetProcAddress get_proc_address, GDExtensionClassLibraryPtr library) {
    bool all = true;
    /* By way of void (*)(void), which compilers take for a function of any type. */
#define GODOT_LOAD(name, type)                                                              \
    godot.name = (GDExtensionInterface##type)(void (*)(void))get_proc_address(#name);       \
    all = all && godot.name != NULL;
    GODOT_FUNCTIONS(GODOT_LOAD)
#undef GODOT_LOAD
    godot.library = library;
    return all;
}

value value_new(int type) {
    value self = {0};
    godot.variant_get_ptr_constructor((GDExtensionVariantType)type, 0)((GDExtensionUninitializedTypePtr)&self, NULL);
    return self;
}

value value_string(const char *text, size_t length) {
    value self = {0};
    godot.string_new_with_utf8_chars_and_len((GDExtensionUninitializedStringPtr)&self, text, (GDExtensionInt)length);
    return self;
}

value value_name(const char *name) {
    value self = {0};
    godot.string_name_new_with_latin1_chars((GDExtensionUninitializedStringNamePtr)&self, name, false);
    return self;
}

void value_destroy(int type, value *self) {
    /* Bools, numbers and objects have no destructor. */
    GDExtensionPtrDestructor destroy = godot.variant_get_ptr_destructor((GDExtensionVariantType)type);
    if (destroy != NULL) {
        destroy((GDExtensionTypePtr)self);
    }
}

void variant_of(variant *self, int type, const void *native) {
    godot.get_variant_from_type_constructor((GDExtensionVariantType)type)((GDExtensionUninitializedVariantPtr)self,
                                                                         (GDExtensionTypePtr)native);
}

void variant_end(variant *self) { godot.variant_destroy((GDExtensionVariantPtr)self); }

int variant_type(const variant *self) { return (int)godot.variant_get_type((GDExtensionConstVariantPtr)self); }

value variant_value(const variant *self, int type) {
    value native = {0};
    godot.get_variant_to_type_constructor((GDExtensionVariantType)type)((GDExtensionUninitializedTypePtr)&native,
                                                                       (GDExtensionVariantPtr)self);
    return native;
}

char *string_text(GDExtensionConstTypePtr string) {
    const GDExtensionInt length = godot.string_to_utf8_chars((GDExtensionConstStringPtr)string, NULL, 0);
    char *text = malloc((size_t)length + 1);
    if (text != NULL) {
        godot.string_to_utf8_chars((GDExtensionConstStringPtr)string, text, length);
        text[length] = 0;
    }
    return text;
}

/* Calls a method of an object's by its name; false: there is no such method. */
static bool object_call(GDExtensionObjectPtr object, const char *method, const variant *argument, variant *result) {
    variant self;
    variant_of(&self, OBJECT, &object);
    value name = value_name(method);
    const GDExtensionConstVariantPtr arguments[] = {(GDExtensionConstVariantPtr)argument};
    GDExtensionCallError error;
    godot.variant_call((GDExtensionVariantPtr)&self, (GDExtensionConstStringNamePtr)&name, arguments, 1,
                       (GDExtensionUninitializedVariantPtr)result, &error);
    value_destroy(NAME, &name);
    variant_end(&self);
    return error.error == GDEXTENSION_CALL_OK;
}

char *string_path(GDExtensionConstTypePtr string) {
    char *text = string_text(string);
    if (text == NULL || (strncmp(text, "res://", 6) != 0 && strncmp(text, "user://", 7) != 0)) {
        return text;
    }
    value name = value_name("ProjectSettings");
    const GDExtensionObjectPtr settings = godot.global_get_singleton((GDExtensionConstStringNamePtr)&name);
    value_destroy(NAME, &name);
    if (settings == NULL) {
        return text;
    }
    variant path, global;
    variant_of(&path, STRING, string);
    if (object_call(settings, "globalize_path", &path, &global)) {
        free(text);
        value native = variant_value(&global, STRING);
        text = string_text((GDExtensionConstTypePtr)&native);
        value_destroy(STRING, &native);
    }
    variant_end(&global);
    variant_end(&path);
    return text;
}

void dictionary_set(value *dictionary, const char *key, int type, const void *native) {
    /* A Variant of a Dictionary is another reference to the same one. */
    variant self, name, content;
    value string = value_string(key, strlen(key));
    variant_of(&self, DICTIONARY, dictionary);
    variant_of(&name, STRING, &string);
    variant_of(&content, type, native);
    GDExtensionBool valid;
    godot.variant_set_keyed((GDExtensionVariantPtr)&self, (GDExtensionConstVariantPtr)&name,
                            (GDExtensionConstVariantPtr)&content, &valid);
    variant_end(&content);
    variant_end(&name);
    variant_end(&self);
    value_destroy(STRING, &string);
}

bool variant_each(const variant *self, bool (*visit)(void *context, const variant *element), void *context) {
    const GDExtensionConstVariantPtr container = (GDExtensionConstVariantPtr)self;
    variant place;
    GDExtensionBool valid;
    bool goes_on = true;
    GDExtensionBool there = godot.variant_iter_init(container, (GDExtensionUninitializedVariantPtr)&place, &valid);
    while (there && valid && goes_on) {
        variant element;
        godot.variant_iter_get(container, (GDExtensionVariantPtr)&place, (GDExtensionUninitializedVariantPtr)&element,
                               &valid);
        goes_on = visit(context, &element);
        variant_end(&element);
        there = goes_on && godot.variant_iter_next(container, (GDExtensionVariantPtr)&place, &valid);
    }
    variant_end(&place);
    return goes_on;
}

/* Whether Godot converts a value of one type to the other without a loss that would surprise. */
static bool fits(int given, int wanted) {
    switch (wanted) {
        case TRUTH: return given == TRUTH || given == WHOLE;
        case WHOLE: return given == WHOLE || given == NUMBER || given == TRUTH;
        case NUMBER: return given == NUMBER || given == WHOLE;
        case STRING: return given == STRING || given == NAME;
        case OBJECT: return given == OBJECT || given == NONE;
        case STRINGS: return given == STRINGS || given == ARRAY;
        default: return given == wanted;
    }
}

typedef struct fields_reader {
    const variant *dictionary;
    const field *fields;
    size_t count;
    unsigned char *into;
    rasp_error *error;
} fields_reader;

/* One value, by the kind of its field. */
static bool field_read(const field *field, const variant *content, unsigned char *into, rasp_error *error) {
    static const struct {
        int type;
        const char *name;
    } KINDS[] = {
        [FIELD_FLAG] = {TRUTH, "true or false"}, [FIELD_U32] = {WHOLE, "a whole number from 0 to 4294967295"},
        [FIELD_64] = {WHOLE, "a whole number"},  [FIELD_F32] = {NUMBER, "a number"},
        [FIELD_TEXT] = {STRING, "a String"},
    };
    bool right = fits(variant_type(content), KINDS[field->kind].type);
    if (right) {
        value native = variant_value(content, KINDS[field->kind].type);
        void *place = into + field->offset;
        switch (field->kind) {
            case FIELD_FLAG: *(uint32_t *)place = native.truth != 0; break;
            case FIELD_U32:
                right = native.whole >= 0 && native.whole <= UINT32_MAX;
                *(uint32_t *)place = (uint32_t)native.whole;
                break;
            case FIELD_64: *(int64_t *)place = native.whole; break;
            case FIELD_F32: *(float *)place = (float)native.number; break;
            case FIELD_TEXT:
                free(*(char **)place);
                *(char **)place = string_text((GDExtensionConstTypePtr)&native);
                break;
        }
        value_destroy(KINDS[field->kind].type, &native);
    }
    if (!right) {
        error_set(error, RASP_ERROR_INVALID_ARGUMENT, "%s is to be %s", field->key, KINDS[field->kind].name);
    } else if (field->kind == FIELD_TEXT && *(char **)(void *)(into + field->offset) == NULL) {
        error_set(error, RASP_ERROR_OUT_OF_MEMORY, "no memory for %s", field->key);
        right = false;
    }
    return right;
}

static bool field_visit(void *context, const variant *key) {
    const fields_reader *self = context;
    value string = variant_value(key, STRING);
    char *name = string_text((GDExtensionConstTypePtr)&string);
    value_destroy(STRING, &string);
    if (name == NULL) {
        error_set(self->error, RASP_ERROR_OUT_OF_MEMORY, "no memory for a dictionary's key");
        return false;
    }
    const field *found = NULL;
    for (size_t i = 0; i < self->count && found == NULL; i++) {
        if (strcmp(self->fields[i].key, name) == 0) {
            found = &self->fields[i];
        }
    }
    bool read = false;
    if (found == NULL) {
        error_set(self->error, RASP_ERROR_INVALID_ARGUMENT, "\"%s\" is no key that is known here", name);
    } else {
        variant content;
        GDExtensionBool valid;
        godot.variant_get_keyed((GDExtensionConstVariantPtr)self->dictionary, (GDExtensionConstVariantPtr)key,
                                (GDExtensionUninitializedVariantPtr)&content, &valid);
        read = field_read(found, &content, self->into, self->error);
        variant_end(&content);
    }
    free(name);
    return read;
}

bool fields_read(const variant *dictionary, const field *fields, size_t count, void *into, rasp_error *error) {
    fields_reader reader = {dictionary, fields, count, into, error};
    return variant_each(dictionary, field_visit, &reader);
}

rasp_status error_set(rasp_error *error, rasp_status code, const char *format, ...) {
    error->code = code;
    va_list values;
    va_start(values, format);
    vsnprintf(error->message, sizeof error->message, format, values);
    va_end(values);
    return code;
}

int64_t error_code(rasp_status status) {
    switch (status) {
        case RASP_ERROR_INVALID_ARGUMENT: return GODOT_ERR_INVALID_PARAMETER;
        case RASP_ERROR_IO: return GODOT_ERR_FILE_CANT_OPEN;
        case RASP_ERROR_BAD_FILE: return GODOT_ERR_FILE_CORRUPT;
        case RASP_ERROR_UNSUPPORTED_VERSION: return GODOT_ERR_FILE_UNRECOGNIZED;
        case RASP_ERROR_UNSUPPORTED: return GODOT_ERR_UNAVAILABLE;
        case RASP_ERROR_OUT_OF_RANGE: return GODOT_ERR_PARAMETER_RANGE_ERROR;
        case RASP_ERROR_CONTEXT_FULL: return GODOT_ERR_CANT_ACQUIRE_RESOURCE;
        case RASP_ERROR_NON_FINITE:
        case RASP_ERROR_INVALID_UTF8:
        case RASP_ERROR_BAD_STATE: return GODOT_ERR_INVALID_DATA;
        case RASP_ERROR_CANCELLED: return GODOT_ERR_SKIP;
        case RASP_ERROR_OUT_OF_MEMORY: return GODOT_ERR_OUT_OF_MEMORY;
        case RASP_ERROR_INVALID_STATE: return GODOT_ERR_BUSY;
        case RASP_ERROR_TEMPLATE: return GODOT_ERR_PARSE_ERROR;
        case RASP_ERROR_BUFFER_TOO_SMALL:
        case RASP_ERROR_INTERNAL: return GODOT_ERR_BUG;
        default: return status >= 0 ? GODOT_OK : GODOT_FAILED;
    }
}

void error_print(const char *function, const rasp_error *error, const char *file, int line) {
    char message[sizeof error->message + 64];
    snprintf(message, sizeof message, "%s: %s", function, error->message);
    godot.print_error_with_message(rasp_status_name(error->code), message, function, file, line, false);
}

void *instance_of(GDExtensionObjectPtr object, const class_table *class_table) {
    if (object == NULL) {
        return NULL;
    }
    /* No callbacks: an object of somebody else's is not to get a binding by being asked. */
    instance *self = godot.object_get_instance_binding(object, godot.library, NULL);
    return self != NULL && self->class_table == class_table ? self : NULL;
}

void instance_emit(instance *self, const char *signal, int type, const void *native) {
    variant object, name, content, nothing;
    variant_of(&object, OBJECT, &self->object);
    value string = value_string(signal, strlen(signal));
    variant_of(&name, STRING, &string);
    value_destroy(STRING, &string);
    variant_of(&content, type, native);
    value emit = value_name("emit_signal");
    const GDExtensionConstVariantPtr arguments[] = {(GDExtensionConstVariantPtr)&name,
                                                    (GDExtensionConstVariantPtr)&content};
    GDExtensionCallError error;
    godot.variant_call((GDExtensionVariantPtr)&object, (GDExtensionConstStringNamePtr)&emit, arguments, 2,
                       (GDExtensionUninitializedVariantPtr)&nothing, &error);
    variant_end(&nothing);
    value_destroy(NAME, &emit);
    variant_end(&content);
    variant_end(&name);
    variant_end(&object);
}

/* Calls from scripts that know no types. */
static void method_call(void *userdata, GDExtensionClassInstancePtr self, const GDExtensionConstVariantPtr *arguments,
                        GDExtensionInt count, GDExtensionVariantPtr result, GDExtensionCallError *error) {
    const method_table *method = userdata;
    const uint32_t least = method->count - method->optional;
    if (count < (GDExtensionInt)least || count > (GDExtensionInt)method->count) {
        error->error = count < (GDExtensionInt)least ? GDEXTENSION_CALL_ERROR_TOO_FEW_ARGUMENTS
                                                     : GDEXTENSION_CALL_ERROR_TOO_MANY_ARGUMENTS;
        error->expected = (int32_t)(count < (GDExtensionInt)least ? least : method->count);
        return;
    }
    for (GDExtensionInt i = 0; i < count; i++) {
        if (!fits((int)godot.variant_get_type(arguments[i]), method->parameters[i].type)) {
            error->error = GDEXTENSION_CALL_ERROR_INVALID_ARGUMENT;
            error->argument = (int32_t)i;
            error->expected = method->parameters[i].type;
            return;
        }
    }
    value natives[PARAMETERS_MAX];
    GDExtensionConstTypePtr pointers[PARAMETERS_MAX];
    for (uint32_t i = 0; i < method->count; i++) {
        const int type = method->parameters[i].type;
        natives[i] = i < count ? variant_value((const variant *)(const void *)arguments[i], type) : value_new(type);
        pointers[i] = (GDExtensionConstTypePtr)&natives[i];
    }
    value returned = method->body((void *)self, pointers);
    for (uint32_t i = 0; i < method->count; i++) {
        value_destroy(method->parameters[i].type, &natives[i]);
    }
    if (method->result.type != NONE) {
        godot.variant_destroy(result);
        variant_of((variant *)(void *)result, method->result.type, &returned);
        value_destroy(method->result.type, &returned);
    }
    error->error = GDEXTENSION_CALL_OK;
}

/* Calls from where types are known; what is at result is a value of the type already. */
static void method_ptrcall(void *userdata, GDExtensionClassInstancePtr self, const GDExtensionConstTypePtr *arguments,
                           GDExtensionTypePtr result) {
    const method_table *method = userdata;
    value returned = method->body((void *)self, arguments);
    switch (method->result.type) {
        case NONE: break;
        case TRUTH: *(GDExtensionBool *)(void *)result = returned.truth; break;
        case WHOLE: *(int64_t *)(void *)result = returned.whole; break;
        case NUMBER: *(double *)(void *)result = returned.number; break;
        default: /* a String or a Dictionary */
            value_destroy(method->result.type, (value *)(void *)result);
            memcpy((void *)result, &returned, sizeof(void *));
    }
}

/* A PropertyInfo, and what it points to. */
typedef struct described {
    GDExtensionPropertyInfo info;
    value name, class_name, hint;
} described;

static void describe(described *self, const parameter *parameter) {
    const bool named = parameter->class_name != NULL;
    self->name = value_name(parameter->name == NULL ? "" : parameter->name);
    self->class_name = value_name(named ? parameter->class_name : "");
    self->hint = value_string("", 0);
    self->info = (GDExtensionPropertyInfo){
        .type = (GDExtensionVariantType)parameter->type,
        .name = (GDExtensionStringNamePtr)&self->name,
        .class_name = (GDExtensionStringNamePtr)&self->class_name,
        .hint_string = (GDExtensionStringPtr)&self->hint,
        .usage = USAGE_DEFAULT | (named && parameter->type == WHOLE ? USAGE_CLASS_IS_ENUM : 0),
    };
}

static void described_end(described *self) {
    value_destroy(STRING, &self->hint);
    value_destroy(NAME, &self->class_name);
    value_destroy(NAME, &self->name);
}

static void method_register(const value *class_name, const method_table *method) {
    value name = value_name(method->name);
    described result, parameters[PARAMETERS_MAX];
    GDExtensionPropertyInfo infos[PARAMETERS_MAX];
    GDExtensionClassMethodArgumentMetadata metadata[PARAMETERS_MAX];
    variant defaults[PARAMETERS_MAX];
    GDExtensionVariantPtr pointers[PARAMETERS_MAX];
    describe(&result, &method->result);
    for (uint32_t i = 0; i < method->count; i++) {
        describe(&parameters[i], &method->parameters[i]);
        infos[i] = parameters[i].info;
        metadata[i] = GDEXTENSION_METHOD_ARGUMENT_METADATA_NONE;
    }
    for (uint32_t i = 0; i < method->optional; i++) {
        const int type = method->parameters[method->count - method->optional + i].type;
        value empty = value_new(type);
        variant_of(&defaults[i], type, &empty);
        value_destroy(type, &empty);
        pointers[i] = (GDExtensionVariantPtr)&defaults[i];
    }
    const GDExtensionClassMethodInfo info = {
        .name = (GDExtensionStringNamePtr)&name,
        .method_userdata = (void *)method,
        .call_func = method_call,
        .ptrcall_func = method_ptrcall,
        .method_flags = (uint32_t)GDEXTENSION_METHOD_FLAGS_DEFAULT |
                        (uint32_t)(method->reads ? GDEXTENSION_METHOD_FLAG_CONST : 0),
        .has_return_value = method->result.type != NONE,
        .return_value_info = &result.info,
        .return_value_metadata = GDEXTENSION_METHOD_ARGUMENT_METADATA_NONE,
        .argument_count = method->count,
        .arguments_info = infos,
        .arguments_metadata = metadata,
        .default_argument_count = method->optional,
        .default_arguments = pointers,
    };
    godot.classdb_register_extension_class_method(godot.library, (GDExtensionConstStringNamePtr)class_name, &info);
    for (uint32_t i = 0; i < method->optional; i++) {
        variant_end(&defaults[i]);
    }
    for (uint32_t i = 0; i < method->count; i++) {
        described_end(&parameters[i]);
    }
    described_end(&result);
    value_destroy(NAME, &name);
}

static void constant_register(const value *class_name, const constant_table *constant) {
    value name = value_name(constant->name), enumeration = value_name(constant->enumeration);
    godot.classdb_register_extension_class_integer_constant(
        godot.library, (GDExtensionConstStringNamePtr)class_name, (GDExtensionConstStringNamePtr)&enumeration,
        (GDExtensionConstStringNamePtr)&name, constant->number, false);
    value_destroy(NAME, &enumeration);
    value_destroy(NAME, &name);
}

static void property_register(const value *class_name, const property_table *property) {
    value setter = value_name(property->setter), getter = value_name(property->getter);
    described info;
    describe(&info, &property->property);
    godot.classdb_register_extension_class_property(
        godot.library, (GDExtensionConstStringNamePtr)class_name, &info.info, (GDExtensionConstStringNamePtr)&setter,
        (GDExtensionConstStringNamePtr)&getter);
    described_end(&info);
    value_destroy(NAME, &getter);
    value_destroy(NAME, &setter);
}

static void signal_register(const value *class_name, const signal_table *signal) {
    value name = value_name(signal->name);
    described info;
    describe(&info, &signal->parameter);
    godot.classdb_register_extension_class_signal(godot.library, (GDExtensionConstStringNamePtr)class_name,
                                                  (GDExtensionConstStringNamePtr)&name, &info.info, 1);
    described_end(&info);
    value_destroy(NAME, &name);
}

static GDExtensionObjectPtr instance_create(void *userdata) {
    const class_table *class_table = userdata;
    instance *self = calloc(1, class_table->size);
    if (self == NULL) {
        return NULL;
    }
    value parent = value_name("RefCounted"), name = value_name(class_table->name);
    self->class_table = class_table;
    self->object = godot.classdb_construct_object((GDExtensionConstStringNamePtr)&parent);
    godot.object_set_instance(self->object, (GDExtensionConstStringNamePtr)&name, (GDExtensionClassInstancePtr)self);
    /* The way back from the object, which holds it and tells nobody: the instance goes with the object. */
    static const GDExtensionInstanceBindingCallbacks NOBODY;
    godot.object_set_instance_binding(self->object, godot.library, self, &NOBODY);
    value_destroy(NAME, &name);
    value_destroy(NAME, &parent);
    return self->object;
}

static void instance_free(void *userdata, GDExtensionClassInstancePtr self) {
    const class_table *class_table = userdata;
    class_table->end((void *)self);
    free((void *)self);
}

void class_register(const class_table *self) {
    value name = value_name(self->name), parent = value_name("RefCounted");
    const GDExtensionClassCreationInfo2 info = {
        .is_exposed = true,
        .create_instance_func = instance_create,
        .free_instance_func = instance_free,
        .class_userdata = (void *)self,
    };
    godot.classdb_register_extension_class2(godot.library, (GDExtensionConstStringNamePtr)&name,
                                            (GDExtensionConstStringNamePtr)&parent, &info);
    for (const method_table *method = self->methods; method->name != NULL; method++) {
        method_register(&name, method);
    }
    for (const constant_table *constant = self->constants; constant != NULL && constant->name != NULL; constant++) {
        constant_register(&name, constant);
    }
    for (const property_table *property = self->properties; property != NULL && property->setter != NULL; property++) {
        property_register(&name, property);
    }
    for (const signal_table *signal = self->signals; signal != NULL && signal->name != NULL; signal++) {
        signal_register(&name, signal);
    }
    value_destroy(NAME, &parent);
    value_destroy(NAME, &name);
}

void class_unregister(const class_table *self) {
    value name = value_name(self->name);
    godot.classdb_unregister_extension_class(godot.library, (GDExtensionConstStringNamePtr)&name);
    value_destroy(NAME, &name);
}

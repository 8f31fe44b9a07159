/* Classes of tables, and their instances: see godot.h. */
#include "godot.h"

#include <stdlib.h>
#include <string.h>

/* Flags of Godot's PropertyUsageFlags: stored and shown in the editor; an int that is of an enum. */
#define USAGE_DEFAULT 6
#define USAGE_CLASS_IS_ENUM 65536

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
        if (!type_fits((int)godot.variant_get_type(arguments[i]), method->parameters[i].type)) {
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

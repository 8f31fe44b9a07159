/* Godot's interface and its values: see godot.h. */
#include "godot.h"

#include <stdlib.h>
#include <string.h>

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

bool type_fits(int given, int wanted) {
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

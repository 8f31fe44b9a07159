/* Dictionaries that are read into structs: see godot.h. */
#include "godot.h"

#include <stdlib.h>
#include <string.h>

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
    bool right = type_fits(variant_type(content), KINDS[field->kind].type);
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

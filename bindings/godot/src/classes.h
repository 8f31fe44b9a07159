/* What the two classes know of each other, and share. */
#ifndef RASP_GODOT_CLASSES_H
#define RASP_GODOT_CLASSES_H

#include "godot.h"

#include <stdatomic.h>

/* A lock for a few instructions, such as taking a reference to what another thread may exchange. */
typedef struct moment {
    atomic_flag taken;
} moment;

static inline void moment_begin(moment *self) {
    while (atomic_flag_test_and_set_explicit(&self->taken, memory_order_acquire)) {
    }
}

static inline void moment_end(moment *self) { atomic_flag_clear_explicit(&self->taken, memory_order_release); }

/* A reference to the model that a RaspModel has loaded, to be given back with rasp_free; NULL: none is loaded. */
rasp_model *model_reference(GDExtensionObjectPtr object);

/* A result that is one of Godot's Errors. */
static inline value value_error(int64_t error) { return (value){.whole = error}; }

#define RESULT_ERROR {NULL, WHOLE, "Error"}
#define RESULT_NONE {NULL, NONE, NULL}
#define RESULT(type) {NULL, type, NULL}
#define COUNT(array) (sizeof(array) / sizeof *(array))

/* The argument of a method, where it is one number, one truth or one object. */
#define ARGUMENT(type, index) (*(const type *)(const void *)arguments[index])

#endif

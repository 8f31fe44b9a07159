/*
 * What the extension needs of Godot: functions of its interface, values, and classes that are registered from tables.
 *
 * Godot hands values over in two ways: as Variants, which tell their type, and natively, as pointers to a bool, an
 * int64_t, a String. Methods here are written once, for the native way; godot_class.c turns Variants into it.
 */
#ifndef RASP_GODOT_H
#define RASP_GODOT_H

#include <gdextension_interface.h>
#include <rasp.h>

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

/* Functions of the interface that are called, all of Godot 4.2 or older, and their types. */
#define GODOT_FUNCTIONS(F)                                                                                         \
    F(classdb_construct_object, ClassdbConstructObject)                                                            \
    F(classdb_register_extension_class2, ClassdbRegisterExtensionClass2)                                           \
    F(classdb_register_extension_class_integer_constant, ClassdbRegisterExtensionClassIntegerConstant)             \
    F(classdb_register_extension_class_method, ClassdbRegisterExtensionClassMethod)                                \
    F(classdb_register_extension_class_property, ClassdbRegisterExtensionClassProperty)                            \
    F(classdb_register_extension_class_signal, ClassdbRegisterExtensionClassSignal)                                \
    F(classdb_unregister_extension_class, ClassdbUnregisterExtensionClass)                                         \
    F(get_variant_from_type_constructor, GetVariantFromTypeConstructor)                                            \
    F(get_variant_to_type_constructor, GetVariantToTypeConstructor)                                                \
    F(global_get_singleton, GlobalGetSingleton)                                                                    \
    F(object_get_instance_binding, ObjectGetInstanceBinding)                                                       \
    F(object_set_instance, ObjectSetInstance)                                                                      \
    F(object_set_instance_binding, ObjectSetInstanceBinding)                                                       \
    F(print_error_with_message, PrintErrorWithMessage)                                                             \
    F(string_name_new_with_latin1_chars, StringNameNewWithLatin1Chars)                                             \
    F(string_new_with_utf8_chars_and_len, StringNewWithUtf8CharsAndLen)                                            \
    F(string_to_utf8_chars, StringToUtf8Chars)                                                                     \
    F(variant_call, VariantCall)                                                                                   \
    F(variant_destroy, VariantDestroy)                                                                             \
    F(variant_get_keyed, VariantGetKeyed)                                                                          \
    F(variant_get_ptr_constructor, VariantGetPtrConstructor)                                                       \
    F(variant_get_ptr_destructor, VariantGetPtrDestructor)                                                         \
    F(variant_get_type, VariantGetType)                                                                            \
    F(variant_iter_get, VariantIterGet)                                                                            \
    F(variant_iter_init, VariantIterInit)                                                                          \
    F(variant_iter_next, VariantIterNext)                                                                          \
    F(variant_set_keyed, VariantSetKeyed)

typedef struct godot_interface {
#define GODOT_POINTER(name, type) GDExtensionInterface##type name;
    GODOT_FUNCTIONS(GODOT_POINTER)
#undef GODOT_POINTER
    GDExtensionClassLibraryPtr library;
} godot_interface;

extern godot_interface godot;

/* Godot's enum Error, as far as it is returned. */
enum {
    GODOT_OK = 0,
    GODOT_FAILED = 1,
    GODOT_ERR_UNAVAILABLE = 2,
    GODOT_ERR_UNCONFIGURED = 3,
    GODOT_ERR_PARAMETER_RANGE_ERROR = 5,
    GODOT_ERR_OUT_OF_MEMORY = 6,
    GODOT_ERR_FILE_CANT_OPEN = 12,
    GODOT_ERR_FILE_UNRECOGNIZED = 15,
    GODOT_ERR_FILE_CORRUPT = 16,
    GODOT_ERR_CANT_ACQUIRE_RESOURCE = 28,
    GODOT_ERR_INVALID_DATA = 30,
    GODOT_ERR_INVALID_PARAMETER = 31,
    GODOT_ERR_PARSE_ERROR = 43,
    GODOT_ERR_BUSY = 44,
    GODOT_ERR_SKIP = 45,
    GODOT_ERR_BUG = 47,
};

/* Short names of the types that are used. */
enum {
    NONE = GDEXTENSION_VARIANT_TYPE_NIL,
    TRUTH = GDEXTENSION_VARIANT_TYPE_BOOL,
    WHOLE = GDEXTENSION_VARIANT_TYPE_INT,
    NUMBER = GDEXTENSION_VARIANT_TYPE_FLOAT,
    STRING = GDEXTENSION_VARIANT_TYPE_STRING,
    NAME = GDEXTENSION_VARIANT_TYPE_STRING_NAME,
    OBJECT = GDEXTENSION_VARIANT_TYPE_OBJECT,
    DICTIONARY = GDEXTENSION_VARIANT_TYPE_DICTIONARY,
    ARRAY = GDEXTENSION_VARIANT_TYPE_ARRAY,
    STRINGS = GDEXTENSION_VARIANT_TYPE_PACKED_STRING_ARRAY,
};

/* Room for a Variant: 40 bytes where Godot was built with double precision, 24 elsewhere. */
typedef union variant {
    uint64_t align;
    unsigned char bytes[40];
} variant;

/* A native value of any of the types above. A String, StringName, Dictionary or Array is one pointer, a packed array
   two; all of them may be moved as bytes. */
typedef union value {
    GDExtensionBool truth;
    int64_t whole;
    double number;
    GDExtensionObjectPtr object;
    void *pointers[2];
} value;

/* Values are made by value_new (the type's empty value) or one of the others, and destroyed by value_destroy. */
value value_new(int type);
value value_string(const char *text, size_t length);
value value_name(const char *name);
void value_destroy(int type, value *self);

/* Variants are made from native values, which they copy, and destroyed by variant_end. */
void variant_of(variant *self, int type, const void *native);
void variant_end(variant *self);
int variant_type(const variant *self);

/* The native value in a Variant of that type, or of one that Godot converts to it. */
value variant_value(const variant *self, int type);

/* Whether Godot converts a value of one type to the other without a loss that would surprise. */
bool type_fits(int given, int wanted);

/* UTF-8 of a String, NUL-terminated, of malloc. NULL: no memory. */
char *string_text(GDExtensionConstTypePtr string);

/* A path that the system knows, for one that Godot may know alone (res://, user://). NULL: no memory. */
char *string_path(GDExtensionConstTypePtr string);

/* Puts a native value into a Dictionary. */
void dictionary_set(value *dictionary, const char *key, int type, const void *native);

/* Calls visit for every element of an array, or every key of a dictionary, until it returns false. */
bool variant_each(const variant *self, bool (*visit)(void *context, const variant *element), void *context);

/* How a key of a dictionary is read into a struct. */
typedef enum field_kind { FIELD_FLAG, FIELD_U32, FIELD_64, FIELD_F32, FIELD_TEXT } field_kind;

typedef struct field {
    const char *key;
    field_kind kind;
    size_t offset; /* of an uint32_t, an uint32_t, an uint64_t or int64_t, a float, or a char * of malloc */
} field;

/* Reads a Dictionary; a key that is not among fields is an error, so that a misspelt one does not go unnoticed. What
   has been read of texts is to be freed also after an error. */
bool fields_read(const variant *dictionary, const field *fields, size_t count, void *into, rasp_error *error);

/* Writes an error as the library would, with words made as by printf. */
rasp_status error_set(rasp_error *error, rasp_status code, const char *format, ...)
#if defined(__GNUC__)
    __attribute__((format(printf, 3, 4)))
#endif
    ;

/* What an error is in Godot's words. */
int64_t error_code(rasp_status status);

/* Tells Godot of an error: in the debugger's list and on the standard error. */
void error_print(const char *function, const rasp_error *error, const char *file, int line);

/* The start of every object of the extension's. */
typedef struct instance {
    const struct class_table *class_table;
    GDExtensionObjectPtr object;
} instance;

/* The object's instance if it is one of that class; else NULL. */
void *instance_of(GDExtensionObjectPtr object, const struct class_table *class_table);

/* Emits a signal. The instance may be gone afterwards, unless somebody holds its object. */
void instance_emit(instance *self, const char *signal, int type, const void *native);

typedef struct parameter {
    const char *name;
    int type;
    const char *class_name; /* of an object, or of the enum that an int is of; NULL: none */
} parameter;

/* A method's body: the arguments as the table has them, natively. What it returns is the caller's. */
typedef value (*method_body)(void *self, const GDExtensionConstTypePtr *arguments);

#define PARAMETERS_MAX 2

typedef struct method_table {
    const char *name;
    method_body body;
    parameter result;
    parameter parameters[PARAMETERS_MAX];
    uint32_t count;    /* of parameters */
    uint32_t optional; /* so many of the last may be left out, and are empty then */
    bool reads;        /* changes nothing */
} method_table;

typedef struct constant_table {
    const char *enumeration, *name;
    int64_t number;
} constant_table;

typedef struct property_table {
    parameter property;
    const char *setter, *getter;
} property_table;

typedef struct signal_table {
    const char *name;
    parameter parameter;
} signal_table;

/* A class that extends RefCounted. Lists end with an entry without a name; NULL: there is none. */
typedef struct class_table {
    const char *name;
    size_t size;               /* of the instance, which begins as zeros */
    void (*end)(void *self);   /* gives back what it holds, but for itself */
    const method_table *methods;
    const constant_table *constants;
    const property_table *properties;
    const signal_table *signals;
} class_table;

bool godot_connect(GDExtensionInterfaceGetProcAddress get_proc_address, GDExtensionClassLibraryPtr library);
void class_register(const class_table *self);
void class_unregister(const class_table *self);

extern const class_table MODEL_CLASS, SESSION_CLASS;

#endif

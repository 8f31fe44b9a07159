/* dlopen without RTLD_DEEPBIND, which Godot asks for and AddressSanitizer refuses. Preloaded before that. */
#define _GNU_SOURCE
#include <dlfcn.h>

void *dlopen(const char *file, int flags) {
    /* By way of an integer: ISO C has no cast from an object's pointer to a function's. */
    void *(*next)(const char *, int) = (void *(*)(const char *, int))(__UINTPTR_TYPE__)dlsym(RTLD_NEXT, "dlopen");
    return next(file, flags & ~RTLD_DEEPBIND);
}

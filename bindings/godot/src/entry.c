/* Where Godot comes in: rasp.gdextension names this file's one function. */
#include "godot.h"

#if defined(_WIN32)
#define EXPORTED __declspec(dllexport)
#else
#define EXPORTED __attribute__((visibility("default")))
#endif

static void initialize(void *userdata, GDExtensionInitializationLevel level) {
    (void)userdata;
    if (level == GDEXTENSION_INITIALIZATION_SCENE) {
        class_register(&MODEL_CLASS);
        class_register(&SESSION_CLASS);
    }
}

static void deinitialize(void *userdata, GDExtensionInitializationLevel level) {
    (void)userdata;
    if (level == GDEXTENSION_INITIALIZATION_SCENE) {
        class_unregister(&SESSION_CLASS);
        class_unregister(&MODEL_CLASS);
    }
}

EXPORTED GDExtensionBool rasp_godot_init(GDExtensionInterfaceGetProcAddress get_proc_address,
                                         GDExtensionClassLibraryPtr library, GDExtensionInitialization *initialization);

EXPORTED GDExtensionBool rasp_godot_init(GDExtensionInterfaceGetProcAddress get_proc_address,
                                         GDExtensionClassLibraryPtr library,
                                         GDExtensionInitialization *initialization) {
    if (!godot_connect(get_proc_address, library)) {
        return false;
    }
    /* A library that was linked dynamically may be another than the header was of. */
    if (rasp_abi_version() != 1) {
        godot.print_error_with_message("rasp", "librasp has another binary interface than this extension was built for",
                                       __func__, __FILE__, __LINE__, true);
        return false;
    }
    initialization->minimum_initialization_level = GDEXTENSION_INITIALIZATION_SCENE;
    initialization->userdata = NULL;
    initialization->initialize = initialize;
    initialization->deinitialize = deinitialize;
    return true;
}

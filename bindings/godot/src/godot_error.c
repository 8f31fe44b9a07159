/* Errors, in the library's words and in Godot's: see godot.h. */
#include "godot.h"

#include <stdarg.h>
#include <stdio.h>

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

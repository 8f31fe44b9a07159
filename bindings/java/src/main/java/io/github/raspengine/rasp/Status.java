package io.github.raspengine.rasp;

/** What became of a call. */
public enum Status {
    OK(Capi.RASP_OK),
    END(Capi.RASP_END),
    PENDING(Capi.RASP_PENDING),
    INVALID_ARGUMENT(Capi.RASP_ERROR_INVALID_ARGUMENT),
    IO(Capi.RASP_ERROR_IO),
    BAD_FILE(Capi.RASP_ERROR_BAD_FILE),
    UNSUPPORTED_VERSION(Capi.RASP_ERROR_UNSUPPORTED_VERSION),
    UNSUPPORTED(Capi.RASP_ERROR_UNSUPPORTED),
    OUT_OF_RANGE(Capi.RASP_ERROR_OUT_OF_RANGE),
    CONTEXT_FULL(Capi.RASP_ERROR_CONTEXT_FULL),
    BUFFER_TOO_SMALL(Capi.RASP_ERROR_BUFFER_TOO_SMALL),
    NON_FINITE(Capi.RASP_ERROR_NON_FINITE),
    CANCELLED(Capi.RASP_ERROR_CANCELLED),
    OUT_OF_MEMORY(Capi.RASP_ERROR_OUT_OF_MEMORY),
    INVALID_STATE(Capi.RASP_ERROR_INVALID_STATE),
    INVALID_UTF8(Capi.RASP_ERROR_INVALID_UTF8),
    TEMPLATE(Capi.RASP_ERROR_TEMPLATE),
    INTERNAL(Capi.RASP_ERROR_INTERNAL),
    BAD_STATE(Capi.RASP_ERROR_BAD_STATE),
    /** One that a newer library has. */
    UNKNOWN(Integer.MIN_VALUE);

    final int number;

    Status(int number) {
        this.number = number;
    }

    static Status of(int number) {
        for (Status one : values()) {
            if (one.number == number) {
                return one;
            }
        }
        return UNKNOWN;
    }
}

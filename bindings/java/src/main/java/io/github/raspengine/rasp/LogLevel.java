package io.github.raspengine.rasp;

/** How important a message is. */
public enum LogLevel {
    ERROR(Capi.RASP_LOG_ERROR),
    WARNING(Capi.RASP_LOG_WARNING),
    INFO(Capi.RASP_LOG_INFO),
    DEBUG(Capi.RASP_LOG_DEBUG);

    final int number;

    LogLevel(int number) {
        this.number = number;
    }
}

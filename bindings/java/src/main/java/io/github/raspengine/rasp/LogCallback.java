package io.github.raspengine.rasp;

/**
 * Hears a message of a model that is being loaded, or of a session that is being opened, on the threads of these; where
 * they are several, on several at once.
 */
@FunctionalInterface
public interface LogCallback {
    void log(LogLevel level, String message);
}

package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import java.nio.charset.StandardCharsets;

/** What C calls with messages. */
final class LogSink implements Capi.rasp_log_callback {
    private final LogCallback log;
    private final Thrown thrown = new Thrown();

    LogSink(LogCallback log) {
        this.log = log;
    }

    @Override
    public void invoke(Pointer context, int level, Pointer message) {
        try {
            for (LogLevel one : LogLevel.values()) {
                if (one.number == level) {
                    log.log(one, message.getString(0, StandardCharsets.UTF_8.name()));
                }
            }
        } catch (Throwable throwable) {
            thrown.add(throwable);
        }
    }

    /** What it threw while something was made, which is closed then. */
    static void rethrow(LogSink sink, AutoCloseable made) {
        if (sink == null) {
            return;
        }
        try {
            sink.thrown.rethrow();
        } catch (RuntimeException | Error throwable) {
            try {
                made.close();
            } catch (Exception exception) {
                throwable.addSuppressed(exception);
            }
            throw throwable;
        }
    }
}

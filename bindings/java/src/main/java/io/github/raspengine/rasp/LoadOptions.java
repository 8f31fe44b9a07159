package io.github.raspengine.rasp;

import java.util.Objects;

/** How a model is loaded. */
public final class LoadOptions {
    private boolean verify;
    private boolean lock;
    private boolean largePages;
    private LogLevel logLevel = LogLevel.INFO;
    private LogCallback log;

    /** Read the whole file, and refuse damaged ones. */
    public LoadOptions verify(boolean value) {
        verify = value;
        return this;
    }

    /** Keep the file in memory, so that no token waits for the disk. */
    public LoadOptions lock(boolean value) {
        lock = value;
        return this;
    }

    /** Read the file into memory of this process's own, in pages of 2 MB where there are some. */
    public LoadOptions largePages(boolean value) {
        largePages = value;
        return this;
    }

    /** The least important level that log hears of. */
    public LoadOptions logLevel(LogLevel value) {
        logLevel = Objects.requireNonNull(value);
        return this;
    }

    /** Hears of what is found and chosen, and of sessions that are opened. */
    public LoadOptions log(LogCallback value) {
        log = value;
        return this;
    }

    LogSink sink() {
        return log == null ? null : new LogSink(log);
    }

    Capi.rasp_load_options raw(LogSink sink) {
        Capi.rasp_load_options raw = new Capi.rasp_load_options();
        Engine.C.rasp_load_options_init_2(raw);
        raw.verify = verify ? 1 : 0;
        raw.lock = lock ? 1 : 0;
        raw.large_pages = largePages ? 1 : 0;
        raw.log_level = logLevel.number;
        raw.log = sink;
        return raw;
    }
}

package io.github.raspengine.rasp;

import com.sun.jna.Native;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Objects;

/** How a session is opened. */
public final class SessionOptions {
    private int context;
    private int threads = 1;
    private int batch;
    private KvType kv = KvType.F16;
    private boolean windowsAlone;
    private int drafts;
    private int adapterRank;
    private long cpus;
    private long spin;
    private RunCallback run;
    private ByteBuffer memory;

    /** Tokens there is room for; 0: the model's own limit, but at most 4096. */
    public SessionOptions context(int value) {
        context = Text.natural(value, "context");
        return this;
    }

    /** Threads that work during a call, the caller's included. */
    public SessionOptions threads(int value) {
        threads = Text.natural(value, "threads");
        return this;
    }

    /** Prompt tokens that pass through the model together; 0: 128. */
    public SessionOptions batch(int value) {
        batch = Text.natural(value, "batch");
        return this;
    }

    /** How keys and values are cached. */
    public SessionOptions kv(KvType value) {
        kv = Objects.requireNonNull(value);
        return this;
    }

    /** Layers that attend to a window hold its keys and values alone: less memory, and no way back to what is gone. */
    public SessionOptions windowsAlone(boolean value) {
        windowsAlone = value;
        return this;
    }

    /**
     * Room for so many guesses at the next tokens, at most 7: the same tokens, sooner where an answer quotes or
     * repeats.
     */
    public SessionOptions drafts(int value) {
        drafts = Text.natural(value, "drafts");
        return this;
    }

    /** Room for adapters: the sum of the ranks of those that are set at a time. */
    public SessionOptions adapterRank(int value) {
        adapterRank = Text.natural(value, "adapterRank");
        return this;
    }

    /** Processors that the session's threads are pinned to, one bit each; 0: none. */
    public SessionOptions cpus(long value) {
        cpus = value;
        return this;
    }

    /** How long the session's threads watch for the next call before they sleep, at most a second. */
    public SessionOptions spin(Duration value) {
        spin = Text.nanoseconds(value, "spin");
        return this;
    }

    /** A job system that takes the place of the session's own threads. */
    public SessionOptions run(RunCallback value) {
        run = value;
        return this;
    }

    /**
     * A direct buffer for the session to live in until it is closed, as large and aligned as Model.plan says; null:
     * memory of its own.
     */
    public SessionOptions memory(ByteBuffer value) {
        if (value != null && !value.isDirect()) {
            throw new IllegalArgumentException("memory has to be a direct buffer");
        }
        memory = value;
        return this;
    }

    JobSystem jobs() {
        return run == null ? null : new JobSystem(run);
    }

    ByteBuffer memory() {
        return memory;
    }

    Capi.rasp_session_options raw(JobSystem jobs) {
        Capi.rasp_session_options raw = new Capi.rasp_session_options();
        Engine.C.rasp_session_options_init_2(raw);
        raw.context = context;
        raw.threads = threads;
        raw.batch = batch;
        raw.kv_type = kv.number;
        raw.windows_alone = windowsAlone ? 1 : 0;
        raw.drafts = drafts;
        raw.adapter_rank = adapterRank;
        raw.cpus = cpus;
        raw.spin_ns = spin;
        raw.run = jobs;
        if (memory != null) {
            raw.memory = Native.getDirectBufferPointer(memory);
            raw.memory_size = new Capi.SizeT(memory.capacity());
        }
        return raw;
    }
}

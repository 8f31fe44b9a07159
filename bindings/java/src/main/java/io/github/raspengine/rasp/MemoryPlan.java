package io.github.raspengine.rasp;

/** The memory that a session will take, in bytes; its parts sum to size. */
public final class MemoryPlan {
    public final int alignment;
    public final int context;
    public final int batch;
    public final long size;
    public final long kvCache;
    public final long activations;
    public final long sampling;
    public final long bookkeeping;

    MemoryPlan(Capi.rasp_memory_plan raw) {
        alignment = raw.alignment;
        context = raw.context;
        batch = raw.batch;
        size = raw.size;
        kvCache = raw.kv_cache;
        activations = raw.activations;
        sampling = raw.sampling;
        bookkeeping = raw.bookkeeping;
    }
}

package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import java.lang.ref.PhantomReference;
import java.lang.ref.Reference;
import java.lang.ref.ReferenceQueue;
import java.util.Set;
import java.util.concurrent.ConcurrentHashMap;
import java.util.function.ToIntFunction;

/**
 * A handle of the library's. One that is closed during a call is freed when the call is done; one whose owner nobody
 * holds is freed at some later call.
 */
final class Handle {
    // Owners that the garbage collector has found. Looked at by calls, so that no thread is needed for it.
    private static final ReferenceQueue<Object> LOST = new ReferenceQueue<>();
    private static final Set<Owned> OPEN = ConcurrentHashMap.newKeySet();

    private final String kind;
    private final ToIntFunction<Pointer> free;
    private Pointer pointer;
    // What the library looks at while the handle is open.
    private Object[] kept;
    private Owned owned;
    private int calls;
    private boolean closed;

    private static final class Owned extends PhantomReference<Object> {
        private final Handle handle;

        Owned(Object owner, Handle handle) {
            super(owner, LOST);
            this.handle = handle;
        }
    }

    Handle(Object owner, String kind, Pointer pointer, ToIntFunction<Pointer> free, Object... kept) {
        this.kind = kind;
        this.pointer = pointer;
        this.free = free;
        this.kept = kept;
        owned = new Owned(owner, this);
        OPEN.add(owned);
    }

    private static void freeLost() {
        for (Reference<?> lost = LOST.poll(); lost != null; lost = LOST.poll()) {
            ((Owned) lost).handle.close();
        }
    }

    /** How many there are that are not freed yet. */
    static int open() {
        return OPEN.size();
    }

    synchronized boolean freed() {
        return pointer == null;
    }

    /** The pointer, which is valid until `done`. */
    Pointer begin() {
        freeLost();
        synchronized (this) {
            if (closed) {
                throw new IllegalStateException("this " + kind + " is closed");
            }
            calls++;
            return pointer;
        }
    }

    void done() {
        synchronized (this) {
            calls--;
            if (!closed || calls > 0) {
                return;
            }
        }
        free();
    }

    int call(ToIntFunction<Pointer> call) {
        Pointer handle = begin();
        try {
            return call.applyAsInt(handle);
        } finally {
            done();
        }
    }

    /** What it keeps: valid between begin and done. */
    Object[] kept() {
        return kept;
    }

    void close() {
        synchronized (this) {
            if (closed) {
                return;
            }
            closed = true;
            if (calls > 0) {
                return;
            }
        }
        free();
    }

    private void free() {
        if (free.applyAsInt(pointer) < 0) {
            // What is still open still looks at what is kept.
            return;
        }
        synchronized (this) {
            pointer = null;
            kept = null;
        }
        OPEN.remove(owned);
    }
}

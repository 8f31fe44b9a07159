package io.github.raspengine.rasp;

import java.util.concurrent.atomic.AtomicReference;

/** An exception of a callback's, which may not pass through C: it is thrown when the call is back. */
final class Thrown {
    private final AtomicReference<Throwable> first = new AtomicReference<>();

    void add(Throwable throwable) {
        first.compareAndSet(null, throwable);
    }

    void rethrow() {
        Throwable throwable = first.getAndSet(null);
        if (throwable != null) {
            Thrown.<RuntimeException>sneak(throwable);
        }
    }

    /** The exception, once; null if there is none. */
    Throwable take() {
        return first.getAndSet(null);
    }

    /** Also one that has to be declared: callbacks of other languages on the virtual machine may throw such. */
    @SuppressWarnings("unchecked")
    static <T extends Throwable> void sneak(Throwable throwable) throws T {
        throw (T) throwable;
    }
}

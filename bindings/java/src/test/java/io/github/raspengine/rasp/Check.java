package io.github.raspengine.rasp;

import java.util.Objects;

/** What the tests say of what they see. */
final class Check {
    private Check() {
    }

    interface Action {
        void run() throws Exception;
    }

    static void that(boolean holds, String what) {
        if (!holds) {
            throw new AssertionError(what);
        }
    }

    static void equal(Object expected, Object found) {
        equal(expected, found, "value");
    }

    static void equal(Object expected, Object found, String what) {
        if (!Objects.deepEquals(expected, found)) {
            throw new AssertionError(what + ": " + found + ", not " + expected);
        }
    }

    static <T extends Throwable> T fails(Class<T> kind, Action action) {
        return fails(kind, "", action);
    }

    static <T extends Throwable> T fails(Class<T> kind, String words, Action action) {
        try {
            action.run();
        } catch (Throwable throwable) {
            if (!kind.isInstance(throwable)) {
                throw new AssertionError("another failure than " + kind.getSimpleName(), throwable);
            }
            String message = String.valueOf(throwable.getMessage());
            that(message.contains(words), "\"" + message + "\" does not say \"" + words + "\"");
            return kind.cast(throwable);
        }
        throw new AssertionError("no " + kind.getSimpleName() + " \"" + words + "\"");
    }

    static void fails(Status status, Action action) {
        equal(status, fails(RaspException.class, action).code());
    }
}

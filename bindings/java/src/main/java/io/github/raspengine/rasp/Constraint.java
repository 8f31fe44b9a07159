package io.github.raspengine.rasp;

import com.sun.jna.Pointer;

/**
 * What an answer may be, shared by any number of sessions of its model; they keep what they need of it when it closes.
 */
public final class Constraint implements AutoCloseable {
    final Handle handle;

    Constraint(Pointer pointer) {
        handle = new Handle(this, "constraint", pointer, Engine.C::rasp_constraint_free);
    }

    @Override
    public void close() {
        handle.close();
    }
}

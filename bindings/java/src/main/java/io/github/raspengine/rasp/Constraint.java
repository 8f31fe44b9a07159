package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;

/**
 * What an answer may be, shared by any number of sessions of its model; they keep what they need of it when it closes.
 */
public final class Constraint implements AutoCloseable {
    final Handle handle;

    private Constraint(Pointer pointer) {
        handle = new Handle(this, "constraint", pointer, Engine.C::rasp_constraint_free);
    }

    static Constraint of(Handle model, ConstraintKind kind, String source) {
        byte[] bytes = Text.bytes(source);
        PointerByReference constraint = new PointerByReference();
        model.call(of -> Call.checked(Engine.C.rasp_constraint_new(of, kind.number, bytes,
            new Capi.SizeT(bytes.length), constraint, Call.error())));
        return new Constraint(constraint.getValue());
    }

    @Override
    public void close() {
        handle.close();
    }
}

package io.github.raspengine.rasp;

/** A token, and whether it ends generation. */
public final class Token {
    public final int id;
    public final boolean end;

    Token(int id, int status) {
        this.id = id;
        this.end = status == Capi.RASP_END;
    }
}

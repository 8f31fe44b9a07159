package io.github.raspengine.rasp;

/** The text that a step of an answer has brought, often none, and whether the answer has ended. */
public final class Piece {
    public final String text;
    public final Ended ended;

    Piece(String text, int ended) {
        this.text = text;
        this.ended = Ended.of(ended);
    }
}

package io.github.raspengine.rasp;

import java.util.Iterator;
import java.util.NoSuchElementException;
import java.util.function.Supplier;

/** The pieces of an answer, of which each is computed when it is asked for. */
final class Pieces implements Iterator<String> {
    private final Supplier<Piece> step;
    private final Supplier<String> finish;
    private int left;
    private boolean done;
    private String next;

    Pieces(Supplier<Piece> step, Supplier<String> finish, int limit) {
        this.step = step;
        this.finish = finish;
        this.left = limit;
    }

    @Override
    public boolean hasNext() {
        while (next == null && !done) {
            String text;
            if (left == 0) {
                done = true;
                // What could still have become a stop string.
                text = finish.get();
            } else {
                Piece piece = step.get();
                left--;
                done = piece.ended != Ended.NOT;
                text = piece.text;
            }
            if (!text.isEmpty()) {
                next = text;
            }
        }
        return next != null;
    }

    @Override
    public String next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        String text = next;
        next = null;
        return text;
    }
}

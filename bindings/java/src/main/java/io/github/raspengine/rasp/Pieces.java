package io.github.raspengine.rasp;

import java.util.Iterator;
import java.util.NoSuchElementException;

/** The pieces of an answer, of which each is computed when it is asked for. */
final class Pieces implements Iterator<String> {
    private final Session session;
    private int left;
    private boolean done;
    private String next;

    Pieces(Session session, int limit) {
        this.session = session;
        this.left = limit;
    }

    @Override
    public boolean hasNext() {
        while (next == null && !done) {
            String text;
            if (left == 0) {
                done = true;
                // What could still have become a stop string.
                text = session.finishText();
            } else {
                Piece piece = session.stepText();
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

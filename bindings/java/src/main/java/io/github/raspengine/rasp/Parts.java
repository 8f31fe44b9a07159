package io.github.raspengine.rasp;

import java.util.Iterator;
import java.util.NoSuchElementException;

/** The parts of an answer, of which each is computed when it is asked for. */
final class Parts implements Iterator<Part> {
    private final Session session;
    private final Reply reply;
    private final Pieces pieces;
    // What the answer is held to, and nothing after it; or null.
    private Constraint constraint;
    private boolean begun;
    private boolean finished;
    private Part next;

    Parts(Session session, Reply reply, Constraint constraint, int limit) {
        this.session = session;
        this.reply = reply;
        this.constraint = constraint;
        pieces = new Pieces(session::stepTextMarked, session::finishText, limit);
    }

    @Override
    public boolean hasNext() {
        if (!begun && constraint != null) {
            session.setConstraint(constraint);
        }
        begun = true;
        boolean fine = false;
        try {
            while (next == null) {
                next = reply.next();
                if (next == null && finished) {
                    break;
                }
                if (next == null && pieces.hasNext()) {
                    reply.push(pieces.next());
                } else if (next == null) {
                    finished = true;
                    reply.finish();
                }
            }
            fine = next != null;
        } finally {
            if (!fine) {
                release();
            }
        }
        return next != null;
    }

    /** Ends what the constraint is set for. */
    void release() {
        if (constraint != null) {
            constraint.close();
            constraint = null;
            if (begun && !session.handle.freed()) {
                session.setConstraint(null);
            }
        }
    }

    @Override
    public Part next() {
        if (!hasNext()) {
            throw new NoSuchElementException();
        }
        Part part = next;
        next = null;
        return part;
    }
}

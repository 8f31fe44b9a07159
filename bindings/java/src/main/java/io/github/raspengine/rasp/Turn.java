package io.github.raspengine.rasp;

import java.util.Iterator;
import java.util.List;

/** What the assistant says, part by part as it comes. To be walked once; closed where it is left in the middle. */
public final class Turn implements Iterable<Part>, AutoCloseable {
    private final Reply reply;
    private final Parts parts;
    private final int kept;

    Turn(Session session, List<ChatMessage> messages, TurnOptions options) {
        ChatOptions chat = options.chat();
        Constraint constraint = options.constraint(session.model());
        reply = new Reply(session.model(), messages, chat);
        kept = session.prefillChat(messages, chat);
        parts = new Parts(session, reply, constraint, options.limit());
    }

    /** How many tokens the session held already. */
    public int kept() {
        return kept;
    }

    @Override
    public Iterator<Part> iterator() {
        return parts;
    }

    /**
     * What it has said, to be put after the messages that it answers. An answer that was left in the middle is what had
     * come of it.
     */
    public ChatMessage message() {
        return reply.message();
    }

    /** Ends a turn that was left in the middle: its tools hold the next answer no more. Its message is gone then. */
    @Override
    public void close() {
        parts.release();
        reply.close();
    }
}

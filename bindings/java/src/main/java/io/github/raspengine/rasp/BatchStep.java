package io.github.raspengine.rasp;

/** What became of one session in a step of several. */
public final class BatchStep {
    /** Why the session has not stepped, or null: a RaspException, or what a callback of its own threw. */
    public final Throwable error;
    private final Token token;

    BatchStep(Token token, Throwable error) {
        this.token = token;
        this.error = error;
    }

    /** Its token; throws its error. */
    public Token token() {
        if (error != null) {
            Thrown.<RuntimeException>sneak(error);
        }
        return token;
    }
}

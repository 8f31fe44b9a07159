package io.github.raspengine.rasp;

/** What became of one session in a step of several. */
public final class BatchStep {
    /** Why the session has not stepped, or null. */
    public final RaspException error;
    private final Token token;

    BatchStep(Token token, RaspException error) {
        this.token = token;
        this.error = error;
    }

    /** Its token; throws its error. */
    public Token token() {
        if (error != null) {
            throw error;
        }
        return token;
    }
}

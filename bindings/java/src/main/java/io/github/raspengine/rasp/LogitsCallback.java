package io.github.raspengine.rasp;

/**
 * Looks at the logits of the next token, one a token of the vocabulary, which it may change, and at the tokens so far.
 * It returns null to have a token sampled from the logits, or the token that it chose. The array of logits is used
 * again for the next token. It must not use the session.
 */
@FunctionalInterface
public interface LogitsCallback {
    Integer choose(float[] logits, int[] tokens);
}

package io.github.raspengine.rasp;

/** A token and the natural logarithm of its probability. */
public final class LogProb {
    public final int token;
    public final float value;

    LogProb(int token, float value) {
        this.token = token;
        this.value = value;
    }
}

package io.github.raspengine.rasp;

/** A call failed; what it was called on is as it was before. */
public final class RaspException extends RuntimeException {
    private static final long serialVersionUID = 1;

    private final int number;

    RaspException(int number, String words) {
        super(words == null ? nameOf(number) : nameOf(number) + ": " + words);
        this.number = number;
    }

    /** Which error it is. */
    public Status code() {
        return Status.of(number);
    }

    /** The error's name, such as "context full". */
    public String name() {
        return nameOf(number);
    }

    private static String nameOf(int number) {
        return Engine.C.rasp_status_name(number);
    }
}

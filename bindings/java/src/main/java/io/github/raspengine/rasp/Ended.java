package io.github.raspengine.rasp;

/** Whether an answer goes on, and else why it ended. */
public enum Ended {
    NOT(Capi.RASP_ENDED_NOT),
    TOKEN(Capi.RASP_ENDED_TOKEN),
    STOP(Capi.RASP_ENDED_STOP),
    CONTEXT(Capi.RASP_ENDED_CONTEXT);

    private final int number;

    Ended(int number) {
        this.number = number;
    }

    static Ended of(int number) {
        for (Ended one : values()) {
            if (one.number == number) {
                return one;
            }
        }
        throw new IllegalStateException("an end that this binding does not know: " + number);
    }
}

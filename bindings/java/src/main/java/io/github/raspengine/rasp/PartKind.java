package io.github.raspengine.rasp;

/** What a part of an answer is: what the assistant says, what it thinks before, or a call of a tool. */
public enum PartKind {
    TEXT(Capi.RASP_PART_TEXT),
    REASONING(Capi.RASP_PART_REASONING),
    CALL(Capi.RASP_PART_CALL);

    private final int number;

    PartKind(int number) {
        this.number = number;
    }

    static PartKind of(int number) {
        for (PartKind kind : values()) {
            if (kind.number == number) {
                return kind;
            }
        }
        throw new IllegalArgumentException("parts of kind " + number + " are not known here");
    }
}

package io.github.raspengine.rasp;

/** What the weights of a model are. */
public enum WeightType {
    BF16(Capi.RASP_WEIGHTS_BF16),
    F16(Capi.RASP_WEIGHTS_F16),
    Q8(Capi.RASP_WEIGHTS_Q8),
    Q4(Capi.RASP_WEIGHTS_Q4),
    Q4S(Capi.RASP_WEIGHTS_Q4S),
    /** One that a newer library has. */
    UNKNOWN(0);

    private final int number;

    WeightType(int number) {
        this.number = number;
    }

    static WeightType of(int number) {
        for (WeightType one : values()) {
            if (one.number == number) {
                return one;
            }
        }
        return UNKNOWN;
    }
}

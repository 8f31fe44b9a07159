package io.github.raspengine.rasp;

/** A stage of sampling. */
public enum Stage {
    TOP_N_SIGMA(Capi.RASP_STAGE_TOP_N_SIGMA),
    TOP_K(Capi.RASP_STAGE_TOP_K),
    TEMPERATURE(Capi.RASP_STAGE_TEMPERATURE),
    TYPICAL(Capi.RASP_STAGE_TYPICAL),
    TOP_P(Capi.RASP_STAGE_TOP_P),
    MIN_P(Capi.RASP_STAGE_MIN_P),
    XTC(Capi.RASP_STAGE_XTC);

    final int number;

    Stage(int number) {
        this.number = number;
    }
}

package io.github.raspengine.rasp;

/**
 * What tokens are guessed by: an earlier match of the last tokens, a constraint that leaves no choice, or the model at a
 * sparser level, for dense sessions in 16 bits.
 */
public enum DraftKind {
    LOOKUP(Capi.RASP_DRAFTS_LOOKUP),
    FORCED(Capi.RASP_DRAFTS_FORCED),
    SELF(Capi.RASP_DRAFTS_SELF);

    final int bit;

    DraftKind(int bit) {
        this.bit = bit;
    }
}

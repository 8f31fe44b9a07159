package io.github.raspengine.rasp;

/** What tokens are guessed by: an earlier match of the last tokens, or a constraint that leaves no choice. */
public enum DraftKind {
    LOOKUP(Capi.RASP_DRAFTS_LOOKUP),
    FORCED(Capi.RASP_DRAFTS_FORCED);

    final int bit;

    DraftKind(int bit) {
        this.bit = bit;
    }
}

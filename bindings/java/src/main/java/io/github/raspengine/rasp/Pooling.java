package io.github.raspengine.rasp;

/** What a text's vector is: the mean of the tokens', or the last one's. */
public enum Pooling {
    MEAN(Capi.RASP_POOL_MEAN),
    LAST(Capi.RASP_POOL_LAST);

    final int number;

    Pooling(int number) {
        this.number = number;
    }
}

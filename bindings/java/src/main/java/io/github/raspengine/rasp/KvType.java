package io.github.raspengine.rasp;

/** How a session caches keys and values: half-precision floats, floats, or 8 bits with scales. */
public enum KvType {
    F16(Capi.RASP_KV_F16),
    F32(Capi.RASP_KV_F32),
    I8(Capi.RASP_KV_I8);

    final int number;

    KvType(int number) {
        this.number = number;
    }
}

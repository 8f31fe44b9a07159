package io.github.raspengine.rasp;

/** What an adapter is: its largest rank, how many linears it adds to, and the bytes that every token reads. */
public final class AdapterInfo {
    public final String name;
    public final int rank;
    public final int linears;
    public final long bytes;

    AdapterInfo(Capi.rasp_adapter_info raw) {
        name = Text.upToNul(raw.name, 0);
        rank = raw.rank;
        linears = raw.linears;
        bytes = raw.bytes;
    }
}

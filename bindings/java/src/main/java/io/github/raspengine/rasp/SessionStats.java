package io.github.raspengine.rasp;

/** What a session has done and what it takes; kept is the share of linear weights that decoded tokens read. */
public final class SessionStats {
    public final int tokens;
    public final int context;
    public final float sparsity;
    public final long memory;
    public final long decodedTokens;
    public final long linearBytesRead;
    public final double kept;
    public final long headBytesRead;
    public final long units;
    public final long lateTokens;
    public final long draftedTokens;
    public final long acceptedTokens;
    /** Bytes that it reads in memory which it shares with forks. */
    public final long sharedBytes;

    SessionStats(Capi.rasp_stats raw) {
        tokens = raw.tokens;
        context = raw.context;
        sparsity = raw.sparsity;
        memory = raw.memory;
        decodedTokens = raw.decoded_tokens;
        linearBytesRead = raw.linear_bytes_read;
        kept = raw.kept;
        headBytesRead = raw.head_bytes_read;
        units = raw.units;
        lateTokens = raw.late_tokens;
        draftedTokens = raw.drafted_tokens;
        acceptedTokens = raw.accepted_tokens;
        sharedBytes = raw.shared_bytes;
    }
}

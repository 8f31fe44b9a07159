using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>What a text's vector is: the mean of the tokens', or the last one's.</summary>
    public enum Pooling
    {
        Mean = Native.RASP_POOL_MEAN,
        Last = Native.RASP_POOL_LAST,
    }

    /// <summary>A token and the natural logarithm of its probability.</summary>
    public readonly struct LogProb
    {
        internal LogProb(int token, float value)
        {
            Token = token;
            Value = value;
        }

        public int Token { get; }
        public float Value { get; }
    }

    // What a session holds.
    public sealed partial class Session
    {
        /// <summary>What the session has done and what it takes.</summary>
        public SessionStats Stats
        {
            get
            {
                var raw = new Native.rasp_stats();
                Native.rasp_stats_init(ref raw);
                Done(Native.rasp_session_get_stats(Handle, ref raw, Call.Error));
                return new SessionStats(raw);
            }
        }

        /// <summary>Starts the counts of Stats anew.</summary>
        public void ClearStats() => Done(Native.rasp_session_clear_stats(Handle, Call.Error));

        /// <summary>Forgets all tokens; settings stay.</summary>
        public void Reset() => Done(Native.rasp_session_reset(Handle, Call.Error));

        /// <summary>Keeps the first tokens and forgets those after them.</summary>
        public void Rewind(int tokens) =>
            Done(Native.rasp_session_rewind(Handle, new UIntPtr(Text.Natural(tokens, nameof(tokens))), Call.Error));

        /// <summary>Forgets tokens after those to keep, which makes room in a full context.</summary>
        public void Shift(int keep, int discard)
        {
            var kept = new UIntPtr(Text.Natural(keep, nameof(keep)));
            var discarded = new UIntPtr(Text.Natural(discard, nameof(discard)));
            Done(Native.rasp_session_shift(Handle, kept, discarded, Call.Error));
        }

        /// <summary>What the session holds, for Restore into one of the same model.</summary>
        public byte[] Save() => Call.Filled(0, (byte[] room, UIntPtr capacity, out UIntPtr size) =>
            Native.rasp_session_save(Handle, room, capacity, out size, Call.Error));

        /// <summary>Makes the session hold what was saved, and go on as the saved one would have.</summary>
        public void Restore(byte[] state)
        {
            if (state == null) throw new ArgumentNullException(nameof(state));
            Done(Native.rasp_session_restore(Handle, state, Text.Size(state.Length), Call.Error));
        }

        /// <summary>A second session that goes on as this one would; null: with this one's options.</summary>
        public Session Fork(SessionOptions options = null)
        {
            SessionHandle own = Handle;
            bool held = false;
            try
            {
                own.DangerousAddRef(ref held);
                return Opened(options, own.Model, own.Adapters,
                    (Native.rasp_session_options[] raw, out IntPtr fork, byte[] error) =>
                        Native.rasp_session_fork(own, raw, out fork, error));
            }
            finally
            {
                if (held) own.DangerousRelease();
            }
        }

        /// <summary>A copy of the logits after the last token that passed, one a token of the vocabulary.</summary>
        public float[] Logits()
        {
            SessionHandle own = Handle;
            bool held = false;
            try
            {
                // They are the session's, and valid until its next call.
                own.DangerousAddRef(ref held);
                Done(Native.rasp_logits(own, out IntPtr logits, out UIntPtr count, Call.Error));
                var copy = new float[Text.Size(count)];
                Marshal.Copy(logits, copy, 0, copy.Length);
                return copy;
            }
            finally
            {
                if (held) own.DangerousRelease();
            }
        }

        /// <summary>How likely the model finds a token after the last one that passed, by its own logits; after a step
        /// that is the token that came.</summary>
        public float LogProb(int token)
        {
            Done(Native.rasp_log_probs(Handle, token, out float value, null, UIntPtr.Zero, Call.Error));
            return value;
        }

        /// <summary>The likeliest tokens there, the likeliest first.</summary>
        public LogProb[] Likeliest(int count)
        {
            var raw = new Native.rasp_log_prob[Text.Natural(count, nameof(count))];
            Done(Native.rasp_log_probs(Handle, 0, out float _, raw, Text.Size(raw.Length), Call.Error));
            return Array.ConvertAll(raw, one => new LogProb(one.token, one.log_prob));
        }

        /// <summary>One vector of the tokens. The session must hold none, and holds none afterwards.</summary>
        public float[] Embed(IReadOnlyList<int> tokens, Pooling pooling = Pooling.Mean, bool normalise = true)
        {
            int[] ids = Text.Listed(tokens, nameof(tokens));
            uint flags = normalise ? (uint)Native.RASP_EMBED_NORMALISE : 0;
            return Call.Filled(0, (float[] vector, UIntPtr capacity, out UIntPtr size) => Native.rasp_embed(Handle, ids,
                Text.Size(ids.Length), checked((uint)pooling), flags, vector, capacity, out size, Call.Error));
        }
    }
}

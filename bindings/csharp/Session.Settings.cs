using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>What tokens are guessed by: an earlier match of the last tokens, a constraint that leaves no choice, or
    /// the model at a sparser level, for dense sessions in 16 bits.</summary>
    [Flags]
    public enum DraftKinds
    {
        None = 0,
        Lookup = Native.RASP_DRAFTS_LOOKUP,
        Forced = Native.RASP_DRAFTS_FORCED,
        Self = Native.RASP_DRAFTS_SELF,
    }

    // How a session goes on.
    public sealed partial class Session
    {
        /// <summary>How sparse decoded tokens are from now on: 0 is dense, up to the model's MaxSparsity.</summary>
        public void SetSparsity(float sparsity) =>
            Done(Native.rasp_session_set_sparsity(Handle, sparsity, Call.Error));

        /// <summary>How tokens are chosen from now on; null: greedily.</summary>
        public void SetSampling(Sampling sampling)
        {
            Native.rasp_sampling raw = (sampling ?? new Sampling()).Raw();
            Done(Native.rasp_session_set_sampling(Handle, ref raw, Call.Error));
        }

        /// <summary>What is added to the logits of tokens from now on: negative infinity forbids one; null or nothing
        /// clears all.</summary>
        public void SetLogitBias(IEnumerable<KeyValuePair<int, float>> biases)
        {
            var raw = new List<Native.rasp_logit_bias>();
            foreach (KeyValuePair<int, float> one in biases ?? new KeyValuePair<int, float>[0])
            {
                raw.Add(new Native.rasp_logit_bias { token = one.Key, bias = one.Value });
            }
            Done(Native.rasp_session_set_logit_bias(Handle, raw.ToArray(), Text.Size(raw.Count), Call.Error));
        }

        /// <summary>Has a function look at the logits before every sampled token; null ends that. What it throws comes
        /// out of the step, which has appended nothing then.</summary>
        public void SetLogitsCallback(LogitsCallback callback)
        {
            SessionHandle own = Handle;
            Done(Native.rasp_session_set_logits_callback(own, callback == null ? null : LogitsHook.Entry,
                own.Hook.Context, Call.Error));
            hook.Callback = callback;
        }

        /// <summary>Has every answer from now on obey a constraint of this session's model; null ends that. An answer
        /// begins with this call, and anew with each prefill and reset.</summary>
        public void SetConstraint(Constraint constraint) => Done(Native.rasp_session_set_constraint(Handle,
            constraint == null ? ConstraintHandle.None : constraint.Handle, Call.Error));

        /// <summary>What ends an answer from now on, besides the model; it is not part of the text.</summary>
        public void SetStop(params string[] strings)
        {
            if (strings == null) throw new ArgumentNullException(nameof(strings));
            using (var texts = new Outside())
            {
                IntPtr[] raw = Array.ConvertAll(strings, one => texts.Of(Text.Terminated(one, nameof(strings))));
                Done(Native.rasp_session_set_stop(Handle, raw, Text.Size(raw.Length), Call.Error));
            }
        }

        /// <summary>What the next tokens are guessed by, at most so many at a time, and the tokens of a text that
        /// answers may quote, or null.</summary>
        public void SetDrafts(DraftKinds kinds, int most, IReadOnlyList<int> text = null)
        {
            int[] ids = text == null ? new int[0] : Text.Listed(text, nameof(text));
            Done(Native.rasp_session_set_drafts(Handle, checked((uint)kinds), Text.Natural(most, nameof(most)), ids,
                Text.Size(ids.Length), Call.Error));
        }

        /// <summary>Has every token take no more than so long, by a sparsity between these; zero ends that.</summary>
        public void SetDeadline(TimeSpan perToken, float minSparsity, float maxSparsity) =>
            Done(Native.rasp_session_set_deadline(Handle, Text.Nanoseconds(perToken, nameof(perToken)), minSparsity,
                maxSparsity, Call.Error));
    }
}

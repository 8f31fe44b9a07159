using System;
using System.Collections.Generic;

namespace Rasp
{
    /// <summary>A stage of sampling.</summary>
    public enum Stage
    {
        TopNSigma = Native.RASP_STAGE_TOP_N_SIGMA,
        TopK = Native.RASP_STAGE_TOP_K,
        Temperature = Native.RASP_STAGE_TEMPERATURE,
        Typical = Native.RASP_STAGE_TYPICAL,
        TopP = Native.RASP_STAGE_TOP_P,
        MinP = Native.RASP_STAGE_MIN_P,
        Xtc = Native.RASP_STAGE_XTC,
    }

    /// <summary>How the next token is chosen; at first greedily. Penalties come first, then the stages in their order,
    /// then mirostat, and a draw.</summary>
    public sealed class Sampling
    {
        /// <summary>Divides the logits; 0 is greedy.</summary>
        public float Temperature { get; set; }

        /// <summary>Only so many of the largest logits stay; 0: all.</summary>
        public int TopK { get; set; }

        /// <summary>Only the fewest tokens whose probabilities sum to at least this stay; 1: all.</summary>
        public float TopP { get; set; } = 1;

        /// <summary>Only tokens at least this times as likely as the likeliest stay; 0: all.</summary>
        public float MinP { get; set; }

        /// <summary>Logits of recent tokens are divided by this if positive, multiplied if negative; 1: none.</summary>
        public float RepetitionPenalty { get; set; } = 1;

        /// <summary>How many of the latest tokens are recent.</summary>
        public int RepetitionWindow { get; set; } = 64;

        /// <summary>Where the random numbers start.</summary>
        public ulong Seed { get; set; }

        /// <summary>Taken from the logit of every recent token.</summary>
        public float PresencePenalty { get; set; }

        /// <summary>Taken from it as often as the token came among the recent ones.</summary>
        public float FrequencyPenalty { get; set; }

        /// <summary>Only tokens whose logits are within so many standard deviations of the largest stay; 0:
        /// all.</summary>
        public float TopNSigma { get; set; }

        /// <summary>Only tokens whose surprise is nearest to the expected one stay, with at least this probability; 1:
        /// all.</summary>
        public float TypicalP { get; set; } = 1;

        /// <summary>How likely the top choices are excluded; 0: never.</summary>
        public float XtcProbability { get; set; }

        /// <summary>Tokens with at least this probability are top choices.</summary>
        public float XtcThreshold { get; set; } = 0.1f;

        /// <summary>How much a token loses that makes a repetition longer; 0: nothing.</summary>
        public float DryMultiplier { get; set; }

        /// <summary>How fast that grows with the repetition.</summary>
        public float DryBase { get; set; } = 1.75f;

        /// <summary>Tokens that may be repeated.</summary>
        public int DryAllowedLength { get; set; } = 2;

        /// <summary>In how many of the latest tokens repetitions are looked for; null: all.</summary>
        public int? DryWindow { get; set; }

        /// <summary>The surprise a token should have, in bits; 0: off.</summary>
        public float MirostatTau { get; set; }

        /// <summary>How fast mirostat's bound follows.</summary>
        public float MirostatEta { get; set; } = 0.1f;

        /// <summary>Stages that come before the others, which keep the order of their numbers; null: none.</summary>
        public IReadOnlyList<Stage> Order { get; set; }

        internal Native.rasp_sampling Raw()
        {
            var raw = new Native.rasp_sampling();
            Native.rasp_sampling_init(ref raw);
            raw.temperature = Temperature;
            raw.top_k = Text.Natural(TopK, nameof(TopK));
            raw.top_p = TopP;
            raw.min_p = MinP;
            raw.repetition_penalty = RepetitionPenalty;
            raw.repetition_window = Text.Natural(RepetitionWindow, nameof(RepetitionWindow));
            raw.seed = Seed;
            raw.presence_penalty = PresencePenalty;
            raw.frequency_penalty = FrequencyPenalty;
            raw.top_n_sigma = TopNSigma;
            raw.typical_p = TypicalP;
            raw.xtc_probability = XtcProbability;
            raw.xtc_threshold = XtcThreshold;
            raw.dry_multiplier = DryMultiplier;
            raw.dry_base = DryBase;
            raw.dry_allowed_length = Text.Natural(DryAllowedLength, nameof(DryAllowedLength));
            if (DryWindow.HasValue) raw.dry_window = Text.Natural(DryWindow.Value, nameof(DryWindow));
            raw.mirostat_tau = MirostatTau;
            raw.mirostat_eta = MirostatEta;
            if (Order == null) return raw;
            if (Order.Count >= raw.order.Length)
            {
                throw new ArgumentException("more stages than there are", nameof(Order));
            }
            for (int n = 0; n < Order.Count; n++) raw.order[n] = checked((byte)Order[n]);
            return raw;
        }
    }
}

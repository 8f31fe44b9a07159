package io.github.raspengine.rasp;

/**
 * How the next token is chosen; at first greedily. Penalties come first, then the stages in their order, then mirostat,
 * and a draw.
 */
public final class Sampling {
    private float temperature;
    private int topK;
    private float topP = 1;
    private float minP;
    private float repetitionPenalty = 1;
    private int repetitionWindow = 64;
    private long seed;
    private float presencePenalty;
    private float frequencyPenalty;
    private float topNSigma;
    private float typicalP = 1;
    private float xtcProbability;
    private float xtcThreshold = 0.1f;
    private float dryMultiplier;
    private float dryBase = 1.75f;
    private int dryAllowedLength = 2;
    // As a number without a sign: the most there is.
    private int dryWindow = -1;
    private float mirostatTau;
    private float mirostatEta = 0.1f;
    private Stage[] order = {};

    /** Divides the logits; 0 is greedy. */
    public Sampling temperature(float value) {
        temperature = value;
        return this;
    }

    /** Only so many of the largest logits stay; 0: all. */
    public Sampling topK(int value) {
        topK = Text.natural(value, "topK");
        return this;
    }

    /** Only the fewest tokens whose probabilities sum to at least this stay; 1: all. */
    public Sampling topP(float value) {
        topP = value;
        return this;
    }

    /** Only tokens at least this times as likely as the likeliest stay; 0: all. */
    public Sampling minP(float value) {
        minP = value;
        return this;
    }

    /** Logits of recent tokens are divided by this if positive, multiplied if negative; 1: none. */
    public Sampling repetitionPenalty(float value) {
        repetitionPenalty = value;
        return this;
    }

    /** How many of the latest tokens are recent. */
    public Sampling repetitionWindow(int value) {
        repetitionWindow = Text.natural(value, "repetitionWindow");
        return this;
    }

    /** Where the random numbers start. */
    public Sampling seed(long value) {
        seed = value;
        return this;
    }

    /** Taken from the logit of every recent token. */
    public Sampling presencePenalty(float value) {
        presencePenalty = value;
        return this;
    }

    /** Taken from it as often as the token came among the recent ones. */
    public Sampling frequencyPenalty(float value) {
        frequencyPenalty = value;
        return this;
    }

    /** Only tokens whose logits are within so many standard deviations of the largest stay; 0: all. */
    public Sampling topNSigma(float value) {
        topNSigma = value;
        return this;
    }

    /** Only tokens whose surprise is nearest to the expected one stay, with at least this probability; 1: all. */
    public Sampling typicalP(float value) {
        typicalP = value;
        return this;
    }

    /** How likely the top choices are excluded; 0: never. */
    public Sampling xtcProbability(float value) {
        xtcProbability = value;
        return this;
    }

    /** Tokens with at least this probability are top choices. */
    public Sampling xtcThreshold(float value) {
        xtcThreshold = value;
        return this;
    }

    /** How much a token loses that makes a repetition longer; 0: nothing. */
    public Sampling dryMultiplier(float value) {
        dryMultiplier = value;
        return this;
    }

    /** How fast that grows with the repetition. */
    public Sampling dryBase(float value) {
        dryBase = value;
        return this;
    }

    /** Tokens that may be repeated. */
    public Sampling dryAllowedLength(int value) {
        dryAllowedLength = Text.natural(value, "dryAllowedLength");
        return this;
    }

    /** In how many of the latest tokens repetitions are looked for; at first all. */
    public Sampling dryWindow(int value) {
        dryWindow = Text.natural(value, "dryWindow");
        return this;
    }

    /** The surprise a token should have, in bits; 0: off. */
    public Sampling mirostatTau(float value) {
        mirostatTau = value;
        return this;
    }

    /** How fast mirostat's bound follows. */
    public Sampling mirostatEta(float value) {
        mirostatEta = value;
        return this;
    }

    /** Stages that come before the others, which keep the order of their numbers. */
    public Sampling order(Stage... value) {
        if (value.length > Stage.values().length) {
            throw new IllegalArgumentException("more stages than there are");
        }
        order = value.clone();
        return this;
    }

    Capi.rasp_sampling raw() {
        Capi.rasp_sampling raw = new Capi.rasp_sampling();
        Engine.C.rasp_sampling_init_2(raw);
        raw.temperature = temperature;
        raw.top_k = topK;
        raw.top_p = topP;
        raw.min_p = minP;
        raw.repetition_penalty = repetitionPenalty;
        raw.repetition_window = repetitionWindow;
        raw.seed = seed;
        raw.presence_penalty = presencePenalty;
        raw.frequency_penalty = frequencyPenalty;
        raw.top_n_sigma = topNSigma;
        raw.typical_p = typicalP;
        raw.xtc_probability = xtcProbability;
        raw.xtc_threshold = xtcThreshold;
        raw.dry_multiplier = dryMultiplier;
        raw.dry_base = dryBase;
        raw.dry_allowed_length = dryAllowedLength;
        raw.dry_window = dryWindow;
        raw.mirostat_tau = mirostatTau;
        raw.mirostat_eta = mirostatEta;
        for (int n = 0; n < order.length; n++) {
            raw.order[n] = (byte) order[n].number;
        }
        return raw;
    }
}

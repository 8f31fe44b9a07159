package io.github.raspengine.rasp;

/** What a model is; sizes of weights in bytes. */
public final class ModelInfo {
    public final String architecture;
    public final String name;
    public final int vocabSize;
    public final int hiddenSize;
    public final int intermediateSize;
    public final int numLayers;
    public final int numHeads;
    public final int numKvHeads;
    public final int headDim;
    public final int contextLength;
    public final WeightType weightType;
    public final float maxSparsity;
    public final float defaultSparsity;
    public final int numRungs;
    /** The token that begins a text, or null. */
    public final Integer bosToken;
    public final long fileSize;
    public final long linearBytes;
    public final long headBytes;

    ModelInfo(Capi.rasp_model_info raw) {
        architecture = Text.upToNul(raw.architecture, 0);
        name = Text.upToNul(raw.name, 0);
        vocabSize = raw.vocab_size;
        hiddenSize = raw.hidden_size;
        intermediateSize = raw.intermediate_size;
        numLayers = raw.num_layers;
        numHeads = raw.num_heads;
        numKvHeads = raw.num_kv_heads;
        headDim = raw.head_dim;
        contextLength = raw.context_length;
        weightType = WeightType.of(raw.weight_type);
        maxSparsity = raw.max_sparsity;
        defaultSparsity = raw.default_sparsity;
        numRungs = raw.num_rungs;
        bosToken = raw.bos_token < 0 ? null : raw.bos_token;
        fileSize = raw.file_size;
        linearBytes = raw.linear_bytes;
        headBytes = raw.head_bytes;
    }
}

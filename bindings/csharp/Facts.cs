namespace Rasp
{
    /// <summary>What the weights of a model are.</summary>
    public enum WeightType
    {
        BF16 = Native.RASP_WEIGHTS_BF16,
        F16 = Native.RASP_WEIGHTS_F16,
        Q8 = Native.RASP_WEIGHTS_Q8,
        Q4 = Native.RASP_WEIGHTS_Q4,
        Q4S = Native.RASP_WEIGHTS_Q4S,
    }

    /// <summary>What a model is; sizes of weights in bytes.</summary>
    public sealed class ModelInfo
    {
        internal ModelInfo(Native.rasp_model_info raw)
        {
            Architecture = Text.Of(raw.architecture, 0, raw.architecture.Length);
            Name = Text.Of(raw.name, 0, raw.name.Length);
            VocabSize = (int)raw.vocab_size;
            HiddenSize = (int)raw.hidden_size;
            IntermediateSize = (int)raw.intermediate_size;
            NumLayers = (int)raw.num_layers;
            NumHeads = (int)raw.num_heads;
            NumKvHeads = (int)raw.num_kv_heads;
            HeadDim = (int)raw.head_dim;
            ContextLength = (int)raw.context_length;
            WeightType = (WeightType)raw.weight_type;
            MaxSparsity = raw.max_sparsity;
            DefaultSparsity = raw.default_sparsity;
            NumRungs = (int)raw.num_rungs;
            BosToken = raw.bos_token < 0 ? null : (int?)raw.bos_token;
            FileSize = (long)raw.file_size;
            LinearBytes = (long)raw.linear_bytes;
            HeadBytes = (long)raw.head_bytes;
        }

        public string Architecture { get; }
        public string Name { get; }
        public int VocabSize { get; }
        public int HiddenSize { get; }
        public int IntermediateSize { get; }
        public int NumLayers { get; }
        public int NumHeads { get; }
        public int NumKvHeads { get; }
        public int HeadDim { get; }
        public int ContextLength { get; }
        public WeightType WeightType { get; }
        public float MaxSparsity { get; }
        public float DefaultSparsity { get; }
        public int NumRungs { get; }
        public int? BosToken { get; }
        public long FileSize { get; }
        public long LinearBytes { get; }
        public long HeadBytes { get; }
    }

    /// <summary>The memory that a session will take, in bytes; its parts sum to Size.</summary>
    public sealed class MemoryPlan
    {
        internal MemoryPlan(Native.rasp_memory_plan raw)
        {
            Alignment = (int)raw.alignment;
            Context = (int)raw.context;
            Batch = (int)raw.batch;
            Size = (long)raw.size;
            KvCache = (long)raw.kv_cache;
            Activations = (long)raw.activations;
            Sampling = (long)raw.sampling;
            Bookkeeping = (long)raw.bookkeeping;
        }

        public int Alignment { get; }
        public int Context { get; }
        public int Batch { get; }
        public long Size { get; }
        public long KvCache { get; }
        public long Activations { get; }
        public long Sampling { get; }
        public long Bookkeeping { get; }
    }

    /// <summary>What a session has done and what it takes; Kept is the share of linear weights that decoded tokens
    /// read.</summary>
    public sealed class SessionStats
    {
        internal SessionStats(Native.rasp_stats raw)
        {
            Tokens = raw.tokens;
            Context = (int)raw.context;
            Sparsity = raw.sparsity;
            Memory = (long)raw.memory;
            DecodedTokens = (long)raw.decoded_tokens;
            LinearBytesRead = (long)raw.linear_bytes_read;
            Kept = raw.kept;
            HeadBytesRead = (long)raw.head_bytes_read;
            Units = (long)raw.units;
            LateTokens = (long)raw.late_tokens;
            DraftedTokens = (long)raw.drafted_tokens;
            AcceptedTokens = (long)raw.accepted_tokens;
            SharedBytes = (long)raw.shared_bytes;
        }

        public int Tokens { get; }
        public int Context { get; }
        public float Sparsity { get; }
        public long Memory { get; }
        public long DecodedTokens { get; }
        public long LinearBytesRead { get; }
        public double Kept { get; }
        public long HeadBytesRead { get; }
        public long Units { get; }
        public long LateTokens { get; }
        public long DraftedTokens { get; }
        public long AcceptedTokens { get; }

        /// <summary>Bytes that it reads in memory which it shares with forks.</summary>
        public long SharedBytes { get; }
    }
}

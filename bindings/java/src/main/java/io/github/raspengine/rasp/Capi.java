// Functions, constants and structs of rasp.h, under its names. Made by bindings/generate.py from that: change neither
// here. What each does is said there; whole numbers without a sign are those of their size with one.

package io.github.raspengine.rasp;

import com.sun.jna.Callback;
import com.sun.jna.IntegerType;
import com.sun.jna.Library;
import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.Structure;
import com.sun.jna.ptr.ByReference;
import com.sun.jna.ptr.FloatByReference;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.PointerByReference;

interface Capi extends Library {
    // JNA makes these itself, too: what it needs for that is public.
    final class SizeT extends IntegerType {
        private static final long serialVersionUID = 1;

        public SizeT() {
            this(0);
        }

        SizeT(long value) {
            super(Native.SIZE_T_SIZE, value, true);
        }

        public static final class Ref extends ByReference {
            public Ref() {
                super(Native.SIZE_T_SIZE);
            }

            long value() {
                Pointer place = getPointer();
                return Native.SIZE_T_SIZE == 8 ? place.getLong(0) : place.getInt(0) & 0xffffffffL;
            }
        }
    }

    int RASP_ADAPTERS_MAX = 8;
    int RASP_STOP_MAX = 16;
    int RASP_STOP_MAX_BYTES = 1024;
    int RASP_STEP_TEXT_SIZE = 4160;
    int RASP_TEXT_SHOW_SPECIAL = 1;
    int RASP_TEXT_SHOW_MARKS = 2;
    int RASP_ENDED_NOT = 0;
    int RASP_ENDED_TOKEN = 1;
    int RASP_ENDED_STOP = 2;
    int RASP_ENDED_CONTEXT = 3;
    int RASP_CONSTRAINT_JSON_SCHEMA = 0;
    int RASP_CONSTRAINT_REGEX = 1;
    int RASP_CONSTRAINT_GRAMMAR = 2;
    int RASP_CONSTRAINT_TOOLS = 3;
    int RASP_DRAFTS_MAX = 7;
    int RASP_DRAFTS_LOOKUP = 1;
    int RASP_DRAFTS_FORCED = 2;
    int RASP_DRAFTS_SELF = 4;
    int RASP_POOL_MEAN = 0;
    int RASP_POOL_LAST = 1;
    int RASP_EMBED_NORMALISE = 1;
    int RASP_ERROR_MESSAGE_SIZE = 252;
    int RASP_WEIGHTS_BF16 = 1;
    int RASP_WEIGHTS_F16 = 2;
    int RASP_WEIGHTS_Q8 = 3;
    int RASP_WEIGHTS_Q4 = 4;
    int RASP_WEIGHTS_Q4S = 5;
    int RASP_MAX_HEADER_BYTES = 16777216;
    int RASP_MAX_TEMPLATE_BYTES = 262144;
    int RASP_STACK_BYTES = 65536;
    int RASP_LOG_ERROR = 1;
    int RASP_LOG_WARNING = 2;
    int RASP_LOG_INFO = 3;
    int RASP_LOG_DEBUG = 4;
    int RASP_PART_TEXT = 1;
    int RASP_PART_REASONING = 2;
    int RASP_PART_CALL = 3;
    int RASP_STAGE_TOP_N_SIGMA = 1;
    int RASP_STAGE_TOP_K = 2;
    int RASP_STAGE_TEMPERATURE = 3;
    int RASP_STAGE_TYPICAL = 4;
    int RASP_STAGE_TOP_P = 5;
    int RASP_STAGE_MIN_P = 6;
    int RASP_STAGE_XTC = 7;
    int RASP_LOGIT_BIAS_MAX = 256;
    int RASP_LOGITS_SAMPLE = -1;
    int RASP_KV_F16 = 0;
    int RASP_KV_F32 = 1;
    int RASP_KV_I8 = 2;
    int RASP_TOKENIZE_ADD_SPECIAL = 1;
    int RASP_TOKENIZE_PARSE_SPECIAL = 2;
    int RASP_DETOKENIZE_SKIP_SPECIAL = 1;
    int RASP_TEXT_STREAM_EXTRA = 9;
    int RASP_OK = 0;
    int RASP_END = 1;
    int RASP_PENDING = 2;
    int RASP_ERROR_INVALID_ARGUMENT = -1;
    int RASP_ERROR_IO = -2;
    int RASP_ERROR_BAD_FILE = -3;
    int RASP_ERROR_UNSUPPORTED_VERSION = -4;
    int RASP_ERROR_UNSUPPORTED = -5;
    int RASP_ERROR_OUT_OF_RANGE = -6;
    int RASP_ERROR_CONTEXT_FULL = -7;
    int RASP_ERROR_BUFFER_TOO_SMALL = -8;
    int RASP_ERROR_NON_FINITE = -9;
    int RASP_ERROR_CANCELLED = -10;
    int RASP_ERROR_OUT_OF_MEMORY = -11;
    int RASP_ERROR_INVALID_STATE = -12;
    int RASP_ERROR_INVALID_UTF8 = -13;
    int RASP_ERROR_TEMPLATE = -14;
    int RASP_ERROR_INTERNAL = -15;
    int RASP_ERROR_BAD_STATE = -16;

    interface rasp_log_callback extends Callback {
        void invoke(Pointer context, int level, Pointer message);
    }

    interface rasp_run_callback extends Callback {
        void invoke(Pointer context, Pointer job, Pointer data, int parts);
    }

    interface rasp_logits_callback extends Callback {
        int invoke(Pointer context, Pointer logits, SizeT vocab_size, Pointer tokens, SizeT token_count);
    }

    @Structure.FieldOrder({"struct_size", "rank", "linears", "reserved", "bytes", "name"})
    final class rasp_adapter_info extends Structure {
        public int struct_size;
        public int rank;
        public int linears;
        public int reserved;
        public long bytes;
        public byte[] name = new byte[96];
    }

    @Structure.FieldOrder({"struct_size", "add_generation_prompt", "variables", "variables_length", "time"})
    final class rasp_chat_options extends Structure {
        public int struct_size;
        public int add_generation_prompt;
        public Pointer variables;
        public SizeT variables_length;
        public long time;
    }

    @Structure.FieldOrder({"role", "role_length", "content", "content_length", "fields", "fields_length"})
    final class rasp_chat_message extends Structure {
        public Pointer role;
        public SizeT role_length;
        public Pointer content;
        public SizeT content_length;
        public Pointer fields;
        public SizeT fields_length;
    }

    @Structure.FieldOrder({"role", "content"})
    final class rasp_message extends Structure {
        public Pointer role;
        public Pointer content;
    }

    @Structure.FieldOrder({"struct_size", "verify", "lock", "log_level", "log", "log_context", "large_pages",
        "reserved"})
    final class rasp_load_options extends Structure {
        public int struct_size;
        public int verify;
        public int lock;
        public int log_level;
        public rasp_log_callback log;
        public Pointer log_context;
        public int large_pages;
        public int reserved;
    }

    @Structure.FieldOrder({"struct_size", "vocab_size", "hidden_size", "intermediate_size", "num_layers", "num_heads",
        "num_kv_heads", "head_dim", "context_length", "weight_type", "max_sparsity", "default_sparsity", "num_rungs",
        "bos_token", "file_size", "linear_bytes", "head_bytes", "architecture", "name"})
    final class rasp_model_info extends Structure {
        public int struct_size;
        public int vocab_size;
        public int hidden_size;
        public int intermediate_size;
        public int num_layers;
        public int num_heads;
        public int num_kv_heads;
        public int head_dim;
        public int context_length;
        public int weight_type;
        public float max_sparsity;
        public float default_sparsity;
        public int num_rungs;
        public int bos_token;
        public long file_size;
        public long linear_bytes;
        public long head_bytes;
        public byte[] architecture = new byte[32];
        public byte[] name = new byte[96];
    }

    @Structure.FieldOrder({"struct_size", "alignment", "context", "batch", "size", "kv_cache", "activations",
        "sampling", "bookkeeping"})
    final class rasp_memory_plan extends Structure {
        public int struct_size;
        public int alignment;
        public int context;
        public int batch;
        public long size;
        public long kv_cache;
        public long activations;
        public long sampling;
        public long bookkeeping;
    }

    @Structure.FieldOrder({"struct_size", "context", "threads", "batch", "kv_type", "windows_alone", "memory",
        "memory_size", "run", "run_context", "cpus", "spin_ns", "drafts", "adapter_rank"})
    final class rasp_session_options extends Structure {
        public int struct_size;
        public int context;
        public int threads;
        public int batch;
        public int kv_type;
        public int windows_alone;
        public Pointer memory;
        public SizeT memory_size;
        public rasp_run_callback run;
        public Pointer run_context;
        public long cpus;
        public long spin_ns;
        public int drafts;
        public int adapter_rank;
    }

    @Structure.FieldOrder({"kind", "reserved", "text", "text_length", "name", "name_length", "id", "id_length"})
    final class rasp_reply_part extends Structure {
        public int kind;
        public int reserved;
        public Pointer text;
        public SizeT text_length;
        public Pointer name;
        public SizeT name_length;
        public Pointer id;
        public SizeT id_length;
    }

    @Structure.FieldOrder({"struct_size", "temperature", "top_k", "top_p", "min_p", "repetition_penalty",
        "repetition_window", "reserved", "seed", "presence_penalty", "frequency_penalty", "top_n_sigma", "typical_p",
        "xtc_probability", "xtc_threshold", "dry_multiplier", "dry_base", "dry_allowed_length", "dry_window",
        "mirostat_tau", "mirostat_eta", "order"})
    final class rasp_sampling extends Structure {
        public int struct_size;
        public float temperature;
        public int top_k;
        public float top_p;
        public float min_p;
        public float repetition_penalty;
        public int repetition_window;
        public int reserved;
        public long seed;
        public float presence_penalty;
        public float frequency_penalty;
        public float top_n_sigma;
        public float typical_p;
        public float xtc_probability;
        public float xtc_threshold;
        public float dry_multiplier;
        public float dry_base;
        public int dry_allowed_length;
        public int dry_window;
        public float mirostat_tau;
        public float mirostat_eta;
        public byte[] order = new byte[8];
    }

    @Structure.FieldOrder({"token", "bias"})
    final class rasp_logit_bias extends Structure {
        public int token;
        public float bias;
    }

    @Structure.FieldOrder({"token", "log_prob"})
    final class rasp_log_prob extends Structure {
        public int token;
        public float log_prob;
    }

    @Structure.FieldOrder({"struct_size", "tokens", "context", "sparsity", "memory", "decoded_tokens",
        "linear_bytes_read", "kept", "head_bytes_read", "units", "late_tokens", "drafted_tokens", "accepted_tokens",
        "shared_bytes"})
    final class rasp_stats extends Structure {
        public int struct_size;
        public int tokens;
        public int context;
        public float sparsity;
        public long memory;
        public long decoded_tokens;
        public long linear_bytes_read;
        public double kept;
        public long head_bytes_read;
        public long units;
        public long late_tokens;
        public long drafted_tokens;
        public long accepted_tokens;
        public long shared_bytes;
    }

    @Structure.FieldOrder({"pending", "length"})
    final class rasp_text_stream extends Structure {
        public byte[] pending = new byte[3];
        public byte length;
    }

    int rasp_abi_version();

    int rasp_adapter_free(Pointer adapter);

    int rasp_adapter_get_info(Pointer adapter, rasp_adapter_info info, byte[] error);

    void rasp_adapter_info_init(rasp_adapter_info info);

    int rasp_adapter_load(Pointer model, byte[] path, PointerByReference adapter, byte[] error);

    int rasp_adapter_load_bytes(Pointer model, Pointer data, SizeT size, PointerByReference adapter, byte[] error);

    int rasp_adapter_load_fd(Pointer model, long file, long offset, long length, PointerByReference adapter,
        byte[] error);

    void rasp_cancel(Pointer session);

    int rasp_chat_format(Pointer model, rasp_message[] messages, SizeT count, int add_generation_prompt, byte[] text,
        SizeT capacity, SizeT.Ref length, byte[] error);

    void rasp_chat_options_init(rasp_chat_options options);

    int rasp_chat_prefill(Pointer session, rasp_chat_message[] messages, SizeT count, rasp_chat_options options,
        SizeT.Ref kept, byte[] error);

    int rasp_chat_prefill_begin(Pointer session, rasp_chat_message[] messages, SizeT count, rasp_chat_options options,
        SizeT.Ref kept, byte[] error);

    int rasp_chat_text(Pointer model, rasp_chat_message[] messages, SizeT count, rasp_chat_options options, byte[] text,
        SizeT capacity, SizeT.Ref length, byte[] error);

    int rasp_chat_tokenize(Pointer model, rasp_chat_message[] messages, SizeT count, rasp_chat_options options,
        int[] tokens, SizeT capacity, SizeT.Ref found, byte[] error);

    int rasp_constraint_free(Pointer constraint);

    int rasp_constraint_new(Pointer model, int kind, byte[] source, SizeT length, PointerByReference constraint,
        byte[] error);

    int rasp_decode(Pointer session, int token, byte[] error);

    int rasp_detokenize(Pointer model, int[] tokens, SizeT count, int flags, byte[] text, SizeT capacity,
        SizeT.Ref length, byte[] error);

    int rasp_embed(Pointer session, int[] tokens, SizeT count, int pooling, int flags, float[] vector, SizeT capacity,
        SizeT.Ref size, byte[] error);

    int rasp_finish_text(Pointer session, byte[] text, SizeT capacity, SizeT.Ref length, byte[] error);

    int rasp_free(Pointer model);

    int rasp_load(byte[] path, rasp_load_options options, PointerByReference model, byte[] error);

    int rasp_load_bytes(Pointer data, SizeT size, rasp_load_options options, PointerByReference model, byte[] error);

    int rasp_load_fd(long file, long offset, long length, rasp_load_options options, PointerByReference model,
        byte[] error);

    void rasp_load_options_init_2(rasp_load_options options);

    int rasp_log_probs(Pointer session, int token, FloatByReference log_prob, rasp_log_prob[] top, SizeT count,
        byte[] error);

    int rasp_logits(Pointer session, PointerByReference logits, SizeT.Ref count, byte[] error);

    void rasp_memory_plan_init(rasp_memory_plan plan);

    int rasp_model_get_info(Pointer model, rasp_model_info info, byte[] error);

    void rasp_model_info_init(rasp_model_info info);

    int rasp_model_retain(Pointer model);

    int rasp_prefill(Pointer session, int[] tokens, SizeT count, byte[] error);

    int rasp_prefill_begin(Pointer session, int[] tokens, SizeT count, byte[] error);

    int rasp_prefill_within(Pointer session, long budget_ns, byte[] error);

    int rasp_reply_finish(Pointer reply, byte[] error);

    int rasp_reply_free(Pointer reply);

    int rasp_reply_message(Pointer reply, byte[] json, SizeT capacity, SizeT.Ref length, byte[] error);

    int rasp_reply_new(Pointer model, rasp_chat_message[] messages, SizeT count, rasp_chat_options options,
        PointerByReference reply, byte[] error);

    int rasp_reply_next(Pointer reply, rasp_reply_part part, byte[] error);

    int rasp_reply_push(Pointer reply, byte[] text, SizeT length, byte[] error);

    int rasp_reply_push_token(Pointer reply, int token, byte[] error);

    void rasp_sampling_init_2(rasp_sampling sampling);

    int rasp_session_clear_stats(Pointer session, byte[] error);

    int rasp_session_close(Pointer session);

    int rasp_session_fork(Pointer session, rasp_session_options options, PointerByReference fork, byte[] error);

    int rasp_session_get_stats(Pointer session, rasp_stats stats, byte[] error);

    int rasp_session_open(Pointer model, rasp_session_options options, PointerByReference session, byte[] error);

    void rasp_session_options_init_2(rasp_session_options options);

    int rasp_session_plan(Pointer model, rasp_session_options options, rasp_memory_plan plan, byte[] error);

    int rasp_session_reset(Pointer session, byte[] error);

    int rasp_session_restore(Pointer session, byte[] data, SizeT size, byte[] error);

    int rasp_session_rewind(Pointer session, SizeT tokens, byte[] error);

    int rasp_session_save(Pointer session, byte[] buffer, SizeT capacity, SizeT.Ref size, byte[] error);

    int rasp_session_set_adapters(Pointer session, Pointer[] adapters, float[] scales, SizeT count, byte[] error);

    int rasp_session_set_constraint(Pointer session, Pointer constraint, byte[] error);

    int rasp_session_set_deadline(Pointer session, long ns_per_token, float min_sparsity, float max_sparsity,
        byte[] error);

    int rasp_session_set_drafts(Pointer session, int kinds, int most, int[] tokens, SizeT count, byte[] error);

    int rasp_session_set_logit_bias(Pointer session, rasp_logit_bias[] biases, SizeT count, byte[] error);

    int rasp_session_set_logits_callback(Pointer session, rasp_logits_callback callback, Pointer context, byte[] error);

    int rasp_session_set_sampling(Pointer session, rasp_sampling sampling, byte[] error);

    int rasp_session_set_sparsity(Pointer session, float sparsity, byte[] error);

    int rasp_session_set_stop(Pointer session, Pointer[] strings, SizeT count, byte[] error);

    int rasp_session_shift(Pointer session, SizeT keep, SizeT discard, byte[] error);

    int rasp_session_tokens(Pointer session, int[] tokens, SizeT capacity, SizeT.Ref found, byte[] error);

    void rasp_stats_init_3(rasp_stats stats);

    String rasp_status_name(int status);

    int rasp_step(Pointer session, IntByReference token, byte[] error);

    int rasp_step_batch(Pointer[] sessions, SizeT count, int[] tokens, int[] statuses, byte[] error);

    int rasp_step_text(Pointer session, int flags, byte[] text, SizeT capacity, SizeT.Ref length, IntByReference ended,
        byte[] error);

    int rasp_step_text_within(Pointer session, long budget_ns, int flags, byte[] text, SizeT capacity, SizeT.Ref length,
        IntByReference ended, byte[] error);

    int rasp_step_within(Pointer session, long budget_ns, IntByReference token, byte[] error);

    int rasp_text_stream_push(rasp_text_stream stream, byte[] bytes, SizeT n, byte[] text, SizeT capacity,
        SizeT.Ref length, byte[] error);

    int rasp_token_bytes(Pointer model, int token, PointerByReference bytes, SizeT.Ref length, byte[] error);

    int rasp_token_is_end(Pointer model, int token);

    int rasp_token_is_special(Pointer model, int token);

    int rasp_tokenize(Pointer model, byte[] text, SizeT length, int flags, int[] tokens, SizeT capacity,
        SizeT.Ref count, byte[] error);

    String rasp_version();
}

// Functions, constants and structs of rasp.h, under its names. Made by bindings/generate.py from that: change neither
// here. What each does is said there; ids of tokens, which are below 2^31, are ints.

using System;
using System.Runtime.InteropServices;

namespace Rasp
{
    internal static class Native
    {
#if (UNITY_IOS || UNITY_WEBGL) && !UNITY_EDITOR
        private const string Library = "__Internal";
#else
        private const string Library = "rasp";
#endif
        private const CallingConvention C = CallingConvention.Cdecl;
        internal const int RASP_ADAPTERS_MAX = 8;
        internal const int RASP_STOP_MAX = 16;
        internal const int RASP_STOP_MAX_BYTES = 1024;
        internal const int RASP_STEP_TEXT_SIZE = 4160;
        internal const int RASP_TEXT_SHOW_SPECIAL = 1;
        internal const int RASP_TEXT_SHOW_MARKS = 2;
        internal const int RASP_ENDED_NOT = 0;
        internal const int RASP_ENDED_TOKEN = 1;
        internal const int RASP_ENDED_STOP = 2;
        internal const int RASP_ENDED_CONTEXT = 3;
        internal const int RASP_CONSTRAINT_JSON_SCHEMA = 0;
        internal const int RASP_CONSTRAINT_REGEX = 1;
        internal const int RASP_CONSTRAINT_GRAMMAR = 2;
        internal const int RASP_CONSTRAINT_TOOLS = 3;
        internal const int RASP_DRAFTS_MAX = 7;
        internal const int RASP_DRAFTS_LOOKUP = 1;
        internal const int RASP_DRAFTS_FORCED = 2;
        internal const int RASP_DRAFTS_SELF = 4;
        internal const int RASP_POOL_MEAN = 0;
        internal const int RASP_POOL_LAST = 1;
        internal const int RASP_EMBED_NORMALISE = 1;
        internal const int RASP_ERROR_MESSAGE_SIZE = 252;
        internal const int RASP_WEIGHTS_BF16 = 1;
        internal const int RASP_WEIGHTS_F16 = 2;
        internal const int RASP_WEIGHTS_Q8 = 3;
        internal const int RASP_WEIGHTS_Q4 = 4;
        internal const int RASP_WEIGHTS_Q4S = 5;
        internal const int RASP_MAX_HEADER_BYTES = 16777216;
        internal const int RASP_MAX_TEMPLATE_BYTES = 262144;
        internal const int RASP_STACK_BYTES = 65536;
        internal const int RASP_LOG_ERROR = 1;
        internal const int RASP_LOG_WARNING = 2;
        internal const int RASP_LOG_INFO = 3;
        internal const int RASP_LOG_DEBUG = 4;
        internal const int RASP_PART_TEXT = 1;
        internal const int RASP_PART_REASONING = 2;
        internal const int RASP_PART_CALL = 3;
        internal const int RASP_STAGE_TOP_N_SIGMA = 1;
        internal const int RASP_STAGE_TOP_K = 2;
        internal const int RASP_STAGE_TEMPERATURE = 3;
        internal const int RASP_STAGE_TYPICAL = 4;
        internal const int RASP_STAGE_TOP_P = 5;
        internal const int RASP_STAGE_MIN_P = 6;
        internal const int RASP_STAGE_XTC = 7;
        internal const int RASP_LOGIT_BIAS_MAX = 256;
        internal const int RASP_LOGITS_SAMPLE = -1;
        internal const int RASP_KV_F16 = 0;
        internal const int RASP_KV_F32 = 1;
        internal const int RASP_KV_I8 = 2;
        internal const int RASP_TOKENIZE_ADD_SPECIAL = 1;
        internal const int RASP_TOKENIZE_PARSE_SPECIAL = 2;
        internal const int RASP_DETOKENIZE_SKIP_SPECIAL = 1;
        internal const int RASP_TEXT_STREAM_EXTRA = 9;
        internal const int RASP_OK = 0;
        internal const int RASP_END = 1;
        internal const int RASP_PENDING = 2;
        internal const int RASP_ERROR_INVALID_ARGUMENT = -1;
        internal const int RASP_ERROR_IO = -2;
        internal const int RASP_ERROR_BAD_FILE = -3;
        internal const int RASP_ERROR_UNSUPPORTED_VERSION = -4;
        internal const int RASP_ERROR_UNSUPPORTED = -5;
        internal const int RASP_ERROR_OUT_OF_RANGE = -6;
        internal const int RASP_ERROR_CONTEXT_FULL = -7;
        internal const int RASP_ERROR_BUFFER_TOO_SMALL = -8;
        internal const int RASP_ERROR_NON_FINITE = -9;
        internal const int RASP_ERROR_CANCELLED = -10;
        internal const int RASP_ERROR_OUT_OF_MEMORY = -11;
        internal const int RASP_ERROR_INVALID_STATE = -12;
        internal const int RASP_ERROR_INVALID_UTF8 = -13;
        internal const int RASP_ERROR_TEMPLATE = -14;
        internal const int RASP_ERROR_INTERNAL = -15;
        internal const int RASP_ERROR_BAD_STATE = -16;

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_adapter_info
        {
            public uint struct_size;
            public uint rank;
            public uint linears;
            public uint reserved;
            public ulong bytes;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 96)]
            public byte[] name;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_chat_options
        {
            public uint struct_size;
            public uint add_generation_prompt;
            public IntPtr variables;
            public UIntPtr variables_length;
            public long time;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_chat_message
        {
            public IntPtr role;
            public UIntPtr role_length;
            public IntPtr content;
            public UIntPtr content_length;
            public IntPtr fields;
            public UIntPtr fields_length;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_message
        {
            public IntPtr role;
            public IntPtr content;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_load_options
        {
            public uint struct_size;
            public uint verify;
            public uint @lock;
            public uint log_level;
            public IntPtr log;
            public IntPtr log_context;
            public uint large_pages;
            public uint reserved;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_model_info
        {
            public uint struct_size;
            public uint vocab_size;
            public uint hidden_size;
            public uint intermediate_size;
            public uint num_layers;
            public uint num_heads;
            public uint num_kv_heads;
            public uint head_dim;
            public uint context_length;
            public uint weight_type;
            public float max_sparsity;
            public float default_sparsity;
            public uint num_rungs;
            public int bos_token;
            public ulong file_size;
            public ulong linear_bytes;
            public ulong head_bytes;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 32)]
            public byte[] architecture;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 96)]
            public byte[] name;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_memory_plan
        {
            public uint struct_size;
            public uint alignment;
            public uint context;
            public uint batch;
            public ulong size;
            public ulong kv_cache;
            public ulong activations;
            public ulong sampling;
            public ulong bookkeeping;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_session_options
        {
            public uint struct_size;
            public uint context;
            public uint threads;
            public uint batch;
            public uint kv_type;
            public uint windows_alone;
            public IntPtr memory;
            public UIntPtr memory_size;
            public IntPtr run;
            public IntPtr run_context;
            public ulong cpus;
            public ulong spin_ns;
            public uint drafts;
            public uint adapter_rank;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_reply_part
        {
            public uint kind;
            public uint reserved;
            public IntPtr text;
            public UIntPtr text_length;
            public IntPtr name;
            public UIntPtr name_length;
            public IntPtr id;
            public UIntPtr id_length;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_sampling
        {
            public uint struct_size;
            public float temperature;
            public uint top_k;
            public float top_p;
            public float min_p;
            public float repetition_penalty;
            public uint repetition_window;
            public uint reserved;
            public ulong seed;
            public float presence_penalty;
            public float frequency_penalty;
            public float top_n_sigma;
            public float typical_p;
            public float xtc_probability;
            public float xtc_threshold;
            public float dry_multiplier;
            public float dry_base;
            public uint dry_allowed_length;
            public uint dry_window;
            public float mirostat_tau;
            public float mirostat_eta;
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 8)]
            public byte[] order;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_logit_bias
        {
            public int token;
            public float bias;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_log_prob
        {
            public int token;
            public float log_prob;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_stats
        {
            public uint struct_size;
            public int tokens;
            public uint context;
            public float sparsity;
            public ulong memory;
            public ulong decoded_tokens;
            public ulong linear_bytes_read;
            public double kept;
            public ulong head_bytes_read;
            public ulong units;
            public ulong late_tokens;
            public ulong drafted_tokens;
            public ulong accepted_tokens;
            public ulong shared_bytes;
        }

        [StructLayout(LayoutKind.Sequential)]
        internal struct rasp_text_stream
        {
            [MarshalAs(UnmanagedType.ByValArray, SizeConst = 3)]
            public byte[] pending;
            public byte length;
        }

        [UnmanagedFunctionPointer(C)]
        internal delegate void rasp_log_callback(IntPtr context, uint level, IntPtr message);

        [UnmanagedFunctionPointer(C)]
        internal delegate void rasp_run_callback(IntPtr context, IntPtr job, IntPtr data, uint parts);

        [UnmanagedFunctionPointer(C)]
        internal delegate int rasp_logits_callback(IntPtr context, IntPtr logits, UIntPtr vocab_size, IntPtr tokens,
            UIntPtr token_count);

        [UnmanagedFunctionPointer(C)]
        internal delegate void rasp_run_job(IntPtr data, uint part);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern uint rasp_abi_version();

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_adapter_free(IntPtr adapter);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_adapter_get_info(AdapterHandle adapter, ref rasp_adapter_info info,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern void rasp_adapter_info_init(ref rasp_adapter_info info);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_adapter_load(ModelHandle model, byte[] path, out IntPtr adapter,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_adapter_load_bytes(ModelHandle model, IntPtr data, UIntPtr size,
            out IntPtr adapter, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_adapter_load_fd(ModelHandle model, long file, ulong offset, ulong length,
            out IntPtr adapter, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern void rasp_cancel(SessionHandle session);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_chat_format(ModelHandle model, rasp_message[] messages, UIntPtr count,
            int add_generation_prompt, [In, Out] byte[] text, UIntPtr capacity, out UIntPtr length,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern void rasp_chat_options_init(ref rasp_chat_options options);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_chat_prefill(SessionHandle session, rasp_chat_message[] messages, UIntPtr count,
            ref rasp_chat_options options, out UIntPtr kept, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_chat_prefill_begin(SessionHandle session, rasp_chat_message[] messages,
            UIntPtr count, ref rasp_chat_options options, out UIntPtr kept, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_chat_text(ModelHandle model, rasp_chat_message[] messages, UIntPtr count,
            ref rasp_chat_options options, [In, Out] byte[] text, UIntPtr capacity, out UIntPtr length,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_chat_tokenize(ModelHandle model, rasp_chat_message[] messages, UIntPtr count,
            ref rasp_chat_options options, [In, Out] int[] tokens, UIntPtr capacity, out UIntPtr found,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_constraint_free(IntPtr constraint);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_constraint_new(ModelHandle model, uint kind, byte[] source, UIntPtr length,
            out IntPtr constraint, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_decode(SessionHandle session, int token, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_detokenize(ModelHandle model, int[] tokens, UIntPtr count, uint flags,
            [In, Out] byte[] text, UIntPtr capacity, out UIntPtr length, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_embed(SessionHandle session, int[] tokens, UIntPtr count, uint pooling,
            uint flags, [In, Out] float[] vector, UIntPtr capacity, out UIntPtr size, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_finish_text(SessionHandle session, [In, Out] byte[] text, UIntPtr capacity,
            out UIntPtr length, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_free(IntPtr model);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_load(byte[] path, ref rasp_load_options options, out IntPtr model,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_load_bytes(IntPtr data, UIntPtr size, ref rasp_load_options options,
            out IntPtr model, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_load_fd(long file, ulong offset, ulong length, ref rasp_load_options options,
            out IntPtr model, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, EntryPoint = "rasp_load_options_init_2")]
        internal static extern void rasp_load_options_init(ref rasp_load_options options);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_log_probs(SessionHandle session, int token, out float log_prob,
            [In, Out] rasp_log_prob[] top, UIntPtr count, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_logits(SessionHandle session, out IntPtr logits, out UIntPtr count,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern void rasp_memory_plan_init(ref rasp_memory_plan plan);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_model_get_info(ModelHandle model, ref rasp_model_info info,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern void rasp_model_info_init(ref rasp_model_info info);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_model_retain(ModelHandle model);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_prefill(SessionHandle session, int[] tokens, UIntPtr count,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_prefill_begin(SessionHandle session, int[] tokens, UIntPtr count,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_prefill_within(SessionHandle session, ulong budget_ns, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_finish(ReplyHandle reply, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_free(IntPtr reply);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_message(ReplyHandle reply, [In, Out] byte[] json, UIntPtr capacity,
            out UIntPtr length, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_new(ModelHandle model, rasp_chat_message[] messages, UIntPtr count,
            ref rasp_chat_options options, out IntPtr reply, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_next(ReplyHandle reply, ref rasp_reply_part part, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_push(ReplyHandle reply, byte[] text, UIntPtr length,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_reply_push_token(ReplyHandle reply, int token, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, EntryPoint = "rasp_sampling_init_2")]
        internal static extern void rasp_sampling_init(ref rasp_sampling sampling);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_clear_stats(SessionHandle session, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_close(IntPtr session);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_fork(SessionHandle session, rasp_session_options[] options,
            out IntPtr fork, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_get_stats(SessionHandle session, ref rasp_stats stats,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_open(ModelHandle model, ref rasp_session_options options,
            out IntPtr session, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, EntryPoint = "rasp_session_options_init_2")]
        internal static extern void rasp_session_options_init(ref rasp_session_options options);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_plan(ModelHandle model, ref rasp_session_options options,
            ref rasp_memory_plan plan, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_reset(SessionHandle session, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_restore(SessionHandle session, byte[] data, UIntPtr size,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_rewind(SessionHandle session, UIntPtr tokens, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_save(SessionHandle session, [In, Out] byte[] buffer, UIntPtr capacity,
            out UIntPtr size, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_adapters(SessionHandle session, IntPtr[] adapters, float[] scales,
            UIntPtr count, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_constraint(SessionHandle session, ConstraintHandle constraint,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_deadline(SessionHandle session, ulong ns_per_token,
            float min_sparsity, float max_sparsity, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_drafts(SessionHandle session, uint kinds, uint most, int[] tokens,
            UIntPtr count, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_logit_bias(SessionHandle session, rasp_logit_bias[] biases,
            UIntPtr count, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_logits_callback(SessionHandle session,
            rasp_logits_callback callback, IntPtr context, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_sampling(SessionHandle session, ref rasp_sampling sampling,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_sparsity(SessionHandle session, float sparsity,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_set_stop(SessionHandle session, IntPtr[] strings, UIntPtr count,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_shift(SessionHandle session, UIntPtr keep, UIntPtr discard,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_session_tokens(SessionHandle session, [In, Out] int[] tokens, UIntPtr capacity,
            out UIntPtr found, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, EntryPoint = "rasp_stats_init_3")]
        internal static extern void rasp_stats_init(ref rasp_stats stats);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern IntPtr rasp_status_name(int status);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_step(SessionHandle session, out int token, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_step_batch(IntPtr[] sessions, UIntPtr count, [In, Out] int[] tokens,
            [In, Out] int[] statuses, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_step_text(SessionHandle session, uint flags, [In, Out] byte[] text,
            UIntPtr capacity, out UIntPtr length, out uint ended, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_step_text_within(SessionHandle session, ulong budget_ns, uint flags,
            [In, Out] byte[] text, UIntPtr capacity, out UIntPtr length, out uint ended, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_step_within(SessionHandle session, ulong budget_ns, out int token,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_text_stream_push(ref rasp_text_stream stream, byte[] bytes, UIntPtr n,
            [In, Out] byte[] text, UIntPtr capacity, out UIntPtr length, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_token_bytes(ModelHandle model, int token, out IntPtr bytes, out UIntPtr length,
            [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_token_is_end(ModelHandle model, int token);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_token_is_special(ModelHandle model, int token);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern int rasp_tokenize(ModelHandle model, byte[] text, UIntPtr length, uint flags,
            [In, Out] int[] tokens, UIntPtr capacity, out UIntPtr count, [In, Out] byte[] error);

        [DllImport(Library, CallingConvention = C, ExactSpelling = true)]
        internal static extern IntPtr rasp_version();
    }
}

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>The library.</summary>
    public static class Engine
    {
        /// <summary>Version of the library, such as "0.1.0".</summary>
        public static string Version => Text.Of(Native.rasp_version());

        /// <summary>Version of its binary interface.</summary>
        public static int AbiVersion => (int)Native.rasp_abi_version();
    }

    /// <summary>A loaded model, shared by any number of sessions and safe to use from any thread at once. Sessions keep
    /// what they need of it when it is disposed of.</summary>
    public sealed partial class Model : IDisposable
    {
        private const int AbiVersion = 1;

        private readonly ModelHandle handle;

        private delegate int Loading(ref Native.rasp_load_options options, out IntPtr model, byte[] error);

        /// <summary>Maps a file.</summary>
        public Model(string path, LoadOptions options = null)
        {
            byte[] bytes = Text.Terminated(path, nameof(path));
            handle = Loaded(options, null, (ref Native.rasp_load_options raw, out IntPtr model, byte[] error) =>
                Native.rasp_load(bytes, ref raw, out model, error));
        }

        private Model(ModelHandle handle)
        {
            this.handle = handle;
        }

        /// <summary>Uses the bytes of a file, which must not change while the model and its sessions live.</summary>
        public static Model FromBytes(byte[] data, LoadOptions options = null)
        {
            if (data == null) throw new ArgumentNullException(nameof(data));
            var pinned = new Keep(data, GCHandleType.Pinned);
            return FromMemory(pinned.Address, data.LongLength, options, pinned);
        }

        /// <summary>Uses the bytes of a file at an address that is a multiple of 8. They stay yours, and must stay as
        /// they are while the model and its sessions live.</summary>
        public static Model FromMemory(IntPtr data, long size, LoadOptions options = null) =>
            FromMemory(data, size, options, null);

        private static Model FromMemory(IntPtr data, long size, LoadOptions options, Keep pinned) =>
            new Model(Loaded(options, pinned, (ref Native.rasp_load_options raw, out IntPtr model, byte[] error) =>
                Native.rasp_load_bytes(data, new UIntPtr(checked((ulong)size)), ref raw, out model, error)));

        /// <summary>Maps a model inside a file that is open, such as FileStream.SafeFileHandle: <paramref
        /// name="length"/> bytes, or 0 for all that follow <paramref name="offset"/>. The file need not stay
        /// open.</summary>
        public static Model FromFile(SafeHandle file, long offset = 0, long length = 0, LoadOptions options = null)
        {
            if (file == null) throw new ArgumentNullException(nameof(file));
            bool held = false;
            try
            {
                file.DangerousAddRef(ref held);
                long descriptor = file.DangerousGetHandle().ToInt64();
                return new Model(Loaded(options, null,
                    (ref Native.rasp_load_options raw, out IntPtr model, byte[] error) => Native.rasp_load_fd(
                        descriptor, checked((ulong)offset), checked((ulong)length), ref raw, out model, error)));
            }
            finally
            {
                if (held) file.DangerousRelease();
            }
        }

        private static ModelHandle Loaded(LoadOptions options, Keep data, Loading load)
        {
            Keep log = null;
            try
            {
                if (Engine.AbiVersion != AbiVersion)
                {
                    throw new DllNotFoundException($"rasp {Engine.Version} has another binary interface than this");
                }
                options = options ?? new LoadOptions();
                LogSink sink = options.Log == null ? null : new LogSink(options.Log);
                if (sink != null) log = new Keep(sink, GCHandleType.Normal);
                Native.rasp_load_options raw = options.Raw(log);
                Call.Checked(load(ref raw, out IntPtr model, Call.Error));
                var handle = new ModelHandle(model, log, data);
                log = data = null;
                LogSink.Rethrow(handle.Log, handle);
                return handle;
            }
            finally
            {
                Keep.Released(log);
                Keep.Released(data);
            }
        }

        private ModelHandle Handle => Rasp.Handle.Open(handle, this);

        /// <summary>Gives the model back; sessions go on.</summary>
        public void Dispose() => handle.Dispose();

        /// <summary>What the model is.</summary>
        public ModelInfo Info
        {
            get
            {
                var raw = new Native.rasp_model_info();
                Native.rasp_model_info_init(ref raw);
                Call.Checked(Native.rasp_model_get_info(Handle, ref raw, Call.Error));
                return new ModelInfo(raw);
            }
        }

        /// <summary>The tokens of a text. <paramref name="addSpecial"/> adds what the model expects around it;
        /// <paramref name="parseSpecial"/> recognises tokens such as &lt;|im_start|&gt; in it: not for text from
        /// strangers.</summary>
        public int[] Tokenize(string text, bool addSpecial = false, bool parseSpecial = false)
        {
            byte[] bytes = Text.Bytes(text);
            uint flags = (addSpecial ? (uint)Native.RASP_TOKENIZE_ADD_SPECIAL : 0) |
                (parseSpecial ? (uint)Native.RASP_TOKENIZE_PARSE_SPECIAL : 0);
            return Call.Filled(bytes.Length + 8, (int[] tokens, UIntPtr capacity, out UIntPtr count) =>
                Native.rasp_tokenize(Handle, bytes, Text.Size(bytes.Length), flags, tokens, capacity, out count,
                    Call.Error));
        }

        /// <summary>The bytes of tokens; those of generated tokens may end inside a character.</summary>
        public byte[] DetokenizeBytes(IReadOnlyList<int> tokens, bool skipSpecial = false)
        {
            int[] ids = Text.Listed(tokens, nameof(tokens));
            uint flags = skipSpecial ? (uint)Native.RASP_DETOKENIZE_SKIP_SPECIAL : 0;
            return Call.Filled(16 * ids.Length, (byte[] text, UIntPtr capacity, out UIntPtr length) =>
                Native.rasp_detokenize(Handle, ids, Text.Size(ids.Length), flags, text, capacity, out length,
                    Call.Error));
        }

        /// <summary>The text of tokens, with U+FFFD for what is no character.</summary>
        public string Detokenize(IReadOnlyList<int> tokens, bool skipSpecial = false)
        {
            byte[] bytes = DetokenizeBytes(tokens, skipSpecial);
            return Text.Of(bytes, Text.Size(bytes.Length));
        }

        /// <summary>The bytes of one token.</summary>
        public byte[] TokenBytes(int token)
        {
            ModelHandle handle = Handle;
            bool held = false;
            try
            {
                // They are the model's, and valid while it lives.
                handle.DangerousAddRef(ref held);
                Call.Checked(Native.rasp_token_bytes(handle, token, out IntPtr bytes, out UIntPtr length, Call.Error));
                return Text.Copied(bytes, Text.Size(length));
            }
            finally
            {
                if (held) handle.DangerousRelease();
            }
        }

        /// <summary>Whether the token ends generation.</summary>
        public bool IsEnd(int token) => Native.rasp_token_is_end(Handle, token) != 0;

        /// <summary>Whether the token is no part of plain text.</summary>
        public bool IsSpecial(int token) => Native.rasp_token_is_special(Handle, token) != 0;

        /// <summary>The tokens of messages in the model's own format, to prefill with as they are. What messages and
        /// variables say is text, whatever it looks like.</summary>
        public int[] ChatTokenize(IReadOnlyList<ChatMessage> messages, ChatOptions options = null)
        {
            using (var texts = new Outside())
            {
                Native.rasp_chat_message[] raw = ChatMessage.Raw(messages, texts);
                Native.rasp_chat_options rest = (options ?? new ChatOptions()).Raw(texts);
                return Call.Filled(1024, (int[] tokens, UIntPtr capacity, out UIntPtr found) =>
                    Native.rasp_chat_tokenize(Handle, raw, Text.Size(raw.Length), ref rest, tokens, capacity, out found,
                        Call.Error));
            }
        }

        /// <summary>The same of some messages with nothing else.</summary>
        public int[] ChatTokenize(params ChatMessage[] messages) => ChatTokenize(messages, null);

        /// <summary>The text that ChatTokenize makes tokens of, to be looked at.</summary>
        public string ChatText(IReadOnlyList<ChatMessage> messages, ChatOptions options = null)
        {
            using (var texts = new Outside())
            {
                Native.rasp_chat_message[] raw = ChatMessage.Raw(messages, texts);
                Native.rasp_chat_options rest = (options ?? new ChatOptions()).Raw(texts);
                byte[] bytes = Call.Filled(4096, (byte[] text, UIntPtr capacity, out UIntPtr length) =>
                    Native.rasp_chat_text(Handle, raw, Text.Size(raw.Length), ref rest, text, capacity, out length,
                        Call.Error));
                return Text.Of(bytes, Text.Size(bytes.Length));
            }
        }

        /// <summary>What an answer may be, compiled for this model.</summary>
        public Constraint Constraint(ConstraintKind kind, string source) =>
            new Constraint(Compiled(Handle, kind, source));

        internal static ConstraintHandle Compiled(ModelHandle model, ConstraintKind kind, string source)
        {
            byte[] bytes = Text.Bytes(source);
            Call.Checked(Native.rasp_constraint_new(model, checked((uint)kind), bytes, Text.Size(bytes.Length),
                out IntPtr constraint, Call.Error));
            return new ConstraintHandle(constraint);
        }

        /// <summary>To the byte, what a session that is opened with these options will take.</summary>
        public MemoryPlan Plan(SessionOptions options = null)
        {
            Native.rasp_session_options raw = (options ?? new SessionOptions()).Raw(null);
            var plan = new Native.rasp_memory_plan();
            Native.rasp_memory_plan_init(ref plan);
            Call.Checked(Native.rasp_session_plan(Handle, ref raw, ref plan, Call.Error));
            return new MemoryPlan(plan);
        }

        /// <summary>Opens a session.</summary>
        public Session Open(SessionOptions options = null)
        {
            options = options ?? new SessionOptions();
            ModelHandle of = Handle;
            bool held = false;
            try
            {
                // What it keeps for its sessions must not be let go before they have their share.
                of.DangerousAddRef(ref held);
                return Session.Opened(options, of, new Keep[0],
                    (Native.rasp_session_options[] raw, out IntPtr opened, byte[] error) =>
                        Native.rasp_session_open(of, ref raw[0], out opened, error));
            }
            finally
            {
                if (held) of.DangerousRelease();
            }
        }
    }
}

using System;
using System.Collections.Generic;

namespace Rasp
{
    /// <summary>How a session caches keys and values: half-precision floats, floats, or 8 bits with scales.</summary>
    public enum KvType
    {
        F16 = Native.RASP_KV_F16,
        F32 = Native.RASP_KV_F32,
        I8 = Native.RASP_KV_I8,
    }

    /// <summary>How important a message is.</summary>
    public enum LogLevel
    {
        Error = Native.RASP_LOG_ERROR,
        Warning = Native.RASP_LOG_WARNING,
        Info = Native.RASP_LOG_INFO,
        Debug = Native.RASP_LOG_DEBUG,
    }

    /// <summary>How a model is loaded.</summary>
    public sealed class LoadOptions
    {
        /// <summary>Read the whole file, and refuse damaged ones.</summary>
        public bool Verify { get; set; }

        /// <summary>Keep the file in memory, so that no token waits for the disk.</summary>
        public bool Lock { get; set; }

        /// <summary>Read the file into memory of this process's own, in pages of 2 MB where there are some.</summary>
        public bool LargePages { get; set; }

        /// <summary>Hears of what is found and chosen, and of sessions that are opened.</summary>
        public LogCallback Log { get; set; }

        /// <summary>The least important level that Log hears of.</summary>
        public LogLevel LogLevel { get; set; } = LogLevel.Info;

        internal Native.rasp_load_options Raw(Keep log)
        {
            var raw = new Native.rasp_load_options();
            Native.rasp_load_options_init(ref raw);
            raw.verify = Text.Flag(Verify);
            raw.@lock = Text.Flag(Lock);
            raw.large_pages = Text.Flag(LargePages);
            raw.log_level = (uint)LogLevel;
            if (log != null)
            {
                raw.log = LogSink.Pointer;
                raw.log_context = log.Context;
            }
            return raw;
        }
    }

    /// <summary>How a session is opened.</summary>
    public sealed class SessionOptions
    {
        /// <summary>Tokens there is room for; 0: the model's own limit, but at most 4096.</summary>
        public int Context { get; set; }

        /// <summary>Threads that work during a call, the caller's included.</summary>
        public int Threads { get; set; } = 1;

        /// <summary>Prompt tokens that pass through the model together; 0: 128.</summary>
        public int Batch { get; set; }

        /// <summary>How keys and values are cached.</summary>
        public KvType Kv { get; set; } = KvType.F16;

        /// <summary>Layers that attend to a window hold its keys and values alone: less memory, and no way back to what
        /// is gone.</summary>
        public bool WindowsAlone { get; set; }

        /// <summary>Room for so many guesses at the next tokens, at most 7: the same tokens, sooner where an answer
        /// quotes or repeats.</summary>
        public int Drafts { get; set; }

        /// <summary>Room for adapters: the sum of the ranks of those that are set at a time.</summary>
        public int AdapterRank { get; set; }

        /// <summary>Processors that the session's threads are pinned to, one bit each; 0: none.</summary>
        public ulong Cpus { get; set; }

        /// <summary>How long the session's threads watch for the next call before they sleep, at most a
        /// second.</summary>
        public TimeSpan Spin { get; set; }

        /// <summary>A job system that takes the place of the session's own threads.</summary>
        public RunCallback Run { get; set; }

        /// <summary>Memory of yours for the session to live in until it is closed, as large and aligned as Model.Plan
        /// says; zero: its own.</summary>
        public IntPtr Memory { get; set; }

        /// <summary>Bytes at Memory.</summary>
        public long MemorySize { get; set; }

        internal Native.rasp_session_options Raw(Keep run)
        {
            var raw = new Native.rasp_session_options();
            Native.rasp_session_options_init(ref raw);
            raw.context = Text.Natural(Context, nameof(Context));
            raw.threads = Text.Natural(Threads, nameof(Threads));
            raw.batch = Text.Natural(Batch, nameof(Batch));
            raw.kv_type = (uint)Kv;
            raw.windows_alone = Text.Flag(WindowsAlone);
            raw.drafts = Text.Natural(Drafts, nameof(Drafts));
            raw.adapter_rank = Text.Natural(AdapterRank, nameof(AdapterRank));
            raw.cpus = Cpus;
            raw.spin_ns = Text.Nanoseconds(Spin, nameof(Spin));
            raw.memory = Memory;
            raw.memory_size = new UIntPtr(checked((ulong)MemorySize));
            if (run != null)
            {
                raw.run = JobSystem.Pointer;
                raw.run_context = run.Context;
            }
            return raw;
        }
    }

    /// <summary>One message of a chat. What it says is text, whatever it looks like.</summary>
    public sealed class ChatMessage
    {
        public ChatMessage(string role, string content, string fields = null)
        {
            Role = role ?? throw new ArgumentNullException(nameof(role));
            Content = content;
            Fields = fields;
        }

        /// <summary>"system", "user", "assistant", "tool" or what else the template knows.</summary>
        public string Role { get; }

        /// <summary>The text; null where Fields stand for it.</summary>
        public string Content { get; }

        /// <summary>What else the message has, as a JSON object: name, tool_calls, a content in parts; or
        /// null.</summary>
        public string Fields { get; }

        internal static Native.rasp_chat_message[] Raw(IReadOnlyList<ChatMessage> messages, Outside texts)
        {
            if (messages == null) throw new ArgumentNullException(nameof(messages));
            var raw = new Native.rasp_chat_message[messages.Count];
            for (int n = 0; n < raw.Length; n++)
            {
                raw[n].role = texts.Of(messages[n].Role, out raw[n].role_length);
                raw[n].content = texts.Of(messages[n].Content, out raw[n].content_length);
                raw[n].fields = texts.Of(messages[n].Fields, out raw[n].fields_length);
            }
            return raw;
        }
    }

    /// <summary>What a chat template is given besides messages.</summary>
    public sealed class ChatOptions
    {
        /// <summary>End with what makes the model answer.</summary>
        public bool AddGenerationPrompt { get; set; } = true;

        /// <summary>The template's variables, as a JSON object: tools, documents, enable_thinking; or null.</summary>
        public string Variables { get; set; }

        /// <summary>What the template's clock on the wall shows, such as DateTime.Now; null: it has none.</summary>
        public DateTime? Time { get; set; }

        internal Native.rasp_chat_options Raw(Outside texts)
        {
            var raw = new Native.rasp_chat_options();
            Native.rasp_chat_options_init(ref raw);
            raw.add_generation_prompt = Text.Flag(AddGenerationPrompt);
            raw.variables = texts.Of(Variables, out raw.variables_length);
            if (Time.HasValue) raw.time = (Time.Value.Ticks - new DateTime(1970, 1, 1).Ticks) / TimeSpan.TicksPerSecond;
            return raw;
        }
    }
}

using System;
using System.Collections.Generic;

namespace Rasp
{
    /// <summary>What a part of an answer is: what the assistant says, what it thinks before, or a call of a
    /// tool.</summary>
    public enum PartKind
    {
        Text = Native.RASP_PART_TEXT,
        Reasoning = Native.RASP_PART_REASONING,
        Call = Native.RASP_PART_CALL,
    }

    /// <summary>A part of an answer.</summary>
    public readonly struct Part
    {
        internal Part(Native.rasp_reply_part raw)
        {
            Kind = (PartKind)raw.kind;
            Text = Rasp.Text.Of(raw.text, raw.text_length);
            Name = raw.name == IntPtr.Zero ? null : Rasp.Text.Of(raw.name, raw.name_length);
            Id = raw.id == IntPtr.Zero ? null : Rasp.Text.Of(raw.id, raw.id_length);
        }

        public PartKind Kind { get; }

        /// <summary>The text; of a call the arguments, a JSON object.</summary>
        public string Text { get; }

        /// <summary>The function that a call calls, or null.</summary>
        public string Name { get; }

        /// <summary>What a message of the call's result refers to (tool_call_id), or null.</summary>
        public string Id { get; }
    }

    /// <summary>An answer that is told apart as it comes. Session.Answer does all of it, Session.Chat what comes before
    /// too.</summary>
    public sealed class Reply : IDisposable
    {
        private readonly ReplyHandle handle;

        private Reply(ReplyHandle handle)
        {
            this.handle = handle;
        }

        internal static Reply Of(ModelHandle model, IReadOnlyList<ChatMessage> messages, ChatOptions options)
        {
            using (var texts = new Outside())
            {
                Native.rasp_chat_message[] raw = ChatMessage.Raw(messages, texts);
                Native.rasp_chat_options rest = (options ?? new ChatOptions()).Raw(texts);
                Call.Checked(Native.rasp_reply_new(model, raw, Text.Size(raw.Length), ref rest, out IntPtr reply,
                    Call.Error));
                return new Reply(new ReplyHandle(reply, model));
            }
        }

        private ReplyHandle Handle => Rasp.Handle.Open(handle, this);

        /// <summary>Takes more of the answer, with the marks shown.</summary>
        public void Push(string text)
        {
            byte[] bytes = Text.Bytes(text);
            Call.Checked(Native.rasp_reply_push(Handle, bytes, Text.Size(bytes.Length), Call.Error));
        }

        /// <summary>Takes a token of the answer, for those who step token by token.</summary>
        public void PushToken(int token) => Call.Checked(Native.rasp_reply_push_token(Handle, token, Call.Error));

        /// <summary>Ends the answer: what was held back is known now.</summary>
        public void Finish() => Call.Checked(Native.rasp_reply_finish(Handle, Call.Error));

        /// <summary>The next part of what is known of the answer; null until there is more.</summary>
        public Part? Next()
        {
            ReplyHandle own = Handle;
            bool held = false;
            try
            {
                // Its texts are the reply's, and valid until the next call.
                own.DangerousAddRef(ref held);
                var raw = new Native.rasp_reply_part();
                int status = Call.Checked(Native.rasp_reply_next(own, ref raw, Call.Error));
                return status == Native.RASP_OK ? new Part(raw) : (Part?)null;
            }
            finally
            {
                if (held) own.DangerousRelease();
            }
        }

        /// <summary>What is known of the answer, as a message to put after those that it answers.</summary>
        public ChatMessage Message()
        {
            byte[] fields = Call.Filled(4096, (byte[] json, UIntPtr capacity, out UIntPtr length) =>
                Native.rasp_reply_message(Handle, json, capacity, out length, Call.Error));
            return new ChatMessage("assistant", null, Text.Of(fields, Text.Size(fields.Length)));
        }

        public void Dispose() => handle.Dispose();
    }

    // Answers of a model.
    public sealed partial class Model
    {
        /// <summary>What tells an answer to these messages apart: give it what ChatTokenize was given.</summary>
        public Reply Reply(IReadOnlyList<ChatMessage> messages, ChatOptions options = null) =>
            Rasp.Reply.Of(Handle, messages, options);
    }
}

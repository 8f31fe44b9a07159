using System;
using System.Collections;
using System.Collections.Generic;
using System.Threading;

namespace Rasp
{
    /// <summary>How a turn in a chat is made.</summary>
    public sealed class TurnOptions
    {
        /// <summary>The tools, a list in JSON as OpenAI has it; or null.</summary>
        public string Tools { get; set; }

        /// <summary>"auto", "required" or the name of a function: calls keep to the schemas of the tools, in this
        /// turn, in the place of a constraint of the session's. Null: nothing is kept to.</summary>
        public string ToolChoice { get; set; }

        /// <summary>Tokens at most; null: to the end of the answer.</summary>
        public int? Limit { get; set; }

        /// <summary>Variables of the template besides tools, as a JSON object; or null.</summary>
        public string Variables { get; set; }

        /// <summary>What the template's clock on the wall shows; null: it has none.</summary>
        public DateTime? Time { get; set; }
    }

    /// <summary>What the assistant says, part by part as it comes. To be walked once.</summary>
    public sealed class Turn : IEnumerable<Part>, IDisposable
    {
        private readonly Reply reply;
        private IEnumerator<Part> parts;

        internal Turn(Reply reply, IEnumerator<Part> parts, int kept)
        {
            this.reply = reply;
            this.parts = parts;
            Kept = kept;
        }

        /// <summary>How many tokens the session held already.</summary>
        public int Kept { get; }

        /// <summary>What it has said, to be put after the messages that it answers. An answer that was left in the
        /// middle is what had come of it.</summary>
        public ChatMessage Message => reply.Message();

        public IEnumerator<Part> GetEnumerator()
        {
            IEnumerator<Part> walk = parts ?? throw new InvalidOperationException("a turn is walked once");
            parts = null;
            return walk;
        }

        IEnumerator IEnumerable.GetEnumerator() => GetEnumerator();

        public void Dispose() => reply.Dispose();
    }

    // Conversations.
    public sealed partial class Session
    {
        /// <summary>Makes the session hold a conversation, all of it: what it holds of its beginning stays, and only
        /// the rest passes. How many tokens stayed. Give answers back as they came.</summary>
        public int PrefillChat(IReadOnlyList<ChatMessage> messages, ChatOptions options = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            SessionHandle own = Handle;
            cancellation.ThrowIfCancellationRequested();
            using (var texts = new Outside())
            {
                Native.rasp_chat_message[] raw = ChatMessage.Raw(messages, texts);
                Native.rasp_chat_options rest = (options ?? new ChatOptions()).Raw(texts);
                UIntPtr kept = UIntPtr.Zero;
                Cancellable(cancellation, () => Native.rasp_chat_prefill(own, raw, Text.Size(raw.Length), ref rest,
                    out kept, Call.Error), out bool late);
                if (late) TakeBackCancel(own);
                return Text.Size(kept);
            }
        }

        /// <summary>The same without computing anything yet, as PrefillBegin.</summary>
        public int PrefillChatBegin(IReadOnlyList<ChatMessage> messages, ChatOptions options = null)
        {
            using (var texts = new Outside())
            {
                Native.rasp_chat_message[] raw = ChatMessage.Raw(messages, texts);
                Native.rasp_chat_options rest = (options ?? new ChatOptions()).Raw(texts);
                Done(Native.rasp_chat_prefill_begin(Handle, raw, Text.Size(raw.Length), ref rest, out UIntPtr kept,
                    Call.Error));
                return Text.Size(kept);
            }
        }

        /// <summary>The tokens that the session holds, one that was sampled last included.</summary>
        public int[] Tokens() => Call.Filled(1024, (int[] tokens, UIntPtr capacity, out UIntPtr found) =>
            Native.rasp_session_tokens(Handle, tokens, capacity, out found, Call.Error));

        /// <summary>As Generate, with the answer told apart: text, what the model thinks, calls of tools.</summary>
        public IEnumerable<Part> Answer(Reply reply, int? limit = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            Part? part;
            foreach (string text in Generated(limit, (uint)Native.RASP_TEXT_SHOW_MARKS, cancellation))
            {
                reply.Push(text);
                while ((part = reply.Next()) != null) yield return part.Value;
            }
            reply.Finish();
            while ((part = reply.Next()) != null) yield return part.Value;
        }

        /// <summary>The assistant's turn after these messages. Walk it, and put its message after them: each turn is
        /// given all messages, and each token passes once.</summary>
        public Turn Chat(IReadOnlyList<ChatMessage> messages, TurnOptions options = null,
            CancellationToken cancellation = default(CancellationToken))
        {
            options = options ?? new TurnOptions();
            if (options.Tools == null && options.ToolChoice != null)
            {
                throw new ArgumentException("a ToolChoice wants Tools", nameof(options));
            }
            string variables = options.Tools == null ? options.Variables :
                Text.Member(options.Variables, "tools", options.Tools);
            var chat = new ChatOptions { Variables = variables, Time = options.Time };
            ModelHandle model = Handle.Model;
            Constraint held = options.ToolChoice == null ? null : new Constraint(Model.Compiled(model,
                ConstraintKind.Tools, Text.Member(variables, "tool_choice", Text.Choice(options.ToolChoice))));
            Reply reply = Reply.Of(model, messages, chat);
            int kept = PrefillChat(messages, chat, cancellation);
            return new Turn(reply, Said(reply, held, options.Limit, cancellation).GetEnumerator(), kept);
        }

        private IEnumerable<Part> Said(Reply reply, Constraint held, int? limit, CancellationToken cancellation)
        {
            if (held != null) SetConstraint(held);
            try
            {
                foreach (Part part in Answer(reply, limit, cancellation)) yield return part;
            }
            finally
            {
                if (held != null)
                {
                    held.Dispose();
                    if (!handle.IsClosed) SetConstraint(null);
                }
            }
        }
    }
}

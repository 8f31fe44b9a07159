using System;
using System.Collections.Generic;
using System.Threading;
using System.Threading.Tasks;

namespace Rasp
{
    /// <summary>Whether an answer goes on, and else why it ended.</summary>
    public enum Ended
    {
        Not = Native.RASP_ENDED_NOT,
        Token = Native.RASP_ENDED_TOKEN,
        Stop = Native.RASP_ENDED_STOP,
        Context = Native.RASP_ENDED_CONTEXT,
    }

    /// <summary>The text that a step of an answer has brought, often none, and whether the answer has ended.</summary>
    public readonly struct Piece
    {
        internal Piece(string text, uint ended)
        {
            Text = text;
            Ended = (Ended)ended;
        }

        public string Text { get; }
        public Ended Ended { get; }
    }

    // Answers as text.
    public sealed partial class Session
    {
        // Of one thread at a time, as the session.
        private byte[] room;

        private byte[] Room => room ?? (room = new byte[Native.RASP_STEP_TEXT_SIZE]);

        private static uint TextFlags(bool showSpecial, bool showMarks) =>
            (showSpecial ? (uint)Native.RASP_TEXT_SHOW_SPECIAL : 0) |
            (showMarks ? (uint)Native.RASP_TEXT_SHOW_MARKS : 0);

        /// <summary>Samples the next token of an answer: the text that can be shown now. Nothing of a stop string
        /// comes, and a full context ends the answer. <paramref name="showMarks"/>: of special tokens those are text
        /// that a Reply is told calls and reasoning by.</summary>
        public Piece StepText(bool showSpecial = false, bool showMarks = false)
        {
            byte[] text = Room;
            Done(Native.rasp_step_text(Handle, TextFlags(showSpecial, showMarks), text, Text.Size(text.Length),
                out UIntPtr length, out uint ended, Call.Error));
            return new Piece(Text.Of(text, length), ended);
        }

        /// <summary>As much of StepText as so much time allows: null if the token is not there yet, and the next call
        /// goes on.</summary>
        public Piece? StepTextWithin(TimeSpan budget, bool showSpecial = false, bool showMarks = false)
        {
            byte[] text = Room;
            int status = Done(Native.rasp_step_text_within(Handle, Text.Nanoseconds(budget, nameof(budget)),
                TextFlags(showSpecial, showMarks), text, Text.Size(text.Length), out UIntPtr length, out uint ended,
                Call.Error));
            return status == Native.RASP_PENDING ? (Piece?)null : new Piece(Text.Of(text, length), ended);
        }

        /// <summary>What is held back of an answer that ends here, since it could still have become a stop
        /// string.</summary>
        public string FinishText()
        {
            byte[] text = Room;
            Done(Native.rasp_finish_text(Handle, text, Text.Size(text.Length), out UIntPtr length, Call.Error));
            return Text.Of(text, length);
        }

        /// <summary>The text of the next tokens as it comes, in whole characters: to the end of the answer (a stop
        /// string or a full context is one too), or for at most <paramref name="limit"/> tokens. When <paramref
        /// name="cancellation"/> comes, the step under way ends with an OperationCanceledException.</summary>
        public IEnumerable<string> Generate(int? limit = null,
            CancellationToken cancellation = default(CancellationToken)) => Generated(limit, 0, cancellation);

        private IEnumerable<string> Generated(int? limit, uint flags, CancellationToken cancellation)
        {
            SessionHandle own = Handle;
            bool late = false;
            try
            {
                for (int count = 0; limit == null || count < limit; count++)
                {
                    cancellation.ThrowIfCancellationRequested();
                    byte[] text = Room;
                    UIntPtr length = UIntPtr.Zero;
                    int status = Cancellable(cancellation, () => Native.rasp_step_text(own, flags, text,
                        Text.Size(text.Length), out length, out uint _, Call.Error), out late);
                    if (length != UIntPtr.Zero) yield return Text.Of(text, length);
                    if (status == Native.RASP_END) yield break;
                }
                string rest = FinishText();
                if (rest.Length > 0) yield return rest;
            }
            finally
            {
                if (late && !own.IsClosed) TakeBackCancel(own);
            }
        }

        /// <summary>The same, computed on the thread pool.</summary>
        public IAsyncEnumerable<string> GenerateAsync(int? limit = null,
            CancellationToken cancellation = default(CancellationToken)) => new Pieces(this, limit, cancellation);

        /// <summary>Appends prompt tokens, on the thread pool.</summary>
        public Task PrefillAsync(IReadOnlyList<int> tokens,
            CancellationToken cancellation = default(CancellationToken)) =>
            Task.Run(() => Prefill(tokens, cancellation), cancellation);

        private sealed class Pieces : IAsyncEnumerable<string>
        {
            private readonly Session session;
            private readonly int? limit;
            private readonly CancellationToken cancellation;

            internal Pieces(Session session, int? limit, CancellationToken cancellation)
            {
                this.session = session;
                this.limit = limit;
                this.cancellation = cancellation;
            }

            public IAsyncEnumerator<string> GetAsyncEnumerator(
                CancellationToken further = default(CancellationToken))
            {
                CancellationTokenSource both = !further.CanBeCanceled || further == cancellation ? null :
                    CancellationTokenSource.CreateLinkedTokenSource(cancellation, further);
                CancellationToken token = both == null ? cancellation : both.Token;
                return new Walk(session.Generate(limit, token).GetEnumerator(), both);
            }
        }

        private sealed class Walk : IAsyncEnumerator<string>
        {
            private readonly IEnumerator<string> pieces;
            private readonly CancellationTokenSource source;

            internal Walk(IEnumerator<string> pieces, CancellationTokenSource source)
            {
                this.pieces = pieces;
                this.source = source;
            }

            public string Current => pieces.Current;

            public ValueTask<bool> MoveNextAsync() => new ValueTask<bool>(Task.Run(() => pieces.MoveNext()));

            public ValueTask DisposeAsync()
            {
                pieces.Dispose();
                source?.Dispose();
                return default(ValueTask);
            }
        }
    }
}

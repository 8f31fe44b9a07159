using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Threading;

namespace Rasp
{
    /// <summary>A token, and whether it ends generation.</summary>
    public readonly struct Token
    {
        internal Token(int id, int status)
        {
            Id = id;
            End = status == Native.RASP_END;
        }

        public int Id { get; }
        public bool End { get; }
    }

    /// <summary>One text in the making. It belongs to one thread at a time; Cancel may come from any.</summary>
    public sealed partial class Session : IDisposable
    {
        private readonly SessionHandle handle;
        private readonly JobSystem run;
        // Known to C by a weak reference alone.
        private readonly LogitsHook hook;

        internal delegate int Opening(Native.rasp_session_options[] options, out IntPtr session, byte[] error);

        private Session(SessionHandle handle, JobSystem run, LogitsHook hook)
        {
            this.handle = handle;
            this.run = run;
            this.hook = hook;
        }

        // With no options a fork, which has those of the first.
        internal static Session Opened(SessionOptions options, ModelHandle model, Keep[] adapters, Opening open)
        {
            var hook = new LogitsHook();
            var keptHook = new Keep(hook, GCHandleType.Weak);
            JobSystem run = options?.Run == null ? null : new JobSystem(options.Run);
            Keep keptRun = run == null ? null : new Keep(run, GCHandleType.Normal);
            try
            {
                Native.rasp_session_options[] raw = options == null ? null : new[] { options.Raw(keptRun) };
                Call.Checked(open(raw, out IntPtr opened, Call.Error));
                var handle = new SessionHandle(opened, model, adapters, keptRun, keptHook);
                keptRun = keptHook = null;
                LogSink.Rethrow(handle.Log, handle);
                return new Session(handle, run, hook);
            }
            finally
            {
                Keep.Released(keptRun);
                Keep.Released(keptHook);
            }
        }

        internal SessionHandle Handle => Rasp.Handle.Open(handle, this);

        /// <summary>Closes the session; one that is in a call is closed when that is done.</summary>
        public void Dispose() => handle.Dispose();

        // The status of a call that was given Call.Error, once the callbacks have had their say.
        private int Done(int status)
        {
            Rethrow();
            return Call.Checked(status);
        }

        // What callbacks threw. Until here C may have called them: the session, which holds them, must be there.
        internal void Rethrow()
        {
            hook.Thrown.Rethrow();
            run?.Thrown.Rethrow();
        }

        // The same, as a value.
        internal Exception Threw() => hook.Thrown.Take() ?? run?.Thrown.Take();

        // A call that ends as soon as the token is cancelled. `late`: the call was done by then, and the cancel waits
        // in the session for the next one, which has to be TakeBackCancel.
        private int Cancellable(CancellationToken token, Func<int> call, out bool late)
        {
            int status;
            using (token.Register(CancelQuietly)) status = call();
            // What was registered has run, or will not.
            late = status != Native.RASP_ERROR_CANCELLED && token.IsCancellationRequested;
            if (status == Native.RASP_ERROR_CANCELLED && token.IsCancellationRequested)
            {
                throw new OperationCanceledException(token);
            }
            return Done(status);
        }

        // Has a cancel that waits end a call that appends nothing for it. A full context refuses the call before: there
        // the cancel goes on waiting.
        private static void TakeBackCancel(SessionHandle own) =>
            Native.rasp_prefill(own, new int[1], Text.Size(1), Call.Error);

        // Whoever cancels a token need not hear that the session is gone.
        private void CancelQuietly()
        {
            try
            {
                Native.rasp_cancel(handle);
            }
            catch (ObjectDisposedException)
            {
            }
        }

        /// <summary>Appends prompt tokens.</summary>
        public void Prefill(IReadOnlyList<int> tokens, CancellationToken cancellation = default(CancellationToken))
        {
            int[] ids = Text.Listed(tokens, nameof(tokens));
            SessionHandle own = Handle;
            cancellation.ThrowIfCancellationRequested();
            Cancellable(cancellation, () => Native.rasp_prefill(own, ids, Text.Size(ids.Length), Call.Error),
                out bool late);
            if (late) TakeBackCancel(own);
        }

        /// <summary>Appends prompt tokens, which pass with the calls after this, as PrefillWithin.</summary>
        public void PrefillBegin(IReadOnlyList<int> tokens)
        {
            int[] ids = Text.Listed(tokens, nameof(tokens));
            Done(Native.rasp_prefill_begin(Handle, ids, Text.Size(ids.Length), Call.Error));
        }

        /// <summary>Goes on with the prompt of PrefillBegin for about so long: whether all of it has passed.</summary>
        public bool PrefillWithin(TimeSpan budget) =>
            Done(Native.rasp_prefill_within(Handle, Text.Nanoseconds(budget, nameof(budget)), Call.Error)) !=
                Native.RASP_PENDING;

        /// <summary>Samples the next token and appends it.</summary>
        public Token Step()
        {
            int status = Done(Native.rasp_step(Handle, out int token, Call.Error));
            return new Token(token, status);
        }

        /// <summary>As much of Step as so much time allows: null if the token is not there yet, and the next call goes
        /// on.</summary>
        public Token? StepWithin(TimeSpan budget)
        {
            int status = Done(Native.rasp_step_within(Handle, Text.Nanoseconds(budget, nameof(budget)), out int token,
                Call.Error));
            return status == Native.RASP_PENDING ? (Token?)null : new Token(token, status);
        }

        /// <summary>Appends a token of the caller's choice.</summary>
        public void Decode(int token) => Done(Native.rasp_decode(Handle, token, Call.Error));

        /// <summary>Makes the call under way, or else the next one, fail with Status.Cancelled. From any
        /// thread.</summary>
        public void Cancel() => Native.rasp_cancel(Handle);
    }
}

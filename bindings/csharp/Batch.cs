using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>What became of one session in a step of several.</summary>
    public readonly struct BatchStep
    {
        private readonly Token token;

        internal BatchStep(Token token, Exception error)
        {
            this.token = token;
            Error = error;
        }

        /// <summary>Why the session has not stepped, or null: a RaspException, or what a callback of its own
        /// threw.</summary>
        public Exception Error { get; }

        /// <summary>Its token; throws its error.</summary>
        public Token Token
        {
            get
            {
                if (Error != null) ExceptionDispatchInfo.Capture(Error).Throw();
                return token;
            }
        }
    }

    /// <summary>Several sessions over one model in one step.</summary>
    public static class Batch
    {
        /// <summary>Step of all sessions, in which the weights are read once for all of them. A session that fails does
        /// not disturb the others.</summary>
        public static BatchStep[] Step(IReadOnlyList<Session> sessions)
        {
            if (sessions == null) throw new ArgumentNullException(nameof(sessions));
            int count = sessions.Count;
            var pointers = new IntPtr[count];
            var tokens = new int[count];
            var statuses = new int[count];
            var held = new List<SafeHandle>();
            try
            {
                for (int n = 0; n < count; n++)
                {
                    SessionHandle one = sessions[n].Handle;
                    bool taken = false;
                    one.DangerousAddRef(ref taken);
                    if (taken) held.Add(one);
                    pointers[n] = one.DangerousGetHandle();
                }
                int status = Native.rasp_step_batch(pointers, Text.Size(count), tokens, statuses, Call.Error);
                var steps = new BatchStep[count];
                for (int n = 0; n < count; n++)
                {
                    // Words come for the first that failed; the others have a name.
                    Exception error = statuses[n] >= 0 ? null :
                        statuses[n] == status ? Call.Failed(status) : new RaspException(statuses[n], null);
                    if (error != null && statuses[n] == status) status = Native.RASP_OK;
                    error = sessions[n].Threw() ?? error;
                    steps[n] = new BatchStep(error == null ? new Token(tokens[n], statuses[n]) : default(Token), error);
                }
                return steps;
            }
            finally
            {
                foreach (SafeHandle one in held) one.DangerousRelease();
            }
        }
    }
}

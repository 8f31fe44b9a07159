using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;

namespace Rasp
{
    /// <summary>What became of one session in a step of several.</summary>
    public readonly struct BatchStep
    {
        private readonly Token token;

        internal BatchStep(Token token, RaspException error)
        {
            this.token = token;
            Error = error;
        }

        /// <summary>Why the session has not stepped, or null.</summary>
        public RaspException Error { get; }

        /// <summary>Its token; throws its error.</summary>
        public Token Token => Error == null ? token : throw Error;
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
                foreach (Session session in sessions) session.Rethrow();
                var steps = new BatchStep[count];
                for (int n = 0; n < count; n++)
                {
                    // Words come for the first that failed; the others have a name.
                    RaspException error = statuses[n] >= 0 ? null :
                        statuses[n] == status ? Call.Failed(status) : new RaspException(statuses[n], null);
                    if (error != null && statuses[n] == status) status = Native.RASP_OK;
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

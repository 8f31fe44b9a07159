using System;
using System.Collections.Generic;
using System.Runtime.ExceptionServices;
using System.Runtime.InteropServices;
using System.Threading;

namespace Rasp
{
    /// <summary>Hears a message of a model that is being loaded, or of a session that is being opened, on the threads
    /// of these; where they are several, on several at once.</summary>
    public delegate void LogCallback(LogLevel level, string message);

    /// <summary>A job system: calls <paramref name="job"/> with every part from 0 to <paramref name="parts"/> - 1, each
    /// once, on any threads, and returns when all have returned. It must not use the session.</summary>
    public delegate void RunCallback(Action<int> job, int parts);

    /// <summary>Looks at the logits of the next token, one a token of the vocabulary, which it may change, and at the
    /// tokens so far; both are valid until it returns. It returns null to have a token sampled from the logits, or the
    /// token that it chose. It must not use the session.</summary>
    public delegate int? LogitsCallback(float[] logits, IReadOnlyList<int> tokens);

    // By its name IL2CPP, which makes no code at run time, knows what C calls.
    [AttributeUsage(AttributeTargets.Method)]
    internal sealed class MonoPInvokeCallbackAttribute : Attribute
    {
        internal MonoPInvokeCallbackAttribute(Type type)
        {
        }
    }

    // An exception of a callback's, which may not pass through C: it is thrown when the call is back.
    internal sealed class Thrown
    {
        private ExceptionDispatchInfo first;

        internal void Add(Exception exception) =>
            Interlocked.CompareExchange(ref first, ExceptionDispatchInfo.Capture(exception), null);

        internal void Rethrow() => Interlocked.Exchange(ref first, null)?.Throw();

        // The exception, once; null if there is none.
        internal Exception Take() => Interlocked.Exchange(ref first, null)?.SourceException;
    }

    internal sealed class LogSink
    {
        // A delegate that C calls must live as long as C does.
        private static readonly Native.rasp_log_callback Entry = Heard;
        internal static readonly IntPtr Pointer = Marshal.GetFunctionPointerForDelegate(Entry);

        private readonly LogCallback log;
        internal readonly Thrown Thrown = new Thrown();

        internal LogSink(LogCallback log)
        {
            this.log = log;
        }

        // What it threw while something was made, which is given back then.
        internal static void Rethrow(Keep log, Handle made)
        {
            try
            {
                if (log != null) ((LogSink)GCHandle.FromIntPtr(log.Context).Target).Thrown.Rethrow();
            }
            catch
            {
                made.Dispose();
                throw;
            }
        }

        [MonoPInvokeCallback(typeof(Native.rasp_log_callback))]
        private static void Heard(IntPtr context, uint level, IntPtr message)
        {
            var sink = (LogSink)GCHandle.FromIntPtr(context).Target;
            try
            {
                sink.log((LogLevel)level, Text.Of(message));
            }
            catch (Exception exception)
            {
                sink.Thrown.Add(exception);
            }
        }
    }

    internal sealed class JobSystem
    {
        private static readonly Native.rasp_run_callback Entry = Asked;
        internal static readonly IntPtr Pointer = Marshal.GetFunctionPointerForDelegate(Entry);

        private readonly RunCallback run;
        internal readonly Thrown Thrown = new Thrown();
        // Made once for what is asked for hundreds of times a token, one after the other.
        private readonly Action<int> part;
        private IntPtr job;
        private IntPtr data;
        private Native.rasp_run_job call;

        internal JobSystem(RunCallback run)
        {
            this.run = run;
            part = number => call(data, checked((uint)number));
        }

        [MonoPInvokeCallback(typeof(Native.rasp_run_callback))]
        private static void Asked(IntPtr context, IntPtr job, IntPtr data, uint parts)
        {
            var system = (JobSystem)GCHandle.FromIntPtr(context).Target;
            try
            {
                if (system.job != job)
                {
                    system.call = Marshal.GetDelegateForFunctionPointer<Native.rasp_run_job>(job);
                    system.job = job;
                }
                system.data = data;
                system.run(system.part, (int)parts);
            }
            catch (Exception exception)
            {
                system.Thrown.Add(exception);
            }
        }
    }

    // What looks at a session's logits. The session holds it, C a weak reference to it: a callback often knows its
    // session, which could else never be collected.
    internal sealed class LogitsHook
    {
        internal static readonly Native.rasp_logits_callback Entry = Asked;

        internal LogitsCallback Callback;
        internal readonly Thrown Thrown = new Thrown();
        private float[] logits = new float[0];
        private int[] tokens = new int[0];

        [MonoPInvokeCallback(typeof(Native.rasp_logits_callback))]
        private static int Asked(IntPtr context, IntPtr logits, UIntPtr vocabulary, IntPtr tokens, UIntPtr count)
        {
            LogitsHook hook = null;
            try
            {
                hook = (LogitsHook)GCHandle.FromIntPtr(context).Target;
                return hook.Chosen(logits, Text.Size(vocabulary), tokens, Text.Size(count));
            }
            catch (Exception exception)
            {
                hook?.Thrown.Add(exception);
                // No token: the step fails, and has appended nothing.
                return int.MinValue;
            }
        }

        private int Chosen(IntPtr place, int vocabulary, IntPtr places, int count)
        {
            if (logits.Length != vocabulary) logits = new float[vocabulary];
            if (tokens.Length < count) tokens = new int[Math.Max(count, 2 * tokens.Length)];
            Marshal.Copy(place, logits, 0, vocabulary);
            Marshal.Copy(places, tokens, 0, count);
            int? chosen = Callback(logits, new ArraySegment<int>(tokens, 0, count));
            if (chosen.HasValue)
            {
                // One that C would take for none.
                if (chosen < 0) throw new ArgumentOutOfRangeException(nameof(chosen), chosen, "is no token");
                return chosen.Value;
            }
            Marshal.Copy(logits, 0, place, vocabulary);
            return Native.RASP_LOGITS_SAMPLE;
        }
    }
}

using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Rasp;

internal static class CallbackTests
{
    internal static void Collect()
    {
        GC.Collect();
        GC.WaitForPendingFinalizers();
        GC.Collect();
    }

    public static void Logs()
    {
        var heard = new List<KeyValuePair<LogLevel, string>>();
        var options = new LoadOptions { LogLevel = LogLevel.Debug };
        options.Log = (level, words) => heard.Add(new KeyValuePair<LogLevel, string>(level, words));
        Session session;
        using (var model = new Model(Program.Path, options))
        {
            Check.True(heard.Any(one => one.Key == LogLevel.Info && one.Value.Length > 0), "of loading");
            int before = heard.Count;
            model.Open(new SessionOptions { Context = 32 }).Dispose();
            Check.True(heard.Count > before && heard.Last().Key == LogLevel.Debug, "of opening");
            session = model.Open(new SessionOptions { Context = 32 });
        }
        // The model is gone and what heard of it is not: a fork opens a session.
        Collect();
        int now = heard.Count;
        session.Fork().Dispose();
        Check.True(heard.Count > now, "of forking");
        session.Dispose();
        Check.Throws<InvalidTimeZoneException>(() => new Model(Program.Path,
            new LoadOptions { Log = (level, words) => throw new InvalidTimeZoneException() }));
        bool failing = false;
        var sometimes = new LoadOptions { LogLevel = LogLevel.Debug };
        sometimes.Log = (level, words) =>
        {
            if (failing) throw new InvalidTimeZoneException();
        };
        using (var model = new Model(Program.Path, sometimes))
        {
            failing = true;
            Check.Throws<InvalidTimeZoneException>(() => model.Open());
            failing = false;
            model.Open().Dispose();
        }
    }

    public static void AJobSystem()
    {
        using (var model = new Model(Program.Path))
        {
            string expected = SessionTests.Answer(model, 8);
            int asked = 0;
            var options = new SessionOptions { Context = 128, Threads = 2 };
            options.Run = (job, parts) =>
            {
                Interlocked.Increment(ref asked);
                Parallel.For(0, parts, job);
            };
            using (Session session = model.Open(options))
            {
                Collect();
                session.Prefill(model.Tokenize(Program.Prompt));
                Check.Equal(expected, string.Concat(session.Generate(8)));
                Check.True(asked > 100, "asked");
            }
            bool failing = true;
            options.Run = (job, parts) =>
            {
                if (failing) throw new InvalidTimeZoneException();
                for (int part = 0; part < parts; part++) job(part);
            };
            using (Session session = model.Open(options))
            {
                int[] prompt = model.Tokenize(Program.Prompt);
                Check.Throws<InvalidTimeZoneException>(() => session.Prefill(prompt));
                failing = false;
                session.Prefill(prompt);
                Check.Equal(expected, string.Concat(session.Generate(8)));
            }
        }
    }

    public static void Logits()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            int usual = session.Step().Id;
            session.Reset();
            session.Prefill(tokens);
            int calls = 0;
            session.SetLogitsCallback((logits, all) =>
            {
                calls++;
                Check.Same(tokens, all.Take(tokens.Length));
                Check.Equal(tokens.Length + calls - 1, all.Count);
                logits[usual] = float.NegativeInfinity;
                return null;
            });
            Collect();
            Check.True(session.Step().Id != usual, "forbidden");
            Check.True(session.Step().Id != usual, "forbidden");
            Check.Equal(2, calls);
            session.SetLogitsCallback((logits, all) => 42);
            Check.Equal(42, session.Step().Id);
            int before = session.Stats.Tokens;
            session.SetLogitsCallback((logits, all) => throw new InvalidTimeZoneException("mine"));
            Check.Throws<InvalidTimeZoneException>(() => session.Step(), "mine");
            Check.Throws<InvalidTimeZoneException>(() => string.Concat(session.Generate(2)), "mine");
            BatchStep step = Batch.Step(new[] { session })[0];
            Check.Throws<InvalidTimeZoneException>(() => Check.Equal(0, step.Token.Id), "mine");
            session.SetLogitsCallback((logits, all) => -5);
            Check.Throws<ArgumentOutOfRangeException>(() => session.Step());
            session.SetLogitsCallback((logits, all) => int.MaxValue);
            Check.Equal(Status.OutOfRange, Check.Throws<RaspException>(() => session.Step()).Code);
            session.SetLogitsCallback((logits, all) => session.Step().Id);
            Check.Equal(Status.InvalidState, Check.Throws<RaspException>(() => session.Step()).Code);
            Check.Equal(before, session.Stats.Tokens);
            session.SetLogitsCallback(null);
            session.Rewind(tokens.Length);
            Check.Equal(usual, session.Step().Id);
        }
    }

    private static WeakReference Abandoned(Model model)
    {
        Session session = model.Open(new SessionOptions { Context = 32 });
        session.Prefill(model.Tokenize(Program.Prompt));
        // A callback that knows its session does not keep it.
        session.SetLogitsCallback((logits, all) => session == null ? 1 : (int?)null);
        session.Step();
        return new WeakReference(session);
    }

    public static void NobodyHoldsThem()
    {
        using (var model = new Model(Program.Path))
        {
            var gone = new List<WeakReference>();
            var thread = new Thread(() =>
            {
                for (int n = 0; n < 20; n++) gone.Add(Abandoned(model));
            });
            thread.Start();
            thread.Join();
            Collect();
            Check.True(gone.Count(one => !one.IsAlive) >= 18, "sessions that nobody holds are still there");
        }
    }
}

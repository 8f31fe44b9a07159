using System;
using System.Collections.Generic;
using System.Linq;
using Rasp;

internal static class SessionTests
{
    internal static string Answer(Model model, int limit)
    {
        using (Session session = model.Open(new SessionOptions { Context = 128 }))
        {
            session.Prefill(model.Tokenize(Program.Prompt));
            return string.Concat(session.Generate(limit));
        }
    }

    // A session whose model is closed, and the prompt.
    internal static Session Opened(out int[] tokens, SessionOptions options = null)
    {
        using (var model = new Model(Program.Path))
        {
            tokens = model.Tokenize(Program.Prompt);
            return model.Open(options ?? new SessionOptions { Context = 128, Threads = 2, Kv = KvType.F32 });
        }
    }

    public static void StepsAndLogits()
    {
        using (Session session = Opened(out int[] tokens))
        {
            Check.Equal(Status.InvalidState, Check.Throws<RaspException>(() => session.Step()).Code);
            session.Prefill(tokens);
            float[] logits = session.Logits();
            Token first = session.Step();
            Check.Equal(Array.IndexOf(logits, logits.Max()), first.Id);
            Check.True(!first.End, "goes on");
            float own = session.LogProb(first.Id);
            LogProb[] likeliest = session.Likeliest(3);
            Check.Equal(3, likeliest.Length);
            Check.Equal(first.Id, likeliest[0].Token);
            Check.Equal(own, likeliest[0].Value);
            Check.True(0 >= own && own >= likeliest[1].Value && likeliest[1].Value >= likeliest[2].Value, "order");
            Check.Throws<RaspException>(() => session.LogProb(1 << 30), "token 0 has id");
            session.SetLogitBias(new Dictionary<int, float> { { first.Id, float.NegativeInfinity } });
            session.Reset();
            session.Prefill(new List<int>(tokens));
            Check.True(session.Step().Id != first.Id, "a forbidden token came");
            session.SetLogitBias(null);
            session.Reset();
            session.Prefill(tokens);
            Check.Equal(first.Id, session.Step().Id);
            session.Decode(tokens[0]);
            Check.Equal(tokens.Length + 1, session.Stats.Tokens);
            Check.Throws<RaspException>(() => session.Decode(-1));
            Check.Throws<RaspException>(() => session.Prefill(new int[0]));
            Check.Throws<ArgumentNullException>(() => session.Prefill(null));
        }
    }

    public static void AFullContext()
    {
        using (Session session = Opened(out int[] tokens, new SessionOptions { Context = 16 }))
        {
            session.Prefill(tokens);
            var caught = Check.Throws<RaspException>(() =>
            {
                while (!session.Step().End)
                {
                }
            });
            Check.Equal(Status.ContextFull, caught.Code);
            Check.Equal("context full", caught.Name);
            session.Shift(1, 4);
            Check.True(!session.Step().End, "there is room");
            Check.Throws<ArgumentOutOfRangeException>(() => session.Shift(-1, 2));
            Check.Equal(Status.OutOfRange, Check.Throws<RaspException>(() => session.Shift(1, 100)).Code);
        }
    }

    public static void Samplers()
    {
        using (Session session = Opened(out int[] tokens))
        {
            var twice = new Sampling { Order = new[] { Stage.Xtc, Stage.Xtc } };
            Check.Throws<RaspException>(() => session.SetSampling(twice), "xtc comes twice");
            Check.Throws<ArgumentException>(() => session.SetSampling(new Sampling { Order = new Stage[8] }), "stages");
            Check.Throws<RaspException>(() => session.SetSampling(new Sampling { TypicalP = 2 }), "typical_p");
            Check.Throws<ArgumentOutOfRangeException>(() => session.SetSampling(new Sampling { TopK = -1 }), "TopK");
            var texts = new HashSet<string>();
            foreach (Sampling settings in new[] { null, new Sampling { FrequencyPenalty = 2 },
                new Sampling { DryMultiplier = 5, DryWindow = 64 }, new Sampling { Temperature = 1, MirostatTau = 3 },
                new Sampling { Temperature = 2, Order = new[] { Stage.TopK }, TopK = 50, XtcProbability = 1 } })
            {
                session.SetSampling(settings);
                session.Reset();
                session.Prefill(tokens);
                texts.Add(string.Concat(session.Generate(24)));
            }
            Check.True(texts.Count >= 4, "samplers do nothing");
        }
    }

    public static void Settings()
    {
        using (Session session = Opened(out int[] tokens))
        {
            session.SetSparsity(0.5f);
            session.SetSampling(new Sampling { Temperature = 1, Seed = 3 });
            var texts = new List<string>();
            for (int n = 0; n < 2; n++)
            {
                session.Reset();
                session.Prefill(tokens);
                texts.Add(string.Concat(session.Generate(8)));
            }
            Check.Equal(texts[0], texts[1]);
            SessionStats stats = session.Stats;
            Check.True(stats.Kept < 0.9 && stats.Sparsity == 0.5f && stats.DecodedTokens > 8 && stats.Units > 0 &&
                stats.LinearBytesRead > 0 && stats.HeadBytesRead > 0 && stats.Context == 128, "stats");
            session.ClearStats();
            Check.Equal(0L, session.Stats.DecodedTokens);
            Check.Equal(Status.OutOfRange, Check.Throws<RaspException>(() => session.SetSparsity(2)).Code);
            // A deadline that no token keeps.
            session.SetDeadline(TimeSpan.FromTicks(1), 0, 0.5f);
            foreach (string _ in session.Generate(4))
            {
            }
            Check.True(session.Stats.LateTokens > 0, "late tokens");
            session.SetDeadline(TimeSpan.Zero, 0, 0);
            Check.Throws<RaspException>(() => session.SetDeadline(TimeSpan.FromSeconds(1), 0.5f, 0.2f));
            Check.Throws<ArgumentOutOfRangeException>(() => session.SetDeadline(TimeSpan.FromSeconds(-1), 0, 0));
        }
    }

    public static void States()
    {
        using (Session session = Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            byte[] state = session.Save();
            string text = string.Concat(session.Generate(8));
            Check.True(text.Contains("Paris"), text);
            session.Rewind(tokens.Length);
            Check.Equal(text, string.Concat(session.Generate(8)), "rewound");
            session.Restore(state);
            Check.Equal(text, string.Concat(session.Generate(8)), "restored");
            Check.Equal(Status.BadState,
                Check.Throws<RaspException>(() => session.Restore(state.Take(state.Length - 1).ToArray())).Code);
            Check.Throws<ArgumentNullException>(() => session.Restore(null));
            Check.Throws<ArgumentOutOfRangeException>(() => session.Rewind(-1));
            session.Restore(state);
            using (Session fork = session.Fork())
            using (Session small = session.Fork(new SessionOptions { Context = 32, Kv = KvType.F32 }))
            {
                Check.Equal(128, fork.Stats.Context);
                Check.Equal(32, small.Stats.Context);
                session.Reset();
                Check.Equal(text, string.Concat(fork.Generate(8)), "forked");
                Check.Equal(text, string.Concat(small.Generate(8)), "forked, smaller");
                var tiny = new SessionOptions { Context = 4, Kv = KvType.F32 };
                Check.Equal(Status.ContextFull, Check.Throws<RaspException>(() => fork.Fork(tiny)).Code);
            }
        }
    }

    public static void Vectors()
    {
        using (Session session = Opened(out int[] tokens))
        {
            float[] vector = session.Embed(tokens);
            Check.Equal(576, vector.Length);
            Check.True(Math.Abs(vector.Sum(x => x * x) - 1) < 1e-3, "length");
            Check.True(session.Embed(tokens, Pooling.Last).Zip(vector, (a, b) => a * b).Sum() < 0.999, "pooling");
            Check.True(Math.Abs(session.Embed(tokens, normalise: false).Sum(x => x * x) - 1) > 0.1, "not normalised");
            session.Prefill(tokens);
            Check.Equal(Status.InvalidState, Check.Throws<RaspException>(() => session.Embed(tokens)).Code);
        }
    }

    public static void DraftsChangeNoToken()
    {
        using (var model = new Model(Program.Path))
        {
            int[] prompt = model.Tokenize("1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2,");
            var answers = new List<List<int>>();
            foreach (int drafts in new[] { 0, 7 })
            {
                using (Session session = model.Open(new SessionOptions { Context = 128, Drafts = drafts }))
                {
                    session.Prefill(prompt);
                    answers.Add(Enumerable.Range(0, 24).Select(_ => session.Step().Id).ToList());
                    SessionStats stats = session.Stats;
                    Check.Equal(drafts > 0, stats.AcceptedTokens > 0, "accepted");
                    Check.True(stats.DraftedTokens >= stats.AcceptedTokens, "drafted");
                    Check.Equal(Status.OutOfRange,
                        Check.Throws<RaspException>(() => session.SetDrafts(DraftKinds.Lookup, drafts + 1)).Code);
                    session.SetDrafts(DraftKinds.Lookup | DraftKinds.Forced | DraftKinds.Self, drafts, prompt);
                    session.SetDrafts(DraftKinds.None, 0);
                    long drafted = session.Stats.DraftedTokens;
                    session.Step();
                    Check.Equal(drafted, session.Stats.DraftedTokens);
                }
            }
            Check.Same(answers[0], answers[1]);
        }
    }

    public static void SeveralInOneStep()
    {
        using (var model = new Model(Program.Path))
        using (Session one = model.Open(new SessionOptions { Context = 64 }))
        using (Session two = model.Open(new SessionOptions { Context = 64 }))
        using (Session full = model.Open(new SessionOptions { Context = 2 }))
        using (Session alone = model.Open(new SessionOptions { Context = 64 }))
        {
            int[] prompt = model.Tokenize(Program.Prompt), other = model.Tokenize("One, two, three,");
            one.Prefill(prompt);
            alone.Prefill(prompt);
            two.Prefill(other);
            full.Prefill(prompt.Take(2).ToArray());
            for (int n = 0; n < 4; n++)
            {
                BatchStep[] steps = Batch.Step(new[] { one, full, two });
                Check.Equal(alone.Step().Id, steps[0].Token.Id);
                Check.Equal(Status.ContextFull, ((RaspException)steps[1].Error).Code);
                Check.Throws<RaspException>(() => Check.Equal(0, steps[1].Token.Id), "context full");
                Check.True(steps[2].Error == null && !steps[2].Token.End, "goes on");
            }
            Check.Equal(other.Length + 4, two.Stats.Tokens);
            BatchStep[] twice = Batch.Step(new[] { one, one });
            Check.True(twice.All(step => ((RaspException)step.Error).Code == Status.InvalidArgument), "given twice");
            Check.Equal(0, Batch.Step(new Session[0]).Length);
            two.SetLogitsCallback((logits, all) => throw new InvalidTimeZoneException("mine"));
            BatchStep[] threw = Batch.Step(new[] { one, two });
            Check.Equal(alone.Step().Id, threw[0].Token.Id);
            Check.Throws<InvalidTimeZoneException>(() => Check.Equal(0, threw[1].Token.Id), "mine");
            Check.Throws<ArgumentNullException>(() => Batch.Step(null));
        }
    }

    public static void Closed()
    {
        Session session = Opened(out int[] tokens);
        session.Dispose();
        session.Dispose();
        Check.Throws<ObjectDisposedException>(() => session.Prefill(tokens), "Session");
        Check.Throws<ObjectDisposedException>(() => session.Step(), "Session");
        Check.Throws<ObjectDisposedException>(() => session.Cancel(), "Session");
        Check.Throws<ObjectDisposedException>(() => session.Fork(), "Session");
        Check.Throws<ObjectDisposedException>(() => session.Logits(), "Session");
        Check.Throws<ObjectDisposedException>(() => string.Concat(session.Generate(1)), "Session");
        Check.Throws<ObjectDisposedException>(() => Batch.Step(new[] { session }), "Session");
    }
}

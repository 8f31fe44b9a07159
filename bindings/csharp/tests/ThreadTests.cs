using System;
using System.Collections.Generic;
using System.Linq;
using System.Threading;
using System.Threading.Tasks;
using Rasp;

internal static class ThreadTests
{
    // What `await foreach` does, which Mono's compiler does not know.
    private static async Task<string> Gathered(IAsyncEnumerable<string> pieces, Action<int> seen = null,
        CancellationToken cancellation = default(CancellationToken))
    {
        string text = "";
        int count = 0;
        IAsyncEnumerator<string> walk = pieces.GetAsyncEnumerator(cancellation);
        try
        {
            while (await walk.MoveNextAsync())
            {
                text += walk.Current;
                seen?.Invoke(++count);
            }
        }
        finally
        {
            await walk.DisposeAsync();
        }
        return text;
    }

    public static void CancelFromAnotherThread()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            Task.Delay(50).ContinueWith(_ => session.Cancel());
            var caught = Check.Throws<RaspException>(() =>
            {
                while (true)
                {
                    foreach (string _ in session.Generate(50))
                    {
                    }
                    session.Reset();
                    session.Prefill(tokens);
                }
            });
            Check.Equal(Status.Cancelled, caught.Code);
            Check.Equal("cancelled", caught.Name);
        }
    }

    // Whether a call ended by its token, which is cancelled after some milliseconds.
    private static bool Cancelled(int milliseconds, Action<CancellationToken> call)
    {
        using (var source = new CancellationTokenSource())
        using (new Timer(_ => source.Cancel(), null, milliseconds, Timeout.Infinite))
        {
            try
            {
                call(source.Token);
                return false;
            }
            catch (OperationCanceledException exception)
            {
                Check.Equal(source.Token, exception.CancellationToken);
                return true;
            }
        }
    }

    public static void Tokens()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            var many = Enumerable.Repeat(tokens, 20).SelectMany(one => one).ToArray();
            // At every moment of a call or between two, when it comes in time; what follows never hears of it.
            int prompts = 0, answers = 0;
            for (int n = 0; n < 30; n++)
            {
                session.Reset();
                bool cut = Cancelled(n % 10 + 1, token => session.Prefill(many, token));
                Check.Equal(cut ? 0 : many.Length, session.Stats.Tokens);
                prompts += cut ? 1 : 0;
                session.Reset();
                session.Prefill(tokens);
                answers += Cancelled(n, token => string.Concat(session.Generate(1000, token))) ? 1 : 0;
                session.Rewind(tokens.Length);
                Check.True(session.Step().Id > 0, "a step after a cancel");
            }
            Check.True(prompts > 0 && answers > 10, $"{prompts} prompts and {answers} answers were cancelled");
            session.Rewind(tokens.Length);
            using (var source = new CancellationTokenSource())
            {
                source.Cancel();
                Check.Throws<OperationCanceledException>(() => session.Prefill(tokens, source.Token));
                Check.Throws<OperationCanceledException>(() => string.Concat(session.Generate(4, source.Token)));
                Check.True(session.Step().Id > 0, "a step");
            }
        }
    }

    public static void ACancelThatIsLate()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            CancellationTokenSource source = null;
            int calls = 0;
            // The step has computed all by then, and gives its token.
            session.SetLogitsCallback((logits, all) =>
            {
                if (++calls == 3) source.Cancel();
                return null;
            });
            for (int way = 0; way < 3; way++)
            {
                session.Reset();
                session.Prefill(tokens);
                calls = 0;
                using (source = new CancellationTokenSource())
                {
                    if (way == 0)
                    {
                        IEnumerable<string> pieces = session.Generate(9, source.Token);
                        Check.Throws<OperationCanceledException>(() => string.Concat(pieces));
                    }
                    else if (way == 1)
                    {
                        Check.True(session.Generate(3, source.Token).Count() > 0, "to the limit");
                    }
                    else
                    {
                        foreach (string _ in session.Generate(9, source.Token))
                        {
                            if (calls == 3) break;
                        }
                    }
                }
                Check.Equal(tokens.Length + 3, session.Stats.Tokens);
                Check.True(session.Step().Id > 0, "the next call does not hear of it");
            }
        }
    }

    public static void Asynchronously()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.PrefillAsync(tokens).Wait();
            string expected = string.Concat(session.Generate(12));
            session.Rewind(tokens.Length);
            Check.Equal(expected, Gathered(session.GenerateAsync(12)).Result);
            foreach (bool inside in new[] { true, false })
            {
                session.Rewind(tokens.Length);
                using (var source = new CancellationTokenSource())
                using (var other = new CancellationTokenSource())
                {
                    Task<string> task = inside
                        ? Gathered(session.GenerateAsync(1000, source.Token), n => (n == 3 ? source : null)?.Cancel())
                        : Gathered(session.GenerateAsync(1000, other.Token), n => (n == 3 ? source : null)?.Cancel(),
                            source.Token);
                    var caught = Check.Throws<AggregateException>(() => task.Wait());
                    Check.True(caught.InnerException is OperationCanceledException, caught.ToString());
                }
                Check.Equal(tokens.Length + 3, session.Stats.Tokens);
            }
            using (var source = new CancellationTokenSource())
            {
                source.Cancel();
                Check.Throws<AggregateException>(() => session.PrefillAsync(tokens, source.Token).Wait());
            }
        }
    }

    private static bool Refused(Action call)
    {
        try
        {
            call();
            return false;
        }
        catch (RaspException exception) when (exception.Code == Status.InvalidState)
        {
            return true;
        }
    }

    public static void ASecondCallAtOnce()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            int[] many = Enumerable.Repeat(tokens, 24).SelectMany(one => one).ToArray();
            bool refused = false;
            // Whichever of the two came second; or neither, where one thread has to wait for the other to begin.
            for (int n = 0; n < 50 && !refused; n++)
            {
                session.Reset();
                Task<bool> first = Task.Run(() => Refused(() => session.Prefill(many)));
                while (!first.IsCompleted && !refused) refused = Refused(session.ClearStats);
                refused |= first.Result;
            }
            Check.True(refused, "no second call at once");
            session.Reset();
            session.Prefill(tokens);
            Check.True(string.Concat(session.Generate(8)).Contains("Paris"), "goes on");
        }
    }

    public static void DisposedOfDuringACall()
    {
        for (int n = 0; n < 10; n++)
        {
            Session session = SessionTests.Opened(out int[] tokens);
            session.Prefill(tokens);
            var began = new ManualResetEventSlim();
            Task<Exception> working = Task.Run(() =>
            {
                try
                {
                    began.Set();
                    while (true) string.Concat(session.Generate(20));
                }
                catch (Exception exception)
                {
                    return exception;
                }
            });
            began.Wait();
            Thread.Sleep(n);
            session.Dispose();
            Check.True(working.Result is ObjectDisposedException, working.Result.ToString());
        }
    }

    public static void AModelOnSeveralThreads()
    {
        using (var model = new Model(Program.Path))
        {
            string expected = SessionTests.Answer(model, 8);
            var tasks = Enumerable.Range(0, 4).Select(_ => Task.Run(() => SessionTests.Answer(model, 8))).ToList();
            foreach (Task<string> task in tasks) Check.Equal(expected, task.Result);
        }
    }
}

using System;
using System.Collections.Generic;
using System.IO;
using System.Linq;
using Rasp;

internal static class AdapterTests
{
    private static int[] Answer(Session session, int[] prompt)
    {
        session.Reset();
        session.Prefill(prompt);
        return Enumerable.Range(0, 8).Select(_ => session.Step().Id).ToArray();
    }

    private static SessionOptions Options => new SessionOptions { Context = 64, AdapterRank = 6 };

    // Bytes that only the library and what it was given to keep know of.
    private static Adapter FromBytes(Model model) => model.AdapterFromBytes(File.ReadAllBytes(Program.AdapterPath));

    public static void TheyChangeWhatIsSaid()
    {
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(Options))
        using (FileStream file = File.OpenRead(Program.AdapterPath))
        {
            int[] prompt = model.Tokenize(Program.Prompt);
            var adapters = new List<Adapter> { model.Adapter(Program.AdapterPath), FromBytes(model),
                model.AdapterFromFile(file.SafeFileHandle),
                model.AdapterFromFile(file.SafeFileHandle, 0, file.Length) };
            AdapterInfo info = adapters[0].Info;
            Check.Equal("lora", info.Name);
            Check.True(info.Rank == 3 && info.Linears == 60 && info.Bytes > 0 && info.Bytes <= file.Length, "info");
            int[] alone = Answer(session, prompt);
            int[] adapted = null;
            foreach (Adapter one in adapters)
            {
                session.SetAdapters(new[] { one });
                int[] found = Answer(session, prompt);
                Check.Same(adapted ?? found, found);
                adapted = found;
            }
            Check.True(!adapted.SequenceEqual(alone), "an adapter that changes nothing");
            session.SetAdapters(adapters.Take(2).ToList(), new float[] { 0, 0 });
            Check.Same(alone, Answer(session, prompt));
            session.SetAdapters(new Adapter[0]);
            Check.Same(alone, Answer(session, prompt));
            // The bytes of one are kept for as long as it is set, by a fork too.
            session.SetAdapters(new[] { adapters[1] });
            foreach (Adapter one in adapters) one.Dispose();
            using (Session fork = session.Fork())
            {
                session.SetAdapters(new Adapter[0]);
                GC.Collect();
                GC.WaitForPendingFinalizers();
                var filler = new List<byte[]>();
                for (int n = 0; n < 16; n++) filler.Add(new byte[file.Length]);
                Check.Same(adapted, Answer(fork, prompt));
                GC.KeepAlive(filler);
            }
            Check.Throws<ObjectDisposedException>(() => session.SetAdapters(adapters), "Adapter");
            Check.Throws<ObjectDisposedException>(() => adapters[0].Info.ToString(), "Adapter");
        }
    }

    public static void BytesAreLetGo()
    {
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(Options))
        {
            WeakReference bytes = Set(model, session);
            GC.Collect();
            Check.True(bytes.IsAlive, "what is set was let go");
            session.SetAdapters(new Adapter[0]);
            for (int n = 0; n < 10 && bytes.IsAlive; n++)
            {
                // Something else on the stack, which Mono's collector reads as it is.
                Check.Equal(16, Answer(session, new int[9]).Length + 8);
                GC.Collect();
                GC.WaitForPendingFinalizers();
            }
            Check.True(!bytes.IsAlive, "bytes that nobody needs are kept");
        }
    }

    [System.Runtime.CompilerServices.MethodImpl(System.Runtime.CompilerServices.MethodImplOptions.NoInlining)]
    private static WeakReference Set(Model model, Session session)
    {
        WeakReference weak = null;
        // In a thread of its own, whose stack is gone afterwards.
        var thread = new System.Threading.Thread(() =>
        {
            byte[] data = File.ReadAllBytes(Program.AdapterPath);
            weak = new WeakReference(data);
            using (Adapter adapter = model.AdapterFromBytes(data)) session.SetAdapters(new[] { adapter });
        });
        thread.Start();
        thread.Join();
        return weak;
    }

    public static void WhatIsRefused()
    {
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(new SessionOptions { Context = 64 }))
        using (Adapter adapter = model.Adapter(Program.AdapterPath))
        {
            Check.Throws<RaspException>(() => session.SetAdapters(new[] { adapter }), "adapter_rank 3");
            Check.Throws<ArgumentException>(() => session.SetAdapters(new[] { adapter }, new float[2]),
                "1 adapters have 2 scales");
            Check.Throws<RaspException>(() => session.SetAdapters(new[] { adapter }, new[] { float.NaN }), "finite");
            Check.Throws<ArgumentNullException>(() => session.SetAdapters(null));
            Check.Throws<ArgumentException>(() => model.Adapter("a\0b"), "NUL");
            Check.Equal(Status.Io, Check.Throws<RaspException>(() => model.Adapter("/nowhere"), "/nowhere").Code);
            Check.Throws<RaspException>(() => model.Adapter(Program.Path), "not an adapter");
            byte[] data = File.ReadAllBytes(Program.AdapterPath);
            Array.Resize(ref data, data.Length - 1);
            Check.Throws<RaspException>(() => model.AdapterFromBytes(data), "truncated");
        }
    }
}

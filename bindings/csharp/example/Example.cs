// A chat of one question, dense and then sparse: mono Example.exe MODEL.rasp

using System;
using Rasp;

internal static class Example
{
    private static void Main(string[] arguments)
    {
        using (var model = new Model(arguments[0]))
        using (var session = model.Open(new SessionOptions { Context = 512 }))
        {
            Console.WriteLine($"{model.Info.Name}: {model.Info.NumLayers} layers; rasp {Engine.Version}");
            int[] prompt = model.ChatTokenize(new ChatMessage("user", "What is the capital of France?"));
            foreach (float sparsity in new[] { 0f, 0.3f })
            {
                session.Reset();
                session.ClearStats();
                session.SetSparsity(sparsity);
                session.Prefill(prompt);
                foreach (string piece in session.Generate(limit: 24)) Console.Write(piece);
                Console.WriteLine($"\n    [{100 * session.Stats.Kept:F0}% of the linear weights read]");
            }
        }
    }
}

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text.RegularExpressions;
using System.Threading;
using Rasp;

internal static class ChatTests
{
    private const string Tools = "[{\"type\": \"function\", \"function\": {\"name\": \"weather\", \"parameters\": " +
        "{\"type\": \"object\", \"properties\": {\"unit\": {\"enum\": [\"C\", \"F\"]}}, \"required\": [\"unit\"], " +
        "\"additionalProperties\": false}}}]";

    private static ChatMessage Question => new ChatMessage("user", "What is the capital of France?");

    private static string Said(IEnumerable<Part> parts) => string.Concat(parts.Select(part => part.Text));

    public static void EachTokenPassesOnce()
    {
        Session session;
        using (var model = new Model(Program.Path)) session = model.Open(new SessionOptions { Context = 256 });
        using (session)
        {
            var messages = new List<ChatMessage> { Question };
            Turn turn = session.Chat(messages, new TurnOptions { Limit = 64 });
            Check.Equal(0, turn.Kept);
            List<Part> parts = turn.ToList();
            Check.True(Said(parts).Contains("Paris") && parts.Count > 4, Said(parts));
            Check.True(parts.All(part => part.Kind == PartKind.Text && part.Name == null && part.Id == null), "parts");
            Check.Throws<InvalidOperationException>(() => turn.ToList(), "once");
            int[] held = session.Tokens();
            Check.Equal(session.Stats.Tokens, held.Length);
            messages.Add(turn.Message);
            messages.Add(new ChatMessage("user", "And of Italy? Also: a\0b"));
            turn = session.Chat(messages, new TurnOptions { Limit = 32 });
            Check.Equal(held.Length, turn.Kept);
            Check.Same(held, session.Tokens().Take(held.Length));
            Check.True(Said(turn).Contains("Rome"), "no Rome");
            // An answer that is left in the middle is what had come.
            turn = session.Chat(messages);
            string first = turn.First().Text;
            Check.Equal("{\"content\":\"" + first + "\"}", turn.Message.Fields);
            using (Session fork = session.Fork())
            {
                Check.True(Said(fork.Chat(messages, new TurnOptions { Limit = 32 })).Contains("Rome"), "a fork");
            }
        }
        Check.Throws<ObjectDisposedException>(() => session.Chat(new[] { Question }), "Session");
    }

    public static void Prompts()
    {
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(new SessionOptions { Context = 128 }))
        {
            int[] tokens = model.ChatTokenize(Question);
            Check.Equal(0, session.Tokens().Length);
            Check.Equal(0, session.PrefillChat(new[] { Question }));
            Check.Same(tokens, session.Tokens());
            Check.Equal(tokens.Length, session.PrefillChat(new[] { Question }));
            int first = session.Step().Id;
            session.Reset();
            Check.Equal(0, session.PrefillChatBegin(new[] { Question }));
            int calls = 1;
            while (!session.PrefillWithin(TimeSpan.Zero)) calls++;
            Check.True(calls > 10, "cut into parts");
            Check.Equal(first, session.Step().Id);
            Check.True(session.PrefillChat(new[] { Question }, new ChatOptions { AddGenerationPrompt = false }) > 0 &&
                session.Tokens().Length < tokens.Length, "no prompt for an answer");
            Check.Equal(Status.ContextFull, Check.Throws<RaspException>(
                () => session.PrefillChat(Enumerable.Repeat(Question, 20).ToList())).Code);
            Check.Throws<OperationCanceledException>(
                () => session.PrefillChat(new[] { Question }, null, new CancellationToken(true)));
            Check.Throws<ArgumentException>(() => session.Chat(new[] { Question },
                new TurnOptions { ToolChoice = "auto" }), "wants Tools");
            Check.Throws<RaspException>(() => session.Chat(new[] { Question },
                new TurnOptions { Tools = Tools, ToolChoice = "auto" }), "no format");
        }
    }

    public static void ACallAndItsResult()
    {
        Session session;
        using (var model = new Model(Program.ToolsPath)) session = model.Open();
        using (session)
        {
            foreach (string choice in new[] { "required", "weather" })
            {
                var messages = new List<ChatMessage> { new ChatMessage("user", "Hi") };
                Turn turn = session.Chat(messages, new TurnOptions { Tools = Tools, ToolChoice = choice, Limit = 100,
                    Variables = "{\"x\": 1}" });
                Part call = turn.Single();
                Check.Equal(PartKind.Call, call.Kind);
                Check.Equal("weather", call.Name);
                Check.True(Regex.IsMatch(call.Text, "\\A\\{\"unit\": ?\"[CF]\"\\}\\z"), call.Text);
                string fields = turn.Message.Fields;
                Check.True(fields.Contains(call.Id) && fields.Contains("tool_calls"), fields);
                int held = session.Tokens().Length;
                messages.Add(turn.Message);
                messages.Add(new ChatMessage("tool", "20", "{\"tool_call_id\": \"" + call.Id + "\"}"));
                Check.True(session.PrefillChat(messages) >= held - 1, "the call passed again");
            }
            Check.Throws<RaspException>(() => session.Chat(new[] { Question },
                new TurnOptions { Tools = Tools, ToolChoice = "a \"b\\" }), "none called \"a \\\"b\\\\\"");
            // The constraint was the turn's alone.
            session.Reset();
            Turn free = session.Chat(new[] { new ChatMessage("user", "Hi") },
                new TurnOptions { Tools = Tools, Limit = 16 });
            Check.True(!Said(free).Contains("<tool_call>"), "still held to a call");
        }
    }

    public static void Replies()
    {
        var messages = new[] { new ChatMessage("user", "Hi") };
        const string Rest = "Hm.\n</think>\n\nSo:\n<tool_call>\n{\"name\": \"weather\", \"arguments\": " +
            "{\"unit\": \"\\u0000C\"}}\n</tool_call>";
        using (var model = new Model(Program.ToolsPath))
        {
            var options = new ChatOptions { Variables = "{\"tools\": " + Tools + ", \"think\": true}" };
            foreach (bool tokens in new[] { false, true })
            {
                Reply reply = model.Reply(messages, options);
                if (tokens) foreach (int token in model.Tokenize(Rest)) reply.PushToken(token);
                else foreach (char letter in Rest) reply.Push(letter.ToString());
                reply.Finish();
                var parts = new List<Part>();
                for (Part? part = reply.Next(); part != null; part = reply.Next()) parts.Add(part.Value);
                Check.Same(new[] { PartKind.Reasoning, PartKind.Text, PartKind.Call }, parts.Select(part => part.Kind));
                Check.Same(new[] { "Hm.", "So:" }, parts.Take(2).Select(part => part.Text.Trim()));
                Check.True(parts[2].Text.Contains("\\u0000C"), parts[2].Text);
                Check.True(reply.Message().Fields.Contains("reasoning_content"), reply.Message().Fields);
                Check.Throws<RaspException>(() => reply.Push("x"), "finished");
                reply.Dispose();
                Check.Throws<ObjectDisposedException>(() => reply.Push("x"), "Reply");
            }
        }
    }
}

using System;
using System.Collections.Generic;
using System.Linq;
using System.Text;
using System.Text.RegularExpressions;
using Rasp;

internal static class AnswerTests
{
    public static void Streaming()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            List<string> pieces = session.Generate(16).ToList();
            Check.True(string.Concat(pieces).Contains("Paris"), "no Paris");
            Check.True(pieces.Count > 8, "one piece a token");
            Check.True(session.Generate(0).Count() == 0, "no token");
        }
    }

    public static void StopStrings()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            session.SetStop("Paris", "never");
            string text = string.Concat(session.Generate(50));
            Check.True(!text.Contains("Paris") && session.Stats.Tokens < 50, text);
            session.Rewind(tokens.Length);
            session.Reset();
            session.Prefill(tokens);
            Piece piece;
            do piece = session.StepText();
            while (piece.Ended == Ended.Not);
            Check.Equal(Ended.Stop, piece.Ended);
            // What could become a stop string is held back, until the answer is ended.
            session.SetStop("Paris is not it");
            session.Reset();
            session.Prefill(tokens);
            Check.Equal("", session.StepText().Text.Trim());
            Check.True(session.FinishText().Contains("Paris"), "held back");
            session.Reset();
            session.Prefill(tokens);
            Check.Equal("Paris", string.Concat(session.Generate(1)).Trim(), "held back at the limit");
            session.SetStop();
            session.Reset();
            session.Prefill(tokens);
            Check.True(string.Concat(session.Generate(8)).Contains("Paris"), "cleared");
            Check.Throws<ArgumentException>(() => session.SetStop("a\0b"), "NUL");
            Check.Throws<ArgumentNullException>(() => session.SetStop("a", null));
            Check.Throws<RaspException>(() => session.SetStop(""));
            Check.Equal(Status.OutOfRange, Check.Throws<RaspException>(
                () => session.SetStop(Enumerable.Repeat("a", 17).ToArray())).Code);
        }
    }

    public static void TheEndOfAnAnswer()
    {
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(new SessionOptions { Context = 128 }))
        {
            session.Prefill(model.ChatTokenize(new ChatMessage("user", "Say yes.")));
            var text = new StringBuilder();
            Piece piece;
            do
            {
                piece = session.StepText(showSpecial: true);
                text.Append(piece.Text);
            }
            while (piece.Ended == Ended.Not);
            Check.Equal(Ended.Token, piece.Ended);
            Check.True(text.ToString().EndsWith("<|im_end|>"), text.ToString());
        }
        using (Session session = SessionTests.Opened(out int[] tokens, new SessionOptions { Context = 16 }))
        {
            session.Prefill(tokens);
            Check.True(string.Concat(session.Generate()).Contains("Paris"), "until the context is full");
            Check.Equal(Ended.Context, session.StepText().Ended);
        }
    }

    public static void InSoMuchTime()
    {
        using (Session session = SessionTests.Opened(out int[] tokens))
        {
            session.Prefill(tokens);
            string expected = string.Concat(session.Generate(8));
            session.Reset();
            session.PrefillBegin(tokens);
            Check.Equal(Status.InvalidState, Check.Throws<RaspException>(() => session.Save()).Code);
            int calls = 1;
            while (!session.PrefillWithin(TimeSpan.Zero)) calls++;
            Check.True(calls > 10, "cut into parts");
            var text = new StringBuilder();
            int pending = 0;
            for (int n = 0; n < 8;)
            {
                Piece? piece = session.StepTextWithin(TimeSpan.FromTicks(100));
                if (piece == null) pending++;
                else n++;
                text.Append(piece?.Text);
            }
            Check.Equal(expected, text + session.FinishText());
            Check.True(pending > 10, "cut into parts");
            session.Rewind(tokens.Length);
            int first = session.Step().Id;
            session.Reset();
            session.PrefillBegin(tokens);
            Token? token;
            do token = session.StepWithin(TimeSpan.FromTicks(100));
            while (token == null);
            Check.Equal(first, token.Value.Id);
            Check.Throws<ArgumentOutOfRangeException>(() => session.StepWithin(TimeSpan.FromTicks(-1)));
        }
    }

    public static void Characters()
    {
        using (var model = new Model(Program.Path))
        {
            var stream = new TextStream();
            string text = "Grüße, 🙂, 日本", got = "";
            foreach (int token in model.Tokenize(text)) got += stream.Push(model.TokenBytes(token));
            Check.Equal(text, got + (got.Length < text.Length ? stream.Finish() : ""));
            Check.Equal("", stream.Push(new byte[] { 0xe6 }));
            Check.Equal("", stream.Push(new byte[0]));
            Check.Equal("\ufffd", stream.Finish());
            Check.Throws<ArgumentNullException>(() => stream.Push(null));
        }
    }

    public static void Constraints()
    {
        const string Schema = "{\"type\": \"object\", \"properties\": {\"colour\": {\"enum\": [\"red\", \"green\"]}," +
            "\"count\": {\"type\": \"integer\", \"minimum\": 1, \"maximum\": 9}}," +
            "\"required\": [\"colour\", \"count\"], \"additionalProperties\": false}";
        using (var model = new Model(Program.Path))
        using (Session session = model.Open(new SessionOptions { Context = 128 }))
        {
            Func<string, string> answer = prompt =>
            {
                session.Reset();
                session.Prefill(model.Tokenize(prompt));
                return string.Concat(session.Generate(64));
            };

            using (Constraint constraint = model.Constraint(ConstraintKind.JsonSchema, Schema))
            {
                session.SetConstraint(constraint);
                constraint.Dispose();
                Check.Throws<ObjectDisposedException>(() => session.SetConstraint(constraint), "Constraint");
            }
            string json = answer("As JSON, five green apples:");
            Check.True(Regex.IsMatch(json, "\\A\\{\"colour\": \"(red|green)\", \"count\": [1-9]\\}\\z"), json);
            session.SetConstraint(model.Constraint(ConstraintKind.Regex, "[0-9]{3}-[a-z]{2}"));
            Check.True(Regex.IsMatch(answer("The code is "), "\\A[0-9]{3}-[a-z]{2}\\z"), "regex");
            const string Grammar = "start: \"go \" (\"left\" | \"right\") \".\"";
            session.SetConstraint(model.Constraint(ConstraintKind.Grammar, Grammar));
            Check.True(new[] { "go left.", "go right." }.Contains(answer("Directions:")), "grammar");
            session.SetConstraint(null);
            Check.True(!new[] { "go left.", "go right." }.Contains(answer("Directions:")), "no constraint");
            const string Wrong = "{\"type\": \"colour\"}";
            Check.Throws<RaspException>(() => model.Constraint(ConstraintKind.JsonSchema, Wrong), "colour");
            Check.Throws<RaspException>(() => model.Constraint((ConstraintKind)7, "x"));
            Check.Throws<ArgumentNullException>(() => model.Constraint(ConstraintKind.Regex, null));
            using (var other = new Model(Program.Path))
            using (Constraint strange = other.Constraint(ConstraintKind.Regex, "a"))
            {
                Check.Throws<RaspException>(() => session.SetConstraint(strange), "another model");
            }
        }
    }
}

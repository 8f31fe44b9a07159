using System;
using System.Collections.Generic;
using System.Linq;

// What the tests say of what they see.
internal static class Check
{
    internal static void True(bool holds, string what)
    {
        if (!holds) throw new Exception(what);
    }

    internal static void Equal<T>(T expected, T found, string what = "value")
    {
        if (!EqualityComparer<T>.Default.Equals(expected, found))
        {
            throw new Exception($"{what}: {found}, not {expected}");
        }
    }

    internal static void Same<T>(IEnumerable<T> expected, IEnumerable<T> found, string what = "list")
    {
        if (!expected.SequenceEqual(found))
        {
            throw new Exception($"{what}: [{string.Join(", ", found)}], not [{string.Join(", ", expected)}]");
        }
    }

    internal static T Throws<T>(Action action, string words = "") where T : Exception
    {
        try
        {
            action();
        }
        catch (T exception)
        {
            True(exception.Message.Contains(words), $"\"{exception.Message}\" does not say \"{words}\"");
            return exception;
        }
        throw new Exception($"no {typeof(T).Name} \"{words}\"");
    }
}

using System;
using System.Collections.Generic;
using System.Runtime.InteropServices;
using System.Text;

namespace Rasp
{
    // Text, numbers and lists on their way to C and back.
    internal static class Text
    {
        // Half of a surrogate pair is an error rather than another character.
        private static readonly UTF8Encoding Strict = new UTF8Encoding(false, true);

        internal static byte[] Bytes(string text) => Strict.GetBytes(text);

        // With a NUL after it, and so with none inside.
        internal static byte[] Terminated(string text, string name)
        {
            if (text == null) throw new ArgumentNullException(name);
            if (text.IndexOf('\0') >= 0) throw new ArgumentException("a NUL would end the text", name);
            return Bytes(text + "\0");
        }

        internal static string Of(byte[] bytes, UIntPtr length) =>
            length == UIntPtr.Zero ? "" : Encoding.UTF8.GetString(bytes, 0, Size(length));

        // Up to a NUL.
        internal static string Of(byte[] bytes, int at, int most)
        {
            int end = Array.IndexOf(bytes, (byte)0, at, most);
            return Encoding.UTF8.GetString(bytes, at, end < 0 ? most : end - at);
        }

        internal static string Of(IntPtr text)
        {
            int length = 0;
            while (Marshal.ReadByte(text, length) != 0) length++;
            return Encoding.UTF8.GetString(Copied(text, length));
        }

        internal static string Of(IntPtr text, UIntPtr length) =>
            Encoding.UTF8.GetString(Copied(text, Size(length)));

        // A JSON object, or null for none, with a member more.
        internal static string Member(string json, string name, string value)
        {
            string all = (json ?? "{}").Trim();
            if (!all.StartsWith("{", StringComparison.Ordinal))
            {
                throw new ArgumentException("variables: no JSON object");
            }
            string rest = all.Substring(1).TrimStart();
            string comma = rest.StartsWith("}", StringComparison.Ordinal) ? "" : ", ";
            return "{\"" + name + "\": " + value + comma + rest;
        }

        // A tool_choice as the library takes it.
        internal static string Choice(string choice)
        {
            if (choice == "auto" || choice == "required") return "\"" + choice + "\"";
            var name = new StringBuilder();
            foreach (char letter in choice)
            {
                bool plain = letter >= ' ' && letter != '"' && letter != '\\';
                name.Append(plain ? letter.ToString() : "\\u" + ((int)letter).ToString("x4"));
            }
            return "{\"type\": \"function\", \"function\": {\"name\": \"" + name + "\"}}";
        }

        internal static byte[] Copied(IntPtr bytes, int length)
        {
            var copy = new byte[length];
            if (length > 0) Marshal.Copy(bytes, copy, 0, length);
            return copy;
        }

        internal static T[] Listed<T>(IReadOnlyList<T> list, string name)
        {
            if (list == null) throw new ArgumentNullException(name);
            if (list is T[] array) return array;
            var copy = new T[list.Count];
            for (int n = 0; n < copy.Length; n++) copy[n] = list[n];
            return copy;
        }

        internal static UIntPtr Size(int value) => new UIntPtr(checked((uint)value));

        internal static int Size(UIntPtr value) => checked((int)value.ToUInt64());

        internal static uint Natural(int value, string name)
        {
            if (value < 0) throw new ArgumentOutOfRangeException(name, value, "may not be negative");
            return (uint)value;
        }

        internal static ulong Nanoseconds(TimeSpan time, string name)
        {
            if (time < TimeSpan.Zero) throw new ArgumentOutOfRangeException(name, time, "may not be negative");
            return (ulong)time.Ticks * 100;
        }

        internal static uint Flag(bool value) => value ? 1u : 0u;
    }

    // Texts outside of managed memory, for structs that point to them.
    internal sealed class Outside : IDisposable
    {
        private readonly List<IntPtr> taken = new List<IntPtr>();

        internal IntPtr Of(byte[] bytes)
        {
            // Some address, even for no bytes: NULL would be no text.
            IntPtr place = Marshal.AllocHGlobal(Math.Max(bytes.Length, 1));
            taken.Add(place);
            Marshal.Copy(bytes, 0, place, bytes.Length);
            return place;
        }

        internal IntPtr Of(string text, out UIntPtr length)
        {
            length = UIntPtr.Zero;
            if (text == null) return IntPtr.Zero;
            byte[] bytes = Text.Bytes(text);
            length = Text.Size(bytes.Length);
            return Of(bytes);
        }

        public void Dispose()
        {
            foreach (IntPtr place in taken) Marshal.FreeHGlobal(place);
            taken.Clear();
        }
    }
}

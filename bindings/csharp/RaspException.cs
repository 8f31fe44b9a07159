using System;

namespace Rasp
{
    /// <summary>What became of a call. Values never change.</summary>
    public enum Status
    {
        Ok = Native.RASP_OK,
        End = Native.RASP_END,
        Pending = Native.RASP_PENDING,
        InvalidArgument = Native.RASP_ERROR_INVALID_ARGUMENT,
        Io = Native.RASP_ERROR_IO,
        BadFile = Native.RASP_ERROR_BAD_FILE,
        UnsupportedVersion = Native.RASP_ERROR_UNSUPPORTED_VERSION,
        Unsupported = Native.RASP_ERROR_UNSUPPORTED,
        OutOfRange = Native.RASP_ERROR_OUT_OF_RANGE,
        ContextFull = Native.RASP_ERROR_CONTEXT_FULL,
        BufferTooSmall = Native.RASP_ERROR_BUFFER_TOO_SMALL,
        NonFinite = Native.RASP_ERROR_NON_FINITE,
        Cancelled = Native.RASP_ERROR_CANCELLED,
        OutOfMemory = Native.RASP_ERROR_OUT_OF_MEMORY,
        InvalidState = Native.RASP_ERROR_INVALID_STATE,
        InvalidUtf8 = Native.RASP_ERROR_INVALID_UTF8,
        Template = Native.RASP_ERROR_TEMPLATE,
        Internal = Native.RASP_ERROR_INTERNAL,
        BadState = Native.RASP_ERROR_BAD_STATE,
    }

    /// <summary>A call failed; what it was called on is as it was before.</summary>
    public sealed class RaspException : Exception
    {
        internal RaspException(int status, string words)
            : base(words == null ? NameOf(status) : NameOf(status) + ": " + words)
        {
            Code = (Status)status;
        }

        /// <summary>Which error it is.</summary>
        public Status Code { get; }

        /// <summary>The error's name, such as "context full".</summary>
        public string Name => NameOf((int)Code);

        private static string NameOf(int status) => Text.Of(Native.rasp_status_name(status));
    }

    // Calls and their errors.
    internal static class Call
    {
        private const int MessageAt = sizeof(int);

        [ThreadStatic]
        private static byte[] error;

        // A rasp_error of this thread's, which the next call of it may take.
        internal static byte[] Error => error ?? (error = new byte[MessageAt + Native.RASP_ERROR_MESSAGE_SIZE]);

        internal static RaspException Failed(int status) =>
            new RaspException(status, Text.Of(Error, MessageAt, Native.RASP_ERROR_MESSAGE_SIZE));

        // The status of a call that was given Error.
        internal static int Checked(int status)
        {
            if (status < 0) throw Failed(status);
            return status;
        }

        // A call that fills an array of `room` elements and says how many it wanted.
        internal delegate int Filling<T>(T[] room, UIntPtr capacity, out UIntPtr count);

        // What such a call fills, called again if the first guess is too small.
        internal static T[] Filled<T>(int guess, Filling<T> call)
        {
            while (true)
            {
                var room = new T[guess];
                int status = call(room, Text.Size(guess), out UIntPtr count);
                guess = Text.Size(count);
                if (status == Native.RASP_ERROR_BUFFER_TOO_SMALL) continue;
                Checked(status);
                Array.Resize(ref room, guess);
                return room;
            }
        }
    }
}

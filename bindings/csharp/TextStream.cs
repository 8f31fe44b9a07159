using System;

namespace Rasp
{
    /// <summary>Puts the bytes of tokens together into whole characters, for those who step token by token.</summary>
    public sealed class TextStream
    {
        private Native.rasp_text_stream raw;

        /// <summary>The characters that are whole with these bytes.</summary>
        public string Push(byte[] bytes)
        {
            if (bytes == null) throw new ArgumentNullException(nameof(bytes));
            return bytes.Length == 0 ? "" : Pushed(bytes);
        }

        /// <summary>What still waits at the end of a text: no whole character, and so U+FFFD.</summary>
        public string Finish() => Pushed(new byte[0]);

        private string Pushed(byte[] bytes)
        {
            var text = new byte[3 * bytes.Length + Native.RASP_TEXT_STREAM_EXTRA];
            Call.Checked(Native.rasp_text_stream_push(ref raw, bytes, Text.Size(bytes.Length), text,
                Text.Size(text.Length), out UIntPtr length, Call.Error));
            return Text.Of(text, length);
        }
    }
}

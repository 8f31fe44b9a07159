package io.github.raspengine.rasp;

/** Puts the bytes of tokens together into whole characters, for those who step token by token. */
public final class TextStream {
    private final Capi.rasp_text_stream raw = new Capi.rasp_text_stream();

    /** The characters that are whole with these bytes. */
    public String push(byte[] bytes) {
        return bytes.length == 0 ? "" : pushed(bytes);
    }

    /** What still waits at the end of a text: no whole character, and so U+FFFD. */
    public String finish() {
        return pushed(new byte[0]);
    }

    private String pushed(byte[] bytes) {
        byte[] text = new byte[3 * bytes.length + Capi.RASP_TEXT_STREAM_EXTRA];
        Capi.SizeT.Ref length = new Capi.SizeT.Ref();
        Call.checked(Engine.C.rasp_text_stream_push(raw, bytes, new Capi.SizeT(bytes.length), text,
            new Capi.SizeT(text.length), length, Call.error()));
        return Text.of(text, length.value());
    }
}

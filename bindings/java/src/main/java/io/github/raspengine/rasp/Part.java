package io.github.raspengine.rasp;

/** A part of an answer. */
public final class Part {
    public final PartKind kind;
    /** The text; of a call the arguments, a JSON object. */
    public final String text;
    /** The function that a call calls, or null. */
    public final String name;
    /** What a message of the call's result refers to (tool_call_id), or null. */
    public final String id;

    Part(Capi.rasp_reply_part raw) {
        kind = PartKind.of(raw.kind);
        text = Text.of(raw.text, raw.text_length);
        name = Text.of(raw.name, raw.name_length);
        id = Text.of(raw.id, raw.id_length);
    }
}

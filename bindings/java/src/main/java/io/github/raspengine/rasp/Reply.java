package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.util.Arrays;
import java.util.List;

/** An answer that is told apart as it comes. Session.answer does all of it, Session.chat what comes before too. */
public final class Reply implements AutoCloseable {
    private final Handle handle;

    Reply(Handle model, List<ChatMessage> messages, ChatOptions options) {
        Capi.rasp_chat_message[] raw = ChatMessage.raw(messages);
        Capi.rasp_chat_options rest = options.raw();
        PointerByReference reply = new PointerByReference();
        model.call(of -> Call.checked(Engine.C.rasp_reply_new(of, raw, new Capi.SizeT(messages.size()), rest, reply,
            Call.error())));
        handle = new Handle(this, "reply", reply.getValue(), Engine.C::rasp_reply_free);
    }

    /** Takes more of the answer, with the marks shown. */
    public void push(String text) {
        byte[] bytes = Text.bytes(text);
        handle.call(reply -> Call.checked(Engine.C.rasp_reply_push(reply, bytes, new Capi.SizeT(bytes.length),
            Call.error())));
    }

    /** Takes a token of the answer, for those who step token by token. */
    public void pushToken(int token) {
        handle.call(reply -> Call.checked(Engine.C.rasp_reply_push_token(reply, token, Call.error())));
    }

    /** Ends the answer: what was held back is known now. */
    public void finish() {
        handle.call(reply -> Call.checked(Engine.C.rasp_reply_finish(reply, Call.error())));
    }

    /** The next part of what is known of the answer; null until there is more. */
    public Part next() {
        Capi.rasp_reply_part raw = new Capi.rasp_reply_part();
        // Its texts are the reply's, and valid until the next call.
        Pointer reply = handle.begin();
        try {
            int status = Call.checked(Engine.C.rasp_reply_next(reply, raw, Call.error()));
            return status == Capi.RASP_OK ? new Part(raw) : null;
        } finally {
            handle.done();
        }
    }

    /** What is known of the answer, as a message to put after those that it answers. */
    public ChatMessage message() {
        byte[] fields = Call.filled(4096, byte[]::new, Arrays::copyOf, (json, capacity, length) ->
            handle.call(reply -> Engine.C.rasp_reply_message(reply, json, capacity, length, Call.error())));
        return new ChatMessage("assistant", null, Text.of(fields, fields.length));
    }

    @Override
    public void close() {
        handle.close();
    }
}

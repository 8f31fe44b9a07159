package io.github.raspengine.rasp;

import java.util.List;
import java.util.Objects;

/** One message of a chat. What it says is text, whatever it looks like. */
public final class ChatMessage {
    private final String role;
    private final String content;
    private final String fields;

    /** A role ("system", "user", "assistant", "tool" or what else the template knows) and its text. */
    public ChatMessage(String role, String content) {
        this(role, content, null);
    }

    /**
     * With what else the message has, as a JSON object: name, tool_calls, a content in parts; the content may be null
     * then.
     */
    public ChatMessage(String role, String content, String fields) {
        this.role = Objects.requireNonNull(role);
        this.content = content;
        this.fields = fields;
    }

    /** Messages as the library takes them; null for none. */
    static Capi.rasp_chat_message[] raw(List<ChatMessage> messages) {
        if (messages.isEmpty()) {
            return null;
        }
        Capi.rasp_chat_message[] raw =
            (Capi.rasp_chat_message[]) new Capi.rasp_chat_message().toArray(messages.size());
        Capi.SizeT[] length = new Capi.SizeT[1];
        for (int n = 0; n < raw.length; n++) {
            ChatMessage message = messages.get(n);
            raw[n].role = Text.outside(message.role, length);
            raw[n].role_length = length[0];
            raw[n].content = Text.outside(message.content, length);
            raw[n].content_length = length[0];
            raw[n].fields = Text.outside(message.fields, length);
            raw[n].fields_length = length[0];
        }
        return raw;
    }
}

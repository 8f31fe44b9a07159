package io.github.raspengine.rasp;

import java.time.LocalDateTime;
import java.time.ZoneOffset;

/** What a chat template is given besides messages. */
public final class ChatOptions {
    private boolean addGenerationPrompt = true;
    private String variables;
    private long time;

    /** End with what makes the model answer. */
    public ChatOptions addGenerationPrompt(boolean value) {
        addGenerationPrompt = value;
        return this;
    }

    /** The template's variables, as a JSON object: tools, documents, enable_thinking; or null. */
    public ChatOptions variables(String value) {
        variables = value;
        return this;
    }

    /** What the template's clock on the wall shows, such as LocalDateTime.now(); null: it has none. */
    public ChatOptions time(LocalDateTime value) {
        time = value == null ? 0 : value.toEpochSecond(ZoneOffset.UTC);
        return this;
    }

    Capi.rasp_chat_options raw() {
        Capi.rasp_chat_options raw = new Capi.rasp_chat_options();
        Engine.C.rasp_chat_options_init(raw);
        Capi.SizeT[] length = new Capi.SizeT[1];
        raw.add_generation_prompt = addGenerationPrompt ? 1 : 0;
        raw.variables = Text.outside(variables, length);
        raw.variables_length = length[0];
        raw.time = time;
        return raw;
    }
}

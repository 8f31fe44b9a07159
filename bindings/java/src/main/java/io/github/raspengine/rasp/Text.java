package io.github.raspengine.rasp;

import com.sun.jna.Memory;
import com.sun.jna.Pointer;
import java.nio.ByteBuffer;
import java.nio.CharBuffer;
import java.nio.charset.CharacterCodingException;
import java.nio.charset.StandardCharsets;
import java.time.Duration;
import java.util.Objects;

/** Text and numbers on their way to C and back. */
final class Text {
    private Text() {
    }

    /** UTF-8. Half of a surrogate pair is an error rather than another character. */
    static byte[] bytes(String text) {
        try {
            ByteBuffer encoded = StandardCharsets.UTF_8.newEncoder().encode(CharBuffer.wrap(text));
            byte[] bytes = new byte[encoded.remaining()];
            encoded.get(bytes);
            return bytes;
        } catch (CharacterCodingException exception) {
            throw new IllegalArgumentException("the text has half of a surrogate pair", exception);
        }
    }

    /** With a NUL after it, and so with none inside. */
    static byte[] terminated(String text) {
        Objects.requireNonNull(text);
        if (text.indexOf('\0') >= 0) {
            throw new IllegalArgumentException("a NUL would end the text");
        }
        return bytes(text + "\0");
    }

    static String of(byte[] bytes, long length) {
        return length == 0 ? "" : new String(bytes, 0, (int) length, StandardCharsets.UTF_8);
    }

    static String of(Pointer text, Capi.SizeT length) {
        return text == null ? null : of(text.getByteArray(0, length.intValue()), length.longValue());
    }

    /** A JSON object, or null for none, with a member more. */
    static String member(String json, String name, String value) {
        String all = json == null ? "{}" : json.trim();
        if (!all.startsWith("{")) {
            throw new IllegalArgumentException("variables: no JSON object");
        }
        String rest = all.substring(1).trim();
        return "{\"" + name + "\": " + value + (rest.startsWith("}") ? "" : ", ") + rest;
    }

    /** A tool_choice as the library takes it. */
    static String choice(String choice) {
        if (choice.equals("auto") || choice.equals("required")) {
            return "\"" + choice + "\"";
        }
        StringBuilder name = new StringBuilder();
        for (char letter : choice.toCharArray()) {
            boolean plain = letter >= ' ' && letter != '"' && letter != '\\';
            name.append(plain ? String.valueOf(letter) : String.format("\\u%04x", (int) letter));
        }
        return "{\"type\": \"function\", \"function\": {\"name\": \"" + name + "\"}}";
    }

    static String upToNul(byte[] bytes, int from) {
        int end = from;
        while (end < bytes.length && bytes[end] != 0) {
            end++;
        }
        return new String(bytes, from, end - from, StandardCharsets.UTF_8);
    }

    /** Bytes for a struct that points to them: its user holds them. */
    static Memory outside(byte[] bytes) {
        // Some address, even for no bytes: NULL would be no text.
        Memory memory = new Memory(Math.max(bytes.length, 1));
        memory.write(0, bytes, 0, bytes.length);
        return memory;
    }

    static Pointer outside(String text, Capi.SizeT[] length) {
        byte[] bytes = text == null ? new byte[0] : bytes(text);
        length[0] = new Capi.SizeT(bytes.length);
        return text == null ? null : outside(bytes);
    }

    static int natural(int value, String name) {
        if (value < 0) {
            throw new IllegalArgumentException(name + " may not be negative: " + value);
        }
        return value;
    }

    static long nanoseconds(Duration time, String name) {
        if (time.isNegative()) {
            throw new IllegalArgumentException(name + " may not be negative: " + time);
        }
        return time.toNanos();
    }
}

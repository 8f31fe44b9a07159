package io.github.raspengine.rasp;

import com.sun.jna.Native;
import com.sun.jna.Pointer;
import com.sun.jna.ptr.PointerByReference;
import java.nio.ByteBuffer;
import java.util.Arrays;
import java.util.List;
import java.util.Objects;

/**
 * A loaded model, shared by any number of sessions and safe to use from any thread at once. Sessions keep what they
 * need of it when it is closed.
 */
public final class Model implements AutoCloseable {
    // What is kept for the library: it stands first with the sessions, too.
    private static final int LOG = 0;
    private static final int DATA = 1;

    final Handle handle;

    private interface Loading {
        int load(Capi.rasp_load_options options, PointerByReference model, byte[] error);
    }

    /** Maps a file. */
    public Model(String path) {
        this(path, new LoadOptions());
    }

    /** Maps a file. */
    public Model(String path, LoadOptions options) {
        byte[] bytes = Text.terminated(path);
        handle = loaded(options, null, (raw, model, error) -> Engine.C.rasp_load(bytes, raw, model, error));
    }

    private Model(LoadOptions options, Object data, Loading load) {
        handle = loaded(options, data, load);
    }

    /**
     * Uses the bytes of a file in a buffer, from its start to its capacity, such as one that is mapped: they must not
     * change while the model and its sessions live. What is in no direct buffer is copied into one.
     */
    public static Model fromBytes(ByteBuffer data, LoadOptions options) {
        ByteBuffer held = direct(data);
        Pointer place = Native.getDirectBufferPointer(whole(held));
        Capi.SizeT size = new Capi.SizeT(held.capacity());
        return new Model(options, held, (raw, model, error) ->
            Engine.C.rasp_load_bytes(place, size, raw, model, error));
    }

    /** The same. */
    public static Model fromBytes(ByteBuffer data) {
        return fromBytes(data, new LoadOptions());
    }

    /**
     * Maps a model inside a file that is open, such as an asset of Android's (AssetFileDescriptor): length bytes, or 0
     * for all that follow the offset. The file need not stay open.
     */
    public static Model fromDescriptor(long descriptor, long offset, long length, LoadOptions options) {
        if (offset < 0 || length < 0) {
            throw new IllegalArgumentException("offset and length may not be negative");
        }
        return new Model(options, null, (raw, model, error) ->
            Engine.C.rasp_load_fd(descriptor, offset, length, raw, model, error));
    }

    /** The same. */
    public static Model fromDescriptor(long descriptor, long offset, long length) {
        return fromDescriptor(descriptor, offset, length, new LoadOptions());
    }

    private static ByteBuffer whole(ByteBuffer data) {
        ByteBuffer all = data.duplicate();
        all.clear();
        return all;
    }

    /** The buffer that was given, which holds the memory, whatever views there are of it; or a copy that is direct. */
    private static ByteBuffer direct(ByteBuffer data) {
        if (data.isDirect()) {
            return data;
        }
        ByteBuffer copy = ByteBuffer.allocateDirect(data.capacity());
        copy.put(whole(data));
        return copy;
    }

    private Handle loaded(LoadOptions options, Object data, Loading load) {
        LogSink sink = options.sink();
        PointerByReference model = new PointerByReference();
        Call.checked(load.load(options.raw(sink), model, Call.error()));
        Handle made = new Handle(this, "model", model.getValue(), Engine.C::rasp_free, sink, data);
        LogSink.rethrow(sink, made::close);
        return made;
    }

    static LogSink sinkOf(Object[] kept) {
        return (LogSink) kept[LOG];
    }

    static Object dataOf(Object[] kept) {
        return kept[DATA];
    }

    /** Gives the model back; sessions go on. */
    @Override
    public void close() {
        handle.close();
    }

    /** What the model is. */
    public ModelInfo info() {
        Capi.rasp_model_info raw = new Capi.rasp_model_info();
        Engine.C.rasp_model_info_init(raw);
        handle.call(model -> Call.checked(Engine.C.rasp_model_get_info(model, raw, Call.error())));
        return new ModelInfo(raw);
    }

    /** The tokens of a text, with nothing added and no special tokens recognised in it. */
    public int[] tokenize(String text) {
        return tokenize(text, false, false);
    }

    /**
     * The tokens of a text. addSpecial adds what the model expects around it; parseSpecial recognises tokens such as
     * &lt;|im_start|&gt; in it: not for text from strangers.
     */
    public int[] tokenize(String text, boolean addSpecial, boolean parseSpecial) {
        byte[] bytes = Text.bytes(text);
        int flags = (addSpecial ? Capi.RASP_TOKENIZE_ADD_SPECIAL : 0)
            | (parseSpecial ? Capi.RASP_TOKENIZE_PARSE_SPECIAL : 0);
        return Call.filled(bytes.length + 8, int[]::new, Arrays::copyOf, (tokens, capacity, count) ->
            handle.call(model -> Engine.C.rasp_tokenize(model, bytes, new Capi.SizeT(bytes.length), flags, tokens,
                capacity, count, Call.error())));
    }

    /** The text of tokens, with U+FFFD for what is no character. */
    public String detokenize(int... tokens) {
        byte[] bytes = detokenizeBytes(tokens, false);
        return Text.of(bytes, bytes.length);
    }

    /** The bytes of tokens; those of generated tokens may end inside a character. */
    public byte[] detokenizeBytes(int[] tokens, boolean skipSpecial) {
        Objects.requireNonNull(tokens);
        int flags = skipSpecial ? Capi.RASP_DETOKENIZE_SKIP_SPECIAL : 0;
        return Call.filled(16 * tokens.length, byte[]::new, Arrays::copyOf, (text, capacity, length) ->
            handle.call(model -> Engine.C.rasp_detokenize(model, tokens, new Capi.SizeT(tokens.length), flags, text,
                capacity, length, Call.error())));
    }

    /** The bytes of one token. */
    public byte[] tokenBytes(int token) {
        PointerByReference bytes = new PointerByReference();
        Capi.SizeT.Ref length = new Capi.SizeT.Ref();
        // They are the model's, and valid while it lives.
        Pointer model = handle.begin();
        try {
            Call.checked(Engine.C.rasp_token_bytes(model, token, bytes, length, Call.error()));
            return length.value() == 0 ? new byte[0] : bytes.getValue().getByteArray(0, (int) length.value());
        } finally {
            handle.done();
        }
    }

    /** Whether the token ends generation. */
    public boolean isEnd(int token) {
        return handle.call(model -> Engine.C.rasp_token_is_end(model, token)) != 0;
    }

    /** Whether the token is no part of plain text. */
    public boolean isSpecial(int token) {
        return handle.call(model -> Engine.C.rasp_token_is_special(model, token)) != 0;
    }

    /**
     * The tokens of messages in the model's own format, to prefill with as they are. What messages and variables say is
     * text, whatever it looks like.
     */
    public int[] chatTokenize(List<ChatMessage> messages, ChatOptions options) {
        Capi.rasp_chat_message[] raw = ChatMessage.raw(messages);
        Capi.rasp_chat_options rest = options.raw();
        return Call.filled(1024, int[]::new, Arrays::copyOf, (tokens, capacity, found) ->
            handle.call(model -> Engine.C.rasp_chat_tokenize(model, raw, new Capi.SizeT(messages.size()), rest, tokens,
                capacity, found, Call.error())));
    }

    /** The same of some messages with nothing else. */
    public int[] chatTokenize(ChatMessage... messages) {
        return chatTokenize(Arrays.asList(messages), new ChatOptions());
    }

    /** The text that chatTokenize makes tokens of, to be looked at. */
    public String chatText(List<ChatMessage> messages, ChatOptions options) {
        Capi.rasp_chat_message[] raw = ChatMessage.raw(messages);
        Capi.rasp_chat_options rest = options.raw();
        byte[] bytes = Call.filled(4096, byte[]::new, Arrays::copyOf, (text, capacity, length) ->
            handle.call(model -> Engine.C.rasp_chat_text(model, raw, new Capi.SizeT(messages.size()), rest, text,
                capacity, length, Call.error())));
        return Text.of(bytes, bytes.length);
    }

    /** The same of some messages with nothing else. */
    public String chatText(ChatMessage... messages) {
        return chatText(Arrays.asList(messages), new ChatOptions());
    }

    /** What an answer may be, compiled for this model. */
    public Constraint constraint(ConstraintKind kind, String source) {
        return Constraint.of(handle, kind, source);
    }

    /** An adapter's file, which `rasp pack-adapter` made, for this model and others of its shape. */
    public Adapter adapter(String path) {
        byte[] bytes = Text.terminated(path);
        return new Adapter(this, null, (model, adapter, error) ->
            Engine.C.rasp_adapter_load(model, bytes, adapter, error));
    }

    /** Uses the bytes of an adapter's file in a buffer, as fromBytes does a model's. */
    public Adapter adapterFromBytes(ByteBuffer data) {
        ByteBuffer held = direct(data);
        Pointer place = Native.getDirectBufferPointer(whole(held));
        Capi.SizeT size = new Capi.SizeT(held.capacity());
        return new Adapter(this, held, (model, adapter, error) ->
            Engine.C.rasp_adapter_load_bytes(model, place, size, adapter, error));
    }

    /** Maps an adapter inside a file that is open, as fromDescriptor does a model. */
    public Adapter adapterFromDescriptor(long descriptor, long offset, long length) {
        if (offset < 0 || length < 0) {
            throw new IllegalArgumentException("offset and length may not be negative");
        }
        return new Adapter(this, null, (model, adapter, error) ->
            Engine.C.rasp_adapter_load_fd(model, descriptor, offset, length, adapter, error));
    }

    /** What tells an answer to these messages apart: give it what chatTokenize was given. */
    public Reply reply(List<ChatMessage> messages, ChatOptions options) {
        return new Reply(handle, messages, options);
    }

    /** To the byte, what a session that is opened with these options will take. */
    public MemoryPlan plan(SessionOptions options) {
        Capi.rasp_session_options raw = options.raw(null);
        Capi.rasp_memory_plan plan = new Capi.rasp_memory_plan();
        Engine.C.rasp_memory_plan_init(plan);
        handle.call(model -> Call.checked(Engine.C.rasp_session_plan(model, raw, plan, Call.error())));
        return new MemoryPlan(plan);
    }

    /** Opens a session. */
    public Session open() {
        return open(new SessionOptions());
    }

    /** Opens a session. */
    public Session open(SessionOptions options) {
        Pointer model = handle.begin();
        try {
            return new Session(options, handle, handle.kept(), (raw, session, error) ->
                Engine.C.rasp_session_open(model, raw, session, error));
        } finally {
            handle.done();
        }
    }
}

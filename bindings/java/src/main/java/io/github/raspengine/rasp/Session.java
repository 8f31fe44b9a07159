package io.github.raspengine.rasp;

import com.sun.jna.Pointer;
import com.sun.jna.ptr.FloatByReference;
import com.sun.jna.ptr.IntByReference;
import com.sun.jna.ptr.PointerByReference;
import java.nio.ByteBuffer;
import java.time.Duration;
import java.util.Arrays;
import java.util.List;
import java.util.Map;
import java.util.Objects;
import java.util.Set;
import java.util.function.ToIntFunction;
import java.util.stream.Stream;
import java.util.stream.StreamSupport;

/** One text in the making. It belongs to one thread at a time; cancel may come from any. */
public final class Session implements AutoCloseable {
    final Handle handle;
    private final JobSystem jobs;
    // Known to C by a weak reference alone, through its entry.
    private final LogitsHook hook = new LogitsHook();
    private final LogitsHook.Entry entry = new LogitsHook.Entry(hook);
    // A reference of its own, by which answers are told apart.
    private final Handle model;
    // Where, of what the handle keeps, the bytes of the adapters are that are set.
    private static final int ADAPTERS = 5;
    // Of one thread at a time, as the session.
    private byte[] room;

    interface Opening {
        int open(Capi.rasp_session_options options, PointerByReference session, byte[] error);
    }

    /** With no options a fork, which has those of the first. `of`: what that keeps, or the model does. */
    Session(SessionOptions options, Handle model, Object[] of, Opening open) {
        jobs = options == null ? null : options.jobs();
        ByteBuffer memory = options == null ? null : options.memory();
        PointerByReference session = new PointerByReference();
        Capi.rasp_session_options raw = options == null ? null : options.raw(jobs);
        Call.checked(open.open(raw, session, Call.error()));
        LogSink sink = Model.sinkOf(of);
        handle = new Handle(this, "session", session.getValue(), Engine.C::rasp_session_close, sink, Model.dataOf(of),
            memory, jobs, entry, null);
        Pointer shared = model.begin();
        try {
            Engine.C.rasp_model_retain(shared);
            this.model = new Handle(this, "session", shared, Engine.C::rasp_free, sink, Model.dataOf(of));
        } finally {
            model.done();
        }
        LogSink.rethrow(sink, this);
    }

    /** Closes the session; one that is in a call is closed when that is done. */
    @Override
    public void close() {
        handle.close();
        model.close();
    }

    /** A call that is given Call.error(); its status, once the callbacks have had their say. */
    private int call(ToIntFunction<Pointer> call) {
        int status = handle.call(call);
        rethrow();
        return Call.checked(status);
    }

    /** What callbacks threw. Until here C may have called them: the session, which holds them, must be there. */
    void rethrow() {
        hook.thrown.rethrow();
        if (jobs != null) {
            jobs.thrown.rethrow();
        }
    }

    /** The same, as a value; null if they threw nothing. */
    Throwable threw() {
        Throwable throwable = hook.thrown.take();
        return throwable == null && jobs != null ? jobs.thrown.take() : throwable;
    }

    private static Capi.SizeT size(int value) {
        return new Capi.SizeT(value);
    }

    /** Appends prompt tokens. */
    public void prefill(int... tokens) {
        Objects.requireNonNull(tokens);
        call(session -> Engine.C.rasp_prefill(session, tokens, size(tokens.length), Call.error()));
    }

    /** Appends prompt tokens, which pass with the calls after this, as prefillWithin. */
    public void prefillBegin(int... tokens) {
        Objects.requireNonNull(tokens);
        call(session -> Engine.C.rasp_prefill_begin(session, tokens, size(tokens.length), Call.error()));
    }

    /** Goes on with the prompt of prefillBegin for about so long: whether all of it has passed. */
    public boolean prefillWithin(Duration budget) {
        long time = Text.nanoseconds(budget, "budget");
        return call(session -> Engine.C.rasp_prefill_within(session, time, Call.error())) != Capi.RASP_PENDING;
    }

    /** Samples the next token and appends it. */
    public Token step() {
        IntByReference token = new IntByReference();
        int status = call(session -> Engine.C.rasp_step(session, token, Call.error()));
        return new Token(token.getValue(), status);
    }

    /** As much of step as so much time allows: null if the token is not there yet, and the next call goes on. */
    public Token stepWithin(Duration budget) {
        long time = Text.nanoseconds(budget, "budget");
        IntByReference token = new IntByReference();
        int status = call(session -> Engine.C.rasp_step_within(session, time, token, Call.error()));
        return status == Capi.RASP_PENDING ? null : new Token(token.getValue(), status);
    }

    /** Appends a token of the caller's choice. */
    public void decode(int token) {
        call(session -> Engine.C.rasp_decode(session, token, Call.error()));
    }

    /** Makes the call under way, or else the next one, fail with Status.CANCELLED. From any thread. */
    public void cancel() {
        handle.call(session -> {
            Engine.C.rasp_cancel(session);
            return Capi.RASP_OK;
        });
    }

    private byte[] room() {
        if (room == null) {
            room = new byte[Capi.RASP_STEP_TEXT_SIZE];
        }
        return room;
    }

    private static int textFlags(boolean showSpecial) {
        return showSpecial ? Capi.RASP_TEXT_SHOW_SPECIAL : 0;
    }

    /** What is known of a conversation and its answers. */
    Handle model() {
        return model;
    }

    /**
     * Samples the next token of an answer: the text that can be shown now. Nothing of a stop string comes, and a full
     * context ends the answer.
     */
    public Piece stepText() {
        return stepText(false);
    }

    /** The same, special tokens shown or not. */
    public Piece stepText(boolean showSpecial) {
        return stepTextWith(textFlags(showSpecial));
    }

    /** The same, of special tokens those shown that a Reply is told calls and reasoning by. */
    public Piece stepTextMarked() {
        return stepTextWith(Capi.RASP_TEXT_SHOW_MARKS);
    }

    private Piece stepTextWith(int flags) {
        byte[] text = room();
        Capi.SizeT.Ref length = new Capi.SizeT.Ref();
        IntByReference ended = new IntByReference();
        call(session -> Engine.C.rasp_step_text(session, flags, text, size(text.length), length, ended, Call.error()));
        return new Piece(Text.of(text, length.value()), ended.getValue());
    }

    /** As much of stepText as so much time allows: null if the token is not there yet, and the next call goes on. */
    public Piece stepTextWithin(Duration budget) {
        return stepTextWithin(budget, false);
    }

    /** The same, special tokens shown or not. */
    public Piece stepTextWithin(Duration budget, boolean showSpecial) {
        byte[] text = room();
        long time = Text.nanoseconds(budget, "budget");
        Capi.SizeT.Ref length = new Capi.SizeT.Ref();
        IntByReference ended = new IntByReference();
        int status = call(session -> Engine.C.rasp_step_text_within(session, time, textFlags(showSpecial), text,
            size(text.length), length, ended, Call.error()));
        return status == Capi.RASP_PENDING ? null : new Piece(Text.of(text, length.value()), ended.getValue());
    }

    /** What is held back of an answer that ends here, since it could still have become a stop string. */
    public String finishText() {
        byte[] text = room();
        Capi.SizeT.Ref length = new Capi.SizeT.Ref();
        call(session -> Engine.C.rasp_finish_text(session, text, size(text.length), length, Call.error()));
        return Text.of(text, length.value());
    }

    /** The text of the next tokens as it comes, in whole characters, to the end of the answer. To be walked once. */
    public Iterable<String> generate() {
        return generate(Integer.MAX_VALUE);
    }

    /** The same, of at most so many tokens. A stop string or a full context ends the answer too. */
    public Iterable<String> generate(int limit) {
        Pieces pieces = new Pieces(this::stepText, this::finishText, Text.natural(limit, "limit"));
        return () -> pieces;
    }

    /** As generate, with the answer told apart: text, what the model thinks, calls of tools. To be walked once. */
    public Iterable<Part> answer(Reply reply, int limit) {
        Parts parts = new Parts(this, reply, null, Text.natural(limit, "limit"));
        return () -> parts;
    }

    /**
     * Makes the session hold a conversation, all of it: what it holds of its beginning stays, and only the rest passes.
     * How many tokens stayed. Give answers back as they came.
     */
    public int prefillChat(List<ChatMessage> messages, ChatOptions options) {
        Capi.rasp_chat_message[] raw = ChatMessage.raw(messages);
        Capi.rasp_chat_options rest = options.raw();
        Capi.SizeT.Ref kept = new Capi.SizeT.Ref();
        call(session -> Engine.C.rasp_chat_prefill(session, raw, size(messages.size()), rest, kept, Call.error()));
        return (int) kept.value();
    }

    /** The same of some messages with nothing else. */
    public int prefillChat(ChatMessage... messages) {
        return prefillChat(Arrays.asList(messages), new ChatOptions());
    }

    /** The same without computing anything yet, as prefillBegin. */
    public int prefillChatBegin(List<ChatMessage> messages, ChatOptions options) {
        Capi.rasp_chat_message[] raw = ChatMessage.raw(messages);
        Capi.rasp_chat_options rest = options.raw();
        Capi.SizeT.Ref kept = new Capi.SizeT.Ref();
        call(session ->
            Engine.C.rasp_chat_prefill_begin(session, raw, size(messages.size()), rest, kept, Call.error()));
        return (int) kept.value();
    }

    /** The tokens that the session holds, one that was sampled last included. */
    public int[] tokens() {
        return Call.filled(1024, int[]::new, Arrays::copyOf, (tokens, capacity, found) ->
            handle.call(session -> Engine.C.rasp_session_tokens(session, tokens, capacity, found, Call.error())));
    }

    /**
     * The assistant's turn after these messages. Walk it, and put its message after them: each turn is given all
     * messages, and each token passes once.
     */
    public Turn chat(List<ChatMessage> messages, TurnOptions options) {
        return new Turn(this, messages, options);
    }

    /** The same with nothing else. */
    public Turn chat(List<ChatMessage> messages) {
        return chat(messages, new TurnOptions());
    }

    /**
     * Has tokens pass with these adapters from now on, each times its scale (null: 1 for all), in the place of those
     * before; none: the model alone. What has passed stays as it is.
     */
    public void setAdapters(List<Adapter> list, float[] scales) {
        int count = list.size();
        if (scales != null && scales.length != count) {
            throw new IllegalArgumentException(count + " adapters have " + scales.length + " scales");
        }
        Pointer[] raw = new Pointer[count];
        Object[] data = new Object[count];
        int begun = 0;
        try {
            for (; begun < count; begun++) {
                raw[begun] = list.get(begun).handle.begin();
                data[begun] = list.get(begun).handle.kept()[0];
            }
            call(session -> {
                int status =
                    Engine.C.rasp_session_set_adapters(session, raw, scales, size(count), Call.error());
                if (status >= 0) {
                    handle.kept()[ADAPTERS] = data;
                }
                return status;
            });
        } finally {
            for (int n = 0; n < begun; n++) {
                list.get(n).handle.done();
            }
        }
    }

    /** The same, each as it was trained. */
    public void setAdapters(List<Adapter> list) {
        setAdapters(list, null);
    }

    /** The same as a stream. */
    public Stream<String> stream(int limit) {
        return StreamSupport.stream(generate(limit).spliterator(), false);
    }

    /** What ends an answer from now on, besides the model; it is not part of the text. */
    public void setStop(String... strings) {
        Pointer[] raw = new Pointer[strings.length];
        for (int n = 0; n < raw.length; n++) {
            raw[n] = Text.outside(Text.terminated(strings[n]));
        }
        call(session -> Engine.C.rasp_session_set_stop(session, raw, size(raw.length), Call.error()));
    }

    /** How sparse decoded tokens are from now on: 0 is dense, up to the model's maxSparsity. */
    public void setSparsity(float sparsity) {
        call(session -> Engine.C.rasp_session_set_sparsity(session, sparsity, Call.error()));
    }

    /** How tokens are chosen from now on. */
    public void setSampling(Sampling sampling) {
        Capi.rasp_sampling raw = sampling.raw();
        call(session -> Engine.C.rasp_session_set_sampling(session, raw, Call.error()));
    }

    /** What is added to the logits of tokens from now on: negative infinity forbids one, nothing clears all. */
    public void setLogitBias(Map<Integer, Float> biases) {
        int count = biases.size();
        Capi.rasp_logit_bias[] raw =
            count == 0 ? null : (Capi.rasp_logit_bias[]) new Capi.rasp_logit_bias().toArray(count);
        int n = 0;
        for (Map.Entry<Integer, Float> one : biases.entrySet()) {
            raw[n].token = one.getKey();
            raw[n++].bias = one.getValue();
        }
        call(session -> Engine.C.rasp_session_set_logit_bias(session, raw, size(count), Call.error()));
    }

    /**
     * Has a function look at the logits before every sampled token; null ends that. What it throws comes out of the
     * step, which has appended nothing then.
     */
    public void setLogitsCallback(LogitsCallback callback) {
        call(session -> Engine.C.rasp_session_set_logits_callback(session, callback == null ? null : entry, null,
            Call.error()));
        hook.callback = callback;
    }

    /**
     * Has every answer from now on obey a constraint of this session's model; null ends that. An answer begins with
     * this call, and anew with each prefill and reset.
     */
    public void setConstraint(Constraint constraint) {
        Pointer raw = constraint == null ? null : constraint.handle.begin();
        try {
            call(session -> Engine.C.rasp_session_set_constraint(session, raw, Call.error()));
        } finally {
            if (constraint != null) {
                constraint.handle.done();
            }
        }
    }

    /**
     * What the next tokens are guessed by, at most so many at a time, and the tokens of a text that answers may quote.
     */
    public void setDrafts(Set<DraftKind> kinds, int most, int... text) {
        int bits = kinds.stream().mapToInt(kind -> kind.bit).sum();
        Text.natural(most, "most");
        call(session -> Engine.C.rasp_session_set_drafts(session, bits, most, text, size(text.length), Call.error()));
    }

    /** Has every token take no more than so long, by a sparsity between these; zero ends that. */
    public void setDeadline(Duration perToken, float minSparsity, float maxSparsity) {
        long time = Text.nanoseconds(perToken, "perToken");
        call(session -> Engine.C.rasp_session_set_deadline(session, time, minSparsity, maxSparsity, Call.error()));
    }

    /** What the session has done and what it takes. */
    public SessionStats stats() {
        Capi.rasp_stats raw = new Capi.rasp_stats();
        Engine.C.rasp_stats_init_3(raw);
        call(session -> Engine.C.rasp_session_get_stats(session, raw, Call.error()));
        return new SessionStats(raw);
    }

    /** Starts the counts of stats anew. */
    public void clearStats() {
        call(session -> Engine.C.rasp_session_clear_stats(session, Call.error()));
    }

    /** Forgets all tokens; settings stay. */
    public void reset() {
        call(session -> Engine.C.rasp_session_reset(session, Call.error()));
    }

    /** Keeps the first tokens and forgets those after them. */
    public void rewind(int tokens) {
        Text.natural(tokens, "tokens");
        call(session -> Engine.C.rasp_session_rewind(session, size(tokens), Call.error()));
    }

    /** Forgets tokens after those to keep, which makes room in a full context. */
    public void shift(int keep, int discard) {
        Text.natural(keep, "keep");
        Text.natural(discard, "discard");
        call(session -> Engine.C.rasp_session_shift(session, size(keep), size(discard), Call.error()));
    }

    /** What the session holds, for restore into one of the same model. */
    public byte[] save() {
        return Call.filled(0, byte[]::new, Arrays::copyOf, (buffer, capacity, size) ->
            handle.call(session -> Engine.C.rasp_session_save(session, buffer, capacity, size, Call.error())));
    }

    /** Makes the session hold what was saved, and go on as the saved one would have. */
    public void restore(byte[] state) {
        Objects.requireNonNull(state);
        call(session -> Engine.C.rasp_session_restore(session, state, size(state.length), Call.error()));
    }

    /** A second session that goes on as this one would, with its options. */
    public Session fork() {
        return fork(null);
    }

    /** A second session that goes on as this one would; null: with this one's options. */
    public Session fork(SessionOptions options) {
        Pointer own = handle.begin();
        try {
            Session made = new Session(options, model, handle.kept(), (raw, fork, error) ->
                Engine.C.rasp_session_fork(own, raw, fork, error));
            made.handle.kept()[ADAPTERS] = handle.kept()[ADAPTERS];
            return made;
        } finally {
            handle.done();
        }
    }

    /** A copy of the logits after the last token that passed, one a token of the vocabulary. */
    public float[] logits() {
        PointerByReference logits = new PointerByReference();
        Capi.SizeT.Ref count = new Capi.SizeT.Ref();
        // They are the session's, and valid until its next call.
        Pointer session = handle.begin();
        try {
            Call.checked(Engine.C.rasp_logits(session, logits, count, Call.error()));
            return logits.getValue().getFloatArray(0, (int) count.value());
        } finally {
            handle.done();
        }
    }

    /**
     * How likely the model finds a token after the last one that passed, by its own logits; after a step that is the
     * token that came.
     */
    public float logProb(int token) {
        FloatByReference value = new FloatByReference();
        call(session -> Engine.C.rasp_log_probs(session, token, value, null, size(0), Call.error()));
        return value.getValue();
    }

    /** The likeliest tokens there, the likeliest first. */
    public LogProb[] likeliest(int count) {
        LogProb[] likeliest = new LogProb[Text.natural(count, "count")];
        Capi.rasp_log_prob[] raw = count == 0 ? null : (Capi.rasp_log_prob[]) new Capi.rasp_log_prob().toArray(count);
        call(session -> Engine.C.rasp_log_probs(session, 0, new FloatByReference(), raw, size(count), Call.error()));
        for (int n = 0; n < count; n++) {
            likeliest[n] = new LogProb(raw[n].token, raw[n].log_prob);
        }
        return likeliest;
    }

    /**
     * One vector of the tokens, of length 1: the mean of theirs. The session must hold none, and holds none afterwards.
     */
    public float[] embed(int... tokens) {
        return embed(tokens, Pooling.MEAN, true);
    }

    /** The same, of another kind or as long as it is. */
    public float[] embed(int[] tokens, Pooling pooling, boolean normalise) {
        int flags = normalise ? Capi.RASP_EMBED_NORMALISE : 0;
        return Call.filled(0, float[]::new, Arrays::copyOf, (vector, capacity, size) ->
            handle.call(session -> Engine.C.rasp_embed(session, tokens, size(tokens.length), pooling.number, flags,
                vector, capacity, size, Call.error())));
    }
}

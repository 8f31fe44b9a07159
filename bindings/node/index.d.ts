/** What a call failed with: `code` is one of the RASP_ERROR_ constants of rasp.h, `status` its name. */
export class RaspError extends Error {
    readonly code: number;
    readonly status: string;
}

export interface ModelInfo {
    architecture: string;
    name: string;
    vocabSize: number;
    hiddenSize: number;
    intermediateSize: number;
    numLayers: number;
    numHeads: number;
    numKvHeads: number;
    headDim: number;
    contextLength: number;
    /** The sparsest setting that setSparsity takes. */
    maxSparsity: number;
    /** What a session begins with. */
    defaultSparsity: number;
    numRungs: number;
    /** -1 if there is none. */
    bosToken: number;
    /** Bytes. */
    fileSize: number;
    linearBytes: number;
    headBytes: number;
}

/** One of a chat; besides role and content what else the template knows, such as name or tool_calls. */
export interface Message { role: string; content?: unknown; [field: string]: unknown }

export interface ChatOptions {
    /** End with what makes the model answer; true unless said. */
    addGenerationPrompt?: boolean;
    /** The template's variables: tools, documents, enable_thinking, or what else it knows. */
    variables?: Record<string, unknown>;
    /** What its strftime_now shows: seconds since 1970 of the clock on the wall. 0: there is no such function. */
    time?: number;
}

/** Version of the library, such as "0.1.0". */
export function version(): string;
/** Version of its binary interface. */
export function abiVersion(): number;

export interface LoadOptions {
    /** Read every weight and refuse damaged ones. */
    verify?: boolean;
    /** Keep the file in memory. */
    lock?: boolean;
    /** Read it into memory of this process's own, in pages of 2 MB where there are some. */
    largePages?: boolean;
    offset?: number;
    length?: number;
}

/** A loaded model, shared by any number of sessions; they keep what they need of it when it is closed. */
export class Model {
    /** Its file: the path, the bytes (which are copied), or the descriptor of an open file in which it lies, `length`
     *  bytes from `offset` on (0: to the end). */
    constructor(source: string | ArrayBufferView | number, options?: LoadOptions);
    readonly info: ModelInfo;
    tokenize(text: string, options?: { addSpecial?: boolean; parseSpecial?: boolean }): number[];
    /** Bytes: those of generated tokens may end inside a character. */
    detokenize(tokens: number[], options?: { skipSpecial?: boolean }): Buffer;
    isEnd(token: number): boolean;
    isSpecial(token: number): boolean;
    /** The tokens of messages in the model's own format. What messages and variables say is text, whatever it looks
     *  like: special tokens are recognised in the template's own words alone. */
    chatTokenize(messages: Message[], options?: ChatOptions): number[];
    /** The text that chatTokenize makes tokens of, to be looked at. */
    chatText(messages: Message[], options?: ChatOptions): string;
    /** The same text. Tokenized with parseSpecial it cannot promise who speaks, since a message may hold the
     *  template's own tokens: chatTokenize can. */
    chatFormat(messages: Message[], options?: { addGenerationPrompt?: boolean }): string;
    /** What an answer may be, compiled for this model. */
    constraint(kind: 'jsonSchema', source: string | object | boolean): Constraint;
    constraint(kind: 'regex' | 'grammar', source: string): Constraint;
    /** Text is free until a call of one of these tools begins, which keeps to its schema: a list of tools as OpenAI
     *  has it, or an object with tools and a tool_choice. */
    constraint(kind: 'tools', source: string | object): Constraint;
    /** A LoRA adapter for this model and others of its shape: the path of a file that `rasp pack-adapter` made, its
     *  bytes, or the descriptor of an open file in which it lies, `length` bytes from `offset` on (0: to the end). */
    adapter(source: string | ArrayBufferView | number, options?: { offset?: number; length?: number }): Adapter;
    /** What tells an answer to these messages apart: give it what chatTokenize was given. */
    reply(messages: Message[], options?: ChatOptions): Reply;
    open(options?: SessionOptions): Session;
    /** What a session that is opened with these options will take, to the byte. */
    plan(options?: SessionOptions): MemoryPlan;
    close(): void;
}

/**
 * What an answer may be: a value of a JSON schema (its text, or the object it is), text that matches a regular
 * expression (in the syntax of Rust's crate regex) as a whole, or text of a grammar (llguidance's variant of Lark). Shared by any
 * number of sessions of its model; they keep what they need of it when it is closed.
 */
export class Constraint {
    constructor(model: Model, kind: 'jsonSchema' | 'regex' | 'grammar' | 'tools', source: string | object | boolean);
    close(): void;
}

/** A loaded LoRA adapter, shared by any number of sessions; they keep what they need of it when it is closed. */
export class Adapter {
    /** Its largest rank, how many linears it adds to, and the bytes that every token reads. */
    readonly info: { name: string; rank: number; linears: number; bytes: number };
    close(): void;
}

/** A part of an answer: text, what the model thinks, or a call of a tool, whose id a message of the result refers
 *  to. */
export type Part =
    | { type: 'text' | 'reasoning'; text: string }
    | { type: 'call'; name: string; arguments: Record<string, unknown>; id: string };

/** An answer that is told apart as it comes. Session.answer does all of it, Session.chat what comes before too. */
export class Reply {
    /** Takes more of the answer: what Session.stream gives with marks. */
    push(text: string): void;
    /** Takes a token of the answer instead. */
    pushToken(token: number): void;
    /** Ends the answer: what was held back is known now. */
    finish(): void;
    /** What is known of the answer and was not given yet. */
    parts(): Generator<Part, void, undefined>;
    /** What is known of the answer, as a message to put after those that it answers. */
    message(): Message;
    close(): void;
}

export interface TurnOptions {
    /** A list of tools, as OpenAI has it. */
    tools?: object[];
    /** Calls keep to the schemas of the tools, in this turn, in the place of a constraint of the session's. */
    toolChoice?: 'auto' | 'required' | { type: 'function'; function: { name: string } };
    /** Tokens at most. */
    limit?: number;
    /** The template's variables besides tools. */
    variables?: Record<string, unknown>;
    time?: number;
    signal?: AbortSignal;
}

/** What the assistant says, part by part as it comes: for await (const part of turn). */
export class Turn implements AsyncIterable<Part> {
    [Symbol.asyncIterator](): AsyncGenerator<Part, void, undefined>;
    /** How many tokens the session held already. */
    readonly kept: number;
    /** What it has said, to be put after the messages that it answers; in the middle what has come of it. */
    readonly message: Message;
}

export interface SessionOptions {
    /** Tokens there is room for; 0: the model's limit, at most 4096. */
    context?: number;
    threads?: number;
    batch?: number;
    kv?: 'f16' | 'f32' | 'i8';
    /** Layers that attend to a window hold its keys and values alone: less memory, and no way back to what is gone. */
    windowsAlone?: boolean;
    /**
     * Room for so many drafts in a pass, 7 at most: tokens are guessed by what stood after an earlier match in the
     * context. The same tokens, sooner where an answer quotes or repeats.
     */
    drafts?: number;
    /** Room for adapters: the sum of the ranks of those that are set at a time. */
    adapterRank?: number;
}

/** The memory that a session will take, in bytes: the last four sum to `size`. */
export interface MemoryPlan {
    /** Tokens there will be room for. */
    context: number;
    /** Prompt tokens that pass together at most. */
    batch: number;
    size: number;
    kvCache: number;
    activations: number;
    sampling: number;
    bookkeeping: number;
}

export interface Sampling {
    /** 0 is greedy. */
    temperature?: number;
    topK?: number;
    topP?: number;
    minP?: number;
    repetitionPenalty?: number;
    repetitionWindow?: number;
    seed?: number | bigint;
    presencePenalty?: number;
    frequencyPenalty?: number;
    topNSigma?: number;
    typicalP?: number;
    xtcProbability?: number;
    xtcThreshold?: number;
    dryMultiplier?: number;
    dryBase?: number;
    dryAllowedLength?: number;
    dryWindow?: number;
    mirostatTau?: number;
    mirostatEta?: number;
    /** Stages that come first; the others follow in the order of this type. (llama.cpp has the temperature last.) */
    order?: ('topNSigma' | 'topK' | 'temperature' | 'typicalP' | 'topP' | 'minP' | 'xtc')[];
}

export interface Stats {
    tokens: number;
    context: number;
    sparsity: number;
    memory: number;
    decodedTokens: number;
    linearBytesRead: number;
    /** The share of linear weights that decoded tokens have read. */
    kept: number;
    headBytesRead: number;
    units: number;
    /** Those that took longer than setDeadline says. */
    lateTokens: number;
    draftedTokens: number;
    acceptedTokens: number;
    /** Bytes of keys and values that it reads in memory which it shares with forks. */
    sharedBytes: number;
}

/** A token, and whether it ends generation. */
export interface Token { id: number; end: boolean }

/** The text that a token of an answer has brought, often none, and why the answer ended: by the model's token, at a
 *  stop string or a full context. null: it goes on. */
export interface Piece { text: string; ended: 'token' | 'stop' | 'context' | null }

/**
 * Looks at a copy of the logits of the next token, one a token of the vocabulary, and at the tokens so far. It may
 * change the logits and return nothing, or return the token that it chose. It must not use the session, and it cannot
 * wait: a promise is no token.
 */
export type LogitsCallback = (logits: Float32Array, tokens: number[]) => number | null | undefined | void;

/** What became of a session in a step of several: its token, or why it has none. */
export type BatchStep = Token & { error?: undefined } | { error: Error; id?: undefined; end?: undefined };

/**
 * A step of several sessions of one model, in which the weights are read once for all of them. One that fails is as it
 * was, and does not disturb the others. The first one's threads do the work, and a quarter of its batch (32 at most)
 * pass together.
 */
export function stepBatch(sessions: Iterable<Session>): Promise<BatchStep[]>;

/**
 * One text in the making; one call at a time. What gives a promise computes on a thread of libuv's pool, but for steps
 * of sessions with a logits callback. All else is done when it returns.
 */
export class Session {
    prefill(tokens: number[]): Promise<void>;
    step(): Promise<Token>;
    decode(token: number): Promise<void>;
    /** Appends prompt tokens, which pass with the calls after this: prefillWithin, stepWithin or step. */
    prefillBegin(tokens: number[]): Promise<void>;
    /** Goes on with such a prompt for about so many milliseconds: whether all of it has passed. */
    prefillWithin(milliseconds: number): Promise<boolean>;
    /** As much of step as so much time allows: null if the token is not there yet, and the next call goes on. */
    stepWithin(milliseconds: number): Promise<Token | null>;
    /** Makes the session hold a conversation, all of it: what it holds of its beginning stays, and only the rest
     *  passes. How many tokens stayed. Give answers back as they came. */
    prefillChat(messages: Message[], options?: ChatOptions): Promise<number>;
    /** The same without computing anything yet, as prefillBegin. */
    prefillChatBegin(messages: Message[], options?: ChatOptions): Promise<number>;
    /** The tokens that it holds, one that was sampled last included. */
    readonly tokens: number[];
    /**
     * The assistant's turn after these messages. Give all of them each turn: each token passes once.
     *
     *     const turn = await session.chat(messages);
     *     for await (const part of turn) if (part.type === 'text') process.stdout.write(part.text);
     *     messages.push(turn.message);
     */
    chat(messages: Message[], options?: TurnOptions): Promise<Turn>;
    /** As stream, with the answer told apart. */
    answer(reply: Reply, options?: { limit?: number; signal?: AbortSignal }): AsyncGenerator<Part, void, undefined>;
    /** Text as it is generated, in whole characters: to the end of the answer (a stop string or a full context is
     *  one too) or for at most `limit` tokens. With `marks` special tokens that mark calls and reasoning are text,
     *  for a Reply. */
    stream(options?: { limit?: number; signal?: AbortSignal; marks?: boolean }):
        AsyncGenerator<string, void, undefined>;
    /** As much of the next token of stream as so much time allows: null if it is not there yet, and the next call goes
     *  on. What is left of a prompt passes first. */
    stepTextWithin(milliseconds: number, options?: { marks?: boolean }): Promise<Piece | null>;
    /** What is held back of an answer that you end here, since it could still have become a stop string. */
    finishText(): string;
    /** What ends an answer of stream, besides the model; it is not part of the text. */
    setStop(strings: string[]): void;
    /** Has tokens pass with these adapters from now on, each times its scale (1 unless said), in the place of those
     *  before; none: the model alone. What has passed stays as it is. */
    setAdapters(adapters: Adapter[], scales?: number[]): void;
    /** A second session that goes on as this one would, but without its logits callback; with this one's options, or
     *  else those that are given, all of them. */
    fork(options?: SessionOptions): Session;
    /** Forgets `discard` tokens after the first `keep`, which makes room in a full context. */
    shift(keep: number, discard: number): Promise<void>;
    /** Keeps the first `tokens` tokens and forgets those after them. */
    rewind(tokens: number): void;
    /** What the session holds, for restore into one of the same model. */
    save(): Buffer;
    restore(state: Uint8Array): void;
    /** One vector of the tokens: the mean of theirs, or the last one's. The session must hold no tokens. */
    embed(tokens: number[], options?: { pooling?: 'mean' | 'last'; normalise?: boolean }): Promise<Float32Array>;
    /** A copy of the logits after the last token that passed, one a token of the vocabulary. */
    logits(): Float32Array;
    /** What is added to the logits of tokens from now on; -Infinity forbids one, nothing clears all. */
    setLogitBias(biases: Map<number, number> | Record<number, number>): void;
    /**
     * Has a function look at the logits before every sampled token; null ends that. What it throws comes out of the
     * step, which has appended nothing then.
     *
     * It runs on the event loop's thread, and so do steps for as long as there is one: step and stream in parts of some
     * milliseconds, between which the loop goes on; stepWithin and stepTextWithin for the time they are given, and
     * stepBatch for all of its step, in one.
     */
    setLogitsCallback(callback: LogitsCallback | null): void;
    /** What the next tokens are guessed by, at most so many at a time: an earlier match of the last ones in the
     *  context and in `text`, the tokens of what answers may quote (lookup), a constraint that leaves no choice
     *  (forced), and, if asked for, the model at a sparser level (own), for dense sessions in 16 bits. */
    setDrafts(most: number, options?: { text?: number[]; lookup?: boolean; forced?: boolean; own?: boolean }): void;
    /** Has every token take no more than so long, by a sparsity between these two (0 and the model's maxSparsity unless
     *  said), as dense as that allows; 0 ends it. */
    setDeadline(milliseconds: number, options?: { minSparsity?: number; maxSparsity?: number }): void;
    /** 0 is dense, up to the model's maxSparsity. */
    setSparsity(sparsity: number): void;
    /**
     * The natural logarithm of a token's probability after the last one that passed through the model, and the `top`
     * likeliest with theirs. After a step that is the token that came. By the model's own logits.
     */
    logProbs(token: number, top?: number): { logProb: number, top: { token: number, logProb: number }[] };
    setSampling(sampling: Sampling): void;
    /** Has every answer from now on obey a constraint of this session's model; null ends that. An answer begins with
     *  this call, and anew with each prefill and reset. */
    setConstraint(constraint: Constraint | null): void;
    /** Forgets all tokens. */
    reset(): void;
    clearStats(): void;
    /** The call under way, or else the next one, fails with the status "cancelled". */
    cancel(): void;
    readonly stats: Stats;
    close(): void;
}

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

/** A loaded model, shared by any number of sessions; they keep what they need of it when it is closed. */
export class Model {
    /** verify: read every weight and refuse damaged ones. lock: keep the file in memory. largePages: read it into
     *  memory of this process's own, in pages of 2 MB where there are some. */
    constructor(path: string, options?: { verify?: boolean; lock?: boolean; largePages?: boolean });
    readonly info: ModelInfo;
    tokenize(text: string, options?: { addSpecial?: boolean; parseSpecial?: boolean }): number[];
    /** Bytes: those of generated tokens may end inside a character. */
    detokenize(tokens: number[], options?: { skipSpecial?: boolean }): Buffer;
    isEnd(token: number): boolean;
    isSpecial(token: number): boolean;
    /** The tokens of messages in the model's own format. What messages and variables say is text, whatever it looks like:
     *  special tokens are recognised in the template's own words alone. */
    chatTokenize(messages: Message[], options?: ChatOptions): number[];
    /** The text that chatTokenize makes tokens of, to be looked at. */
    chatText(messages: Message[], options?: ChatOptions): string;
    /** The same text. Tokenized with parseSpecial it cannot promise who speaks, since a message may hold the template's own
     *  tokens: chatTokenize can. */
    chatFormat(messages: Message[], options?: { addGenerationPrompt?: boolean }): string;
    /** What an answer may be, compiled for this model. */
    constraint(kind: 'jsonSchema', source: string | object | boolean): Constraint;
    constraint(kind: 'regex' | 'grammar', source: string): Constraint;
    open(options?: SessionOptions): Session;
    close(): void;
}

/**
 * What an answer may be: a value of a JSON schema (its text, or the object it is), text that matches a regular expression
 * (in the syntax of Rust's crate regex) as a whole, or text of a grammar (llguidance's variant of Lark). Shared by any
 * number of sessions of its model; they keep what they need of it when it is closed.
 */
export class Constraint {
    constructor(model: Model, kind: 'jsonSchema' | 'regex' | 'grammar', source: string | object | boolean);
    close(): void;
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
    draftedTokens: number;
    acceptedTokens: number;
}

/** One text in the making. What computes runs on a thread of libuv's pool; one call at a time. */
export class Session {
    prefill(tokens: number[]): Promise<void>;
    step(): Promise<{ id: number; end: boolean }>;
    decode(token: number): Promise<void>;
    /** Text as it is generated, in whole characters, to the end or for at most `limit` tokens. */
    stream(options?: { limit?: number; signal?: AbortSignal }): AsyncGenerator<string, void, undefined>;
    /** 0 is dense, up to the model's maxSparsity. */
    setSparsity(sparsity: number): void;
    /**
     * The natural logarithm of a token's probability after the last one that passed through the model, and the `top`
     * likeliest with theirs. After a step that is the token that came. By the model's own logits.
     */
    logProbs(token: number, top?: number): { logProb: number, top: { token: number, logProb: number }[] };
    setSampling(sampling: Sampling): void;
    /** Has every answer from now on obey a constraint of this session's model; null ends that. An answer begins with this
     *  call, and anew with each prefill and reset. */
    setConstraint(constraint: Constraint | null): void;
    /** Forgets all tokens. */
    reset(): void;
    clearStats(): void;
    /** The call under way, or else the next one, fails with the status "cancelled". */
    cancel(): void;
    readonly stats: Stats;
    close(): void;
}

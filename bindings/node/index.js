// rasp: language models inside your program, reading only part of the weights for each token. See index.d.ts.
import {
    BUFFER_TOO_SMALL, CHAT_OPTIONS_SIZE, CONSTRAINT_KINDS, END, KV_TYPES, TEXT_STREAM_EXTRA, fields, made, rasp,
} from './native.js';

export class RaspError extends Error {
    constructor(code, message) {
        super(`${rasp.rasp_status_name(code)}: ${message}`);
        this.name = 'RaspError';
        this.code = code;
        this.status = rasp.rasp_status_name(code);
    }
}

const errorBuffer = () => Buffer.alloc(256);

function check(status, error) {
    if (status < 0) throw new RaspError(status, error.toString('utf8', 4, error.indexOf(0, 4)));
    return status;
}

function call(name, ...args) {
    const error = errorBuffer();
    return check(rasp[name](...args, error), error);
}

/** The same on a thread of libuv's pool. The buffers among args live until it is done. */
function callAsync(name, ...args) {
    const error = errorBuffer();
    return new Promise((resolve, reject) => {
        rasp[name].async(...args, error, (failed, status) => {
            try {
                if (failed) throw failed;
                resolve(check(status, error));
            } catch (e) {
                reject(e);
            }
        });
    });
}

/** What a call writes to a buffer of elements of `width` bytes, asked again with more room if it needs that. */
function grown(name, width, guess, ...args) {
    for (let room = guess; ;) {
        const buffer = Buffer.alloc(Math.max(width * room, 1));
        const count = [0];
        const error = errorBuffer();
        const status = rasp[name](...args, buffer, room, count, error);
        const length = Number(count[0]);
        if (status !== BUFFER_TOO_SMALL) {
            check(status, error);
            return buffer.subarray(0, width * length);
        }
        room = length;
    }
}

const ids = (tokens) => {
    const buffer = Buffer.alloc(Math.max(4 * tokens.length, 4));
    tokens.forEach((token, i) => buffer.writeUInt32LE(token, 4 * i));
    return buffer;
};

/** A text and its length, or nothing. */
const counted = (text) => (text === undefined ? [null, 0] : [text, Buffer.byteLength(text)]);

/** Messages and options as the library takes them. */
function chat(messages, { addGenerationPrompt = true, variables, time = 0 } = {}) {
    const list = messages.map(({ role, content, ...fields }) => {
        if (typeof role !== 'string') throw new TypeError('the role of a message is no string');
        const bare = typeof content !== 'string';
        if (bare && content !== undefined) fields.content = content;
        const [said, contentLength] = counted(bare ? undefined : content);
        const some = Object.values(fields).some((value) => value !== undefined);
        const [more, fieldsLength] = counted(some ? JSON.stringify(fields) : undefined);
        return { role, roleLength: Buffer.byteLength(role), content: said, contentLength, fields: more, fieldsLength };
    });
    const [given, variablesLength] = counted(variables === undefined ? undefined : JSON.stringify(variables));
    const options = {
        structSize: CHAT_OPTIONS_SIZE, addGenerationPrompt: addGenerationPrompt ? 1 : 0, variables: given,
        variablesLength, time,
    };
    return [list, list.length, options];
}

// For handles that nobody closed.
const models = new FinalizationRegistry((handle) => rasp.rasp_free(handle));
const constraints = new FinalizationRegistry((handle) => rasp.rasp_constraint_free(handle));
const sessions = new FinalizationRegistry((handle) => rasp.rasp_session_close(handle));

export const version = () => rasp.rasp_version();
export const abiVersion = () => rasp.rasp_abi_version();

export class Model {
    #handle;

    constructor(path, { verify = false, lock = false, largePages = false } = {}) {
        const out = [null];
        const flags = { verify: Number(verify), lock: Number(lock), largePages: Number(largePages) };
        call('rasp_load', path, made('load_options', flags), out);
        this.#handle = out[0];
        models.register(this, this.#handle, this);
    }

    get handle() {
        if (this.#handle === null) throw new Error('this model is closed');
        return this.#handle;
    }

    get info() {
        const info = made('model_info');
        call('rasp_model_get_info', this.handle, info);
        return fields('model_info', info);
    }

    tokenize(text, { addSpecial = false, parseSpecial = false } = {}) {
        const bytes = Buffer.from(text, 'utf8');
        const flags = (addSpecial ? 1 : 0) | (parseSpecial ? 2 : 0);
        const found = grown('rasp_tokenize', 4, bytes.length, this.handle, bytes, bytes.length, flags);
        return Array.from({ length: found.length / 4 }, (_, i) => found.readUInt32LE(4 * i));
    }

    detokenize(tokens, { skipSpecial = false } = {}) {
        return grown('rasp_detokenize', 1, 16 * tokens.length, this.handle, ids(tokens), tokens.length,
            skipSpecial ? 1 : 0);
    }

    isEnd(token) { return rasp.rasp_token_is_end(this.handle, token) !== 0; }
    isSpecial(token) { return rasp.rasp_token_is_special(this.handle, token) !== 0; }

    chatTokenize(messages, options) {
        const found = grown('rasp_chat_tokenize', 4, 4096, this.handle, ...chat(messages, options));
        return Array.from({ length: found.length / 4 }, (_, i) => found.readUInt32LE(4 * i));
    }

    chatText(messages, options) {
        return grown('rasp_chat_text', 1, 4096, this.handle, ...chat(messages, options)).toString('utf8');
    }

    chatFormat(messages, { addGenerationPrompt = true } = {}) {
        return this.chatText(messages, { addGenerationPrompt });
    }

    constraint(kind, source) { return new Constraint(this, kind, source); }
    open(options) { return new Session(this, options); }

    close() {
        if (this.#handle === null) return;
        models.unregister(this);
        rasp.rasp_free(this.#handle);
        this.#handle = null;
    }
}

export class Constraint {
    #handle;

    constructor(model, kind, source) {
        if (!Object.hasOwn(CONSTRAINT_KINDS, kind)) {
            throw new TypeError(`kind is ${kind}, not ${Object.keys(CONSTRAINT_KINDS).join(', ')}`);
        }
        if (typeof source !== 'string' && kind !== 'jsonSchema') throw new TypeError(`the source of a ${kind} is a string`);
        const bytes = Buffer.from(typeof source === 'string' ? source : JSON.stringify(source), 'utf8');
        const out = [null];
        call('rasp_constraint_new', model.handle, CONSTRAINT_KINDS[kind], bytes, bytes.length, out);
        this.#handle = out[0];
        constraints.register(this, this.#handle, this);
    }

    get handle() {
        if (this.#handle === null) throw new Error('this constraint is closed');
        return this.#handle;
    }

    close() {
        if (this.#handle === null) return;
        constraints.unregister(this);
        rasp.rasp_constraint_free(this.#handle);
        this.#handle = null;
    }
}

export class Session {
    #handle;
    #model;

    constructor(model, { context, threads, batch, kv = 'f16', windowsAlone = false, drafts } = {}) {
        if (!(kv in KV_TYPES)) throw new TypeError(`kv is ${kv}, not f16, f32 or i8`);
        const out = [null];
        call('rasp_session_open', model.handle,
            made('session_options', {
                context, threads, batch, kvType: KV_TYPES[kv], windowsAlone: Number(windowsAlone), drafts,
            }), out);
        this.#handle = out[0];
        // Tokens become text by the model: a reference of the session's own, so that the caller may close his.
        rasp.rasp_model_retain(model.handle);
        this.#model = model.handle;
        sessions.register(this, this.#handle, this);
        models.register(this, this.#model, this);
    }

    get handle() {
        if (this.#handle === null) throw new Error('this session is closed');
        return this.#handle;
    }

    async prefill(tokens) {
        await callAsync('rasp_prefill', this.handle, ids(tokens), tokens.length);
    }

    async step() {
        const token = Buffer.alloc(4);
        const status = await callAsync('rasp_step', this.handle, token);
        return { id: token.readUInt32LE(0), end: status === END };
    }

    async decode(token) { await callAsync('rasp_decode', this.handle, token); }

    async *stream({ limit = Infinity, signal } = {}) {
        const pending = Buffer.alloc(4);
        const text = (bytes) => grown('rasp_text_stream_push', 1, 3 * bytes.length + TEXT_STREAM_EXTRA, pending, bytes,
            bytes.length).toString('utf8');
        const cancel = () => this.cancel();
        signal?.throwIfAborted();
        signal?.addEventListener('abort', cancel);
        try {
            for (let count = 0; count < limit; count++) {
                const { id, end } = await this.step();
                signal?.throwIfAborted();
                if (end) break;
                const piece = text(grown('rasp_detokenize', 1, 64, this.#model, ids([id]), 1, 0));
                if (piece) yield piece;
            }
            const rest = text(Buffer.alloc(0));
            if (rest) yield rest;
        } catch (e) {
            signal?.throwIfAborted();
            throw e;
        } finally {
            signal?.removeEventListener('abort', cancel);
        }
    }

    setSparsity(sparsity) { call('rasp_session_set_sparsity', this.handle, sparsity); }
    logProbs(token, top = 0) {
        const own = Buffer.alloc(4), likeliest = Buffer.alloc(8 * Math.max(top, 1));
        call('rasp_log_probs', this.handle, token, own, likeliest, top);
        const at = (n) => ({ token: likeliest.readUInt32LE(8 * n), logProb: likeliest.readFloatLE(8 * n + 4) });
        return { logProb: own.readFloatLE(0), top: Array.from({ length: top }, (_, n) => at(n)) };
    }

    setSampling(sampling) { call('rasp_session_set_sampling', this.handle, made('sampling', sampling)); }
    setConstraint(constraint) {
        call('rasp_session_set_constraint', this.handle, constraint === null ? null : constraint.handle);
    }
    reset() { call('rasp_session_reset', this.handle); }
    clearStats() { call('rasp_session_clear_stats', this.handle); }
    cancel() { rasp.rasp_cancel(this.handle); }

    get stats() {
        const stats = made('stats');
        call('rasp_session_get_stats', this.handle, stats);
        return fields('stats', stats);
    }

    close() {
        if (this.#handle === null) return;
        // Refused while a call is under way.
        const status = rasp.rasp_session_close(this.#handle);
        if (status < 0) throw new RaspError(status, 'a call on the session is under way: wait for it');
        sessions.unregister(this);
        models.unregister(this);
        rasp.rasp_free(this.#model);
        this.#handle = null;
    }
}

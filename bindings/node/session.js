// Sessions.
import { Handle, call, callAsync, grown, ids, known, numbers } from './calls.js';
import { Reply, Turn, chat } from './chat.js';
import { Constraint } from './constraint.js';
import { LogitsHook, asking } from './logits.js';
import {
    DRAFTS_FORCED, DRAFTS_LOOKUP, DRAFTS_SELF, END, ENDED, KV_TYPES, PENDING, POOLING, STEP_TEXT_SIZE, TEXT_SHOW_MARKS,
    fields,
    floatsAt, made, rasp,
} from './native.js';

// How long a step on the event loop's thread lets it wait.
const PART = 5_000_000n;

export function sessionOptions(options) {
    const { context, threads, batch, kv = 'f16', windowsAlone = false, drafts, adapterRank } =
        known(options, 'context', 'threads', 'batch', 'kv', 'windowsAlone', 'drafts', 'adapterRank');
    if (!(kv in KV_TYPES)) throw new TypeError(`kv is ${kv}, not f16, f32 or i8`);
    return made('session_options', {
        context, threads, batch, kvType: KV_TYPES[kv], windowsAlone: Number(windowsAlone), drafts, adapterRank,
    });
}

/** The handle of a session, or of a fork of one, with its options where there are none. */
function opened(model, options, parent) {
    const out = [null];
    const raw = options === null ? null : sessionOptions(options);
    if (parent === null) call('rasp_session_open', model.handle, raw, out);
    else call('rasp_session_fork', parent.handle, raw, out);
    return out[0];
}

const nanoseconds = (milliseconds) => {
    if (!(milliseconds >= 0)) throw new RangeError(`${milliseconds} milliseconds are no budget`);
    // No less than asked, for 0 may mean something else than little; and no more than three hundred years.
    return BigInt(Math.ceil(Math.min(milliseconds, 1e13) * 1e6));
};

/** The model that a session keeps, and tells answers apart by; what the session's user sees as the session. */
class Kept extends Handle {
    constructor(model) {
        rasp.rasp_model_retain(model.handle);
        super(model.handle, 'rasp_free', model.kept);
    }
}

export class Session extends Handle {
    #model;
    hook = new LogitsHook();

    /** Of a parent a fork. */
    constructor(model, options = {}, parent = null) {
        // Bytes of the model and of the adapters that are set.
        const kept = { model: model.kept, adapters: parent?.kept.adapters ?? [] };
        super(opened(model, options, parent), 'rasp_session_close', kept);
        this.#model = new Kept(model);
    }

    /** A call on another thread. */
    #apart(name, ...args) { return callAsync([this], name, this.handle, ...args); }

    /** A call in which the logits callback may be asked: what that throws comes out of it. */
    async #asking(made, part) {
        try {
            return await asking([this], made, part);
        } catch (e) {
            const [thrown = e] = this.hook.thrown();
            throw thrown;
        }
    }

    #step(name, ...args) {
        return this.#asking((call) => call(name, this.handle, ...args),
            (call) => call(`${name}_within`, this.handle, PART, ...args));
    }

    #stepWithin(name, milliseconds, ...args) {
        const budget = nanoseconds(milliseconds);
        return this.#asking((call) => call(name, this.handle, budget, ...args));
    }

    async prefill(tokens) { await this.#apart('rasp_prefill', ids(tokens), tokens.length); }

    async step() {
        const token = Buffer.alloc(4);
        const status = await this.#step('rasp_step', token);
        return { id: token.readUInt32LE(0), end: status === END };
    }

    async decode(token) { await this.#apart('rasp_decode', token); }

    async prefillBegin(tokens) { call('rasp_prefill_begin', this.handle, ids(tokens), tokens.length); }

    async prefillWithin(milliseconds) {
        return await this.#apart('rasp_prefill_within', nanoseconds(milliseconds)) !== PENDING;
    }

    async stepWithin(milliseconds) {
        const token = Buffer.alloc(4);
        const status = await this.#stepWithin('rasp_step_within', milliseconds, token);
        return status === PENDING ? null : { id: token.readUInt32LE(0), end: status === END };
    }

    async prefillChat(messages, options) {
        const kept = Buffer.alloc(8);
        await this.#apart('rasp_chat_prefill', ...chat(messages, options), kept);
        return Number(kept.readBigUInt64LE(0));
    }

    async prefillChatBegin(messages, options) {
        const kept = Buffer.alloc(8);
        call('rasp_chat_prefill_begin', this.handle, ...chat(messages, options), kept);
        return Number(kept.readBigUInt64LE(0));
    }

    get tokens() { return numbers(grown('rasp_session_tokens', 4, 1024, this.handle)); }

    async *stream(options = {}) {
        const { limit = Infinity, signal, marks = false } = known(options, 'limit', 'signal', 'marks');
        const text = Buffer.alloc(STEP_TEXT_SIZE), length = Buffer.alloc(8);
        const said = () => text.toString('utf8', 0, Number(length.readBigUInt64LE(0)));
        const cancel = () => this.cancel();
        signal?.throwIfAborted();
        signal?.addEventListener('abort', cancel);
        try {
            for (let count = 0; count < limit; count++) {
                const status = await this.#step('rasp_step_text', marks ? TEXT_SHOW_MARKS : 0, text, text.length,
                    length, null);
                signal?.throwIfAborted();
                if (said()) yield said();
                if (status === END) return;
            }
            const rest = this.finishText();
            if (rest) yield rest;
        } catch (e) {
            signal?.throwIfAborted();
            throw e;
        } finally {
            signal?.removeEventListener('abort', cancel);
        }
    }

    async stepTextWithin(milliseconds, options = {}) {
        const { marks = false } = known(options, 'marks');
        const text = Buffer.alloc(STEP_TEXT_SIZE), length = Buffer.alloc(8), ended = Buffer.alloc(4);
        const status = await this.#stepWithin('rasp_step_text_within', milliseconds, marks ? TEXT_SHOW_MARKS : 0,
            text, text.length, length, ended);
        if (status === PENDING) return null;
        const said = text.toString('utf8', 0, Number(length.readBigUInt64LE(0)));
        return { text: said, ended: ENDED[ended.readUInt32LE(0)] };
    }

    finishText() {
        const text = Buffer.alloc(STEP_TEXT_SIZE), length = Buffer.alloc(8);
        call('rasp_finish_text', this.handle, text, text.length, length);
        return text.toString('utf8', 0, Number(length.readBigUInt64LE(0)));
    }

    async *answer(reply, options = {}) {
        const { limit, signal } = known(options, 'limit', 'signal');
        for await (const text of this.stream({ limit, signal, marks: true })) {
            reply.push(text);
            yield* reply.parts();
        }
        reply.finish();
        yield* reply.parts();
    }

    async chat(messages, options = {}) {
        const { tools, toolChoice, limit, variables = {}, time, signal } =
            known(options, 'tools', 'toolChoice', 'limit', 'variables', 'time', 'signal');
        if (toolChoice !== undefined && tools === undefined) throw new TypeError('a toolChoice wants tools');
        if (tools !== undefined && variables.tools !== undefined) throw new TypeError('tools are given twice');
        const given = tools === undefined ? variables : { ...variables, tools };
        // Where this session is closed its handle says so.
        const model = this.handle && this.#model;
        const held = toolChoice === undefined ? null :
            new Constraint(model, 'tools', { ...given, tool_choice: toolChoice });
        const reply = new Reply(model, messages, { variables: given, time });
        const cancel = () => this.cancel();
        signal?.throwIfAborted();
        signal?.addEventListener('abort', cancel);
        try {
            const kept = await this.prefillChat(messages, { variables: given, time });
            signal?.throwIfAborted();
            return new Turn(reply, this.#said(reply, held, { limit, signal }), kept);
        } catch (e) {
            signal?.throwIfAborted();
            throw e;
        } finally {
            signal?.removeEventListener('abort', cancel);
        }
    }

    async *#said(reply, held, options) {
        if (held) this.setConstraint(held);
        try {
            yield* this.answer(reply, options);
        } finally {
            if (held && !this.closed) this.setConstraint(null);
            held?.close();
        }
    }

    setAdapters(adapters, scales) {
        if (scales !== undefined && scales.length !== adapters.length) {
            throw new RangeError(`${adapters.length} adapters have ${scales.length} scales`);
        }
        const numbers = scales === undefined ? null : Buffer.from(new Float32Array(scales).buffer);
        const handles = adapters.map((adapter) => adapter.handle);
        call('rasp_session_set_adapters', this.handle, handles.length ? handles : null, numbers, handles.length);
        this.kept.adapters = adapters.map((adapter) => adapter.kept);
    }

    setStop(strings) {
        if (strings.some((one) => one.includes('\0'))) throw new TypeError('a NUL would end a stop string');
        call('rasp_session_set_stop', this.handle, strings.length ? strings : null, strings.length);
    }

    fork(options = null) { return new Session(this.handle && this.#model, options, this); }
    async shift(keep, discard) { await this.#apart('rasp_session_shift', keep, discard); }
    rewind(tokens) { call('rasp_session_rewind', this.handle, tokens); }
    save() { return grown('rasp_session_save', 1, 0, this.handle); }
    restore(state) { call('rasp_session_restore', this.handle, state, state.length); }

    async embed(tokens, options = {}) {
        const { pooling = 'mean', normalise = true } = known(options, 'pooling', 'normalise');
        if (!(pooling in POOLING)) throw new TypeError(`pooling is ${pooling}, not mean or last`);
        const vector = new Float32Array(this.#info().hiddenSize), size = Buffer.alloc(8);
        await this.#apart('rasp_embed', ids(tokens), tokens.length, POOLING[pooling], normalise ? 1 : 0,
            Buffer.from(vector.buffer), vector.length, size);
        return vector;
    }

    #info() {
        const info = made('model_info');
        // Where this session is closed its handle says so.
        call('rasp_model_get_info', this.handle && this.#model.handle, info);
        return fields('model_info', info);
    }

    logits() {
        const out = [null], count = [0];
        call('rasp_logits', this.handle, out, count);
        return floatsAt(out[0], Number(count[0]));
    }

    setLogitBias(biases) {
        const entries = biases instanceof Map ? [...biases] : Object.entries(biases);
        const raw = Buffer.alloc(8 * Math.max(entries.length, 1));
        entries.forEach(([token, bias], n) => {
            raw.writeUInt32LE(Number(token), 8 * n);
            raw.writeFloatLE(bias, 8 * n + 4);
        });
        call('rasp_session_set_logit_bias', this.handle, raw, entries.length);
    }

    setLogitsCallback(callback) { this.hook.set(this, callback); }

    setDrafts(most, options = {}) {
        const { text = [], lookup = true, forced = true, own = false } =
            known(options, 'text', 'lookup', 'forced', 'own');
        const kinds = (lookup ? DRAFTS_LOOKUP : 0) | (forced ? DRAFTS_FORCED : 0) | (own ? DRAFTS_SELF : 0);
        call('rasp_session_set_drafts', this.handle, kinds, most, ids(text), text.length);
    }

    setDeadline(milliseconds, options = {}) {
        const { minSparsity = 0, maxSparsity = this.#info().maxSparsity } =
            known(options, 'minSparsity', 'maxSparsity');
        call('rasp_session_set_deadline', this.handle, nanoseconds(milliseconds), minSparsity, maxSparsity);
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
        // Refused while a call is under way.
        super.close();
        this.#model.close();
    }
}

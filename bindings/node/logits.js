// Functions that look at logits before a token is sampled.
import { setImmediate as turn } from 'node:timers/promises';
import { call, callAsync } from './calls.js';
import { PENDING, entry, floatsAt, tokensAt, writeFloats } from './native.js';

const SAMPLE = -1;
// No token: the step fails, and has appended nothing.
const NONE = -(2 ** 31);

// Hooks by the numbers that C knows them by. A callback often knows its session, which holds the hook: it must not be
// held here as well.
const hooks = new Map();
const gone = new FinalizationRegistry((number) => hooks.delete(number));
let count = 0;
let pointer = null;

/** The logits callback of a session, as C calls it, and what it threw, which cannot pass through C. */
export class LogitsHook {
    callback = null;
    #thrown = [];

    constructor() {
        this.number = ++count;
        hooks.set(this.number, new WeakRef(this));
        gone.register(this, this.number);
    }

    set(session, callback) {
        if (callback !== null && typeof callback !== 'function') throw new TypeError('a logits callback is a function');
        session.idle();
        pointer ??= entry((number, ...given) => hooks.get(number)?.deref()?.asked(...given) ?? NONE);
        call('rasp_session_set_logits_callback', session.handle, callback === null ? null : pointer, this.number);
        this.callback = callback;
    }

    asked(place, vocabulary, places, length) {
        this.#thrown = [];
        try {
            return this.#chosen(place, Number(vocabulary), tokensAt(places, Number(length)));
        } catch (e) {
            this.#thrown.push(e);
            return NONE;
        }
    }

    #chosen(place, vocabulary, tokens) {
        // A copy, since a callback may keep what it was given.
        const logits = floatsAt(place, vocabulary);
        const choice = this.callback(logits, tokens);
        if (choice === undefined || choice === null) {
            if (logits.length !== vocabulary) throw new TypeError('the logits callback gave its logits away');
            writeFloats(place, logits);
            return SAMPLE;
        }
        // C takes -1 for none; and a promise comes too late.
        if (!Number.isInteger(choice) || choice < 0 || choice >= 2 ** 31) {
            throw new TypeError(`the logits callback chose ${String(choice)}, which is no token`);
        }
        return choice;
    }

    /** What the callback threw, in a list of one or none. */
    thrown() {
        const thrown = this.#thrown;
        this.#thrown = [];
        return thrown;
    }
}

/**
 * A call in which the logits callbacks of these sessions may be asked: `made` makes it, by the function it is given. On
 * a thread of libuv's pool, but where there is a callback on this one, since a thread that waits for JavaScript would
 * keep the process from ending. There `part`, if it is given, makes a part of it, and the event loop goes on between
 * two.
 */
export async function asking(sessions, made, part = null) {
    if (sessions.every((session) => session.hook.callback === null)) {
        return made((...args) => callAsync(sessions, ...args));
    }
    for (const session of sessions) session.idle();
    for (const session of sessions) session.underWay++;
    try {
        for (;;) {
            await turn();
            const status = (part ?? made)(call);
            if (part === null || status !== PENDING) return status;
        }
    } finally {
        for (const session of sessions) session.underWay--;
    }
}

// Calls of the library, their errors, and handles.
import { BUFFER_TOO_SMALL, INVALID_STATE, rasp } from './native.js';

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

export function call(name, ...args) {
    const error = errorBuffer();
    return check(rasp[name](...args, error), error);
}

/** The same on a thread of libuv's pool, with some handles, which cannot be closed meanwhile. The buffers among args
 *  live until it is done. */
export async function callAsync(handles, name, ...args) {
    const error = errorBuffer();
    for (const handle of handles) handle.underWay++;
    try {
        return await new Promise((resolve, reject) => {
            rasp[name].async(...args, error, (failed, status) => {
                try {
                    if (failed) throw failed;
                    resolve(check(status, error));
                } catch (e) {
                    reject(e);
                }
            });
        });
    } finally {
        for (const handle of handles) handle.underWay--;
    }
}

/** What a call writes to a buffer of elements of `width` bytes, asked again with more room if it needs that. */
export function grown(name, width, guess, ...args) {
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

export const ids = (tokens) => {
    const buffer = Buffer.alloc(Math.max(4 * tokens.length, 4));
    tokens.forEach((token, i) => buffer.writeUInt32LE(token, 4 * i));
    return buffer;
};

export const numbers = (buffer) =>
    Array.from({ length: buffer.length / 4 }, (_, i) => buffer.readUInt32LE(4 * i));

/** Options, none of which is misspelt. */
export function known(options, ...names) {
    for (const name of Object.keys(options)) {
        if (!names.includes(name)) throw new TypeError(`${name} is no option; there are ${names.join(', ')}`);
    }
    return options;
}

// For handles that nobody closed. What is kept for one goes after it.
const lost = new FinalizationRegistry(({ free, handle }) => rasp[free](handle));

/** Something of the library's, given back by close() or when it is collected, and what has to be kept until then. */
export class Handle {
    #handle;
    #free;
    /** Calls with it that wait for a thread, or are on one. */
    underWay = 0;

    constructor(handle, free, kept = null) {
        this.#handle = handle;
        this.#free = free;
        this.kept = kept;
        lost.register(this, { free, handle, kept }, this);
    }

    get handle() {
        if (this.#handle === null) throw new Error(`this ${this.constructor.name.toLowerCase()} is closed`);
        return this.#handle;
    }

    get closed() { return this.#handle === null; }

    /** Throws while a call is under way, also one that the library does not know of yet. */
    idle(status = this.underWay > 0 ? INVALID_STATE : 0) {
        if (status < 0) throw new RaspError(status, 'a call on it is under way: wait for it');
    }

    close() {
        if (this.#handle === null) return;
        this.idle();
        this.idle(rasp[this.#free](this.#handle));
        lost.unregister(this);
        this.#handle = null;
        this.kept = null;
    }
}

// Files of models and adapters: by their path, in memory, or open.
import { call } from './calls.js';
import { addressOf } from './native.js';

/** A copy that nobody changes, moves or frees, at an address that is a multiple of 64: rows lie on cache lines. */
function aligned(bytes) {
    const room = Buffer.allocUnsafeSlow(bytes.byteLength + 63);
    const copy = room.subarray(Number(-addressOf(room) & 63n)).subarray(0, bytes.byteLength);
    copy.set(new Uint8Array(bytes.buffer, bytes.byteOffset, bytes.byteLength));
    return copy;
}

/** The handle that one of three functions gives, each called with `before`, where the file is, and `after`; and the
 *  bytes that the library reads in place, which must stay for as long as something uses the file. */
export function load(source, { offset = 0, length = 0 }, [byPath, byBytes, byFile], before, after) {
    const out = [null];
    if (typeof source === 'number') {
        call(byFile, ...before, source, offset, length, ...after, out);
        return { handle: out[0], data: null };
    }
    if (offset || length) throw new TypeError('an offset and a length are of an open file');
    if (typeof source === 'string') {
        if (source.includes('\0')) throw new TypeError('a NUL would end the path');
        call(byPath, ...before, source, ...after, out);
        return { handle: out[0], data: null };
    }
    if (!ArrayBuffer.isView(source)) throw new TypeError('the source is no path, bytes or descriptor of an open file');
    const data = aligned(source);
    call(byBytes, ...before, data, data.length, ...after, out);
    return { handle: out[0], data };
}

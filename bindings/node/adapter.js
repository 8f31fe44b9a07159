// LoRA adapters.
import { Handle, call, known } from './calls.js';
import { fields, made } from './native.js';

/** The handle of an adapter, and the bytes that the library reads in place. */
function loaded(model, source, options) {
    const { offset = 0, length = 0 } = known(options, 'offset', 'length');
    const out = [null];
    if (typeof source === 'number') {
        call('rasp_adapter_load_fd', model.handle, source, offset, length, out);
        return { handle: out[0], data: null };
    }
    if (offset || length) throw new TypeError('an offset and a length are of an open file');
    if (typeof source === 'string') {
        if (source.includes('\0')) throw new TypeError('a NUL would end the path');
        call('rasp_adapter_load', model.handle, source, out);
        return { handle: out[0], data: null };
    }
    // A copy of its own, whose address is a multiple of 8.
    const data = Buffer.from(new Uint8Array(source).buffer);
    call('rasp_adapter_load_bytes', model.handle, data, data.length, out);
    return { handle: out[0], data };
}

export class Adapter extends Handle {
    constructor(model, source, options = {}) {
        const { handle, data } = loaded(model, source, options);
        super(handle, 'rasp_adapter_free', data);
        this.data = data;
    }

    get info() {
        const info = made('adapter_info');
        call('rasp_adapter_get_info', this.handle, info);
        return fields('adapter_info', info);
    }
}

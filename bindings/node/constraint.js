// What answers may be.
import { Handle, call } from './calls.js';
import { CONSTRAINT_KINDS } from './native.js';

function compiled(model, kind, source) {
    if (!Object.hasOwn(CONSTRAINT_KINDS, kind)) {
        throw new TypeError(`kind is ${kind}, not ${Object.keys(CONSTRAINT_KINDS).join(', ')}`);
    }
    if (typeof source !== 'string' && kind !== 'jsonSchema' && kind !== 'tools') {
        throw new TypeError(`the source of a ${kind} is a string`);
    }
    const bytes = Buffer.from(typeof source === 'string' ? source : JSON.stringify(source), 'utf8');
    const out = [null];
    call('rasp_constraint_new', model.handle, CONSTRAINT_KINDS[kind], bytes, bytes.length, out);
    return out[0];
}

export class Constraint extends Handle {
    constructor(model, kind, source) { super(compiled(model, kind, source), 'rasp_constraint_free'); }
}

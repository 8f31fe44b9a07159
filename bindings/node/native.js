// The functions of rasp.h, through koffi. What each does is said there.
//
// Structs are buffers: rasp_*_init writes the library's own size and defaults to one, and the fields named here are
// read and written at their offsets, which are frozen with the ABI.
import { existsSync } from 'node:fs';
import { fileURLToPath } from 'node:url';
import koffi from 'koffi';

// $RASP_LIBRARY, or the library in this package (some have it), or the one that is installed.
const name = 'librasp.so.1';
const beside = fileURLToPath(new URL(name, import.meta.url));
const lib = koffi.load(process.env.RASP_LIBRARY || (existsSync(beside) ? beside : name));

koffi.opaque('rasp_model');
koffi.opaque('rasp_session');
koffi.opaque('rasp_constraint');
koffi.opaque('rasp_adapter');
koffi.opaque('rasp_reply');
koffi.proto('rasp_logits_callback', 'int32_t', ['size_t', 'void *', 'size_t', 'void *', 'size_t']);
const model = 'rasp_model *', session = 'rasp_session *', error = 'void *', size = '_Out_ size_t *';

// Strings are copied whole; the lengths say where they end.
koffi.struct('rasp_chat_message', {
    role: 'str', roleLength: 'size_t', content: 'str', contentLength: 'size_t', fields: 'str', fieldsLength: 'size_t',
});
const chatOptions = koffi.struct('rasp_chat_options', {
    structSize: 'uint32_t', addGenerationPrompt: 'uint32_t', variables: 'str', variablesLength: 'size_t',
    time: 'int64_t',
});
koffi.struct('rasp_reply_part', {
    kind: 'uint32_t', reserved: 'uint32_t', text: 'void *', textLength: 'size_t', name: 'void *', nameLength: 'size_t',
    id: 'void *', idLength: 'size_t',
});
export const CHAT_OPTIONS_SIZE = koffi.sizeof(chatOptions);

const reply = 'rasp_reply *', conversation = ['rasp_chat_message *', 'size_t', 'rasp_chat_options *'];

const functions = {
    rasp_version: ['str', []],
    rasp_abi_version: ['uint32_t', []],
    rasp_status_name: ['str', ['int32_t']],
    rasp_load: ['int32_t', ['str', 'void *', '_Out_ rasp_model **', error]],
    rasp_load_bytes: ['int32_t', ['void *', 'size_t', 'void *', '_Out_ rasp_model **', error]],
    rasp_load_fd: ['int32_t', ['int64_t', 'uint64_t', 'uint64_t', 'void *', '_Out_ rasp_model **', error]],
    rasp_free: ['int32_t', [model]],
    rasp_model_retain: ['int32_t', [model]],
    rasp_model_get_info: ['int32_t', [model, 'void *', error]],
    rasp_tokenize: ['int32_t', [model, 'void *', 'size_t', 'uint32_t', 'void *', 'size_t', size, error]],
    rasp_detokenize: ['int32_t', [model, 'void *', 'size_t', 'uint32_t', 'void *', 'size_t', size, error]],
    rasp_token_is_end: ['int32_t', [model, 'uint32_t']],
    rasp_token_is_special: ['int32_t', [model, 'uint32_t']],
    rasp_chat_tokenize: ['int32_t', [model, ...conversation, 'void *', 'size_t', size, error]],
    rasp_chat_text: ['int32_t', [model, ...conversation, 'void *', 'size_t', size, error]],
    rasp_session_plan: ['int32_t', [model, 'void *', 'void *', error]],
    rasp_session_open: ['int32_t', [model, 'void *', '_Out_ rasp_session **', error]],
    rasp_session_close: ['int32_t', [session]],
    rasp_session_reset: ['int32_t', [session, error]],
    rasp_session_set_sparsity: ['int32_t', [session, 'float', error]],
    rasp_session_set_deadline: ['int32_t', [session, 'uint64_t', 'float', 'float', error]],
    rasp_session_set_drafts: ['int32_t', [session, 'uint32_t', 'uint32_t', 'void *', 'size_t', error]],
    // A number for the context.
    rasp_session_set_logits_callback: ['int32_t', [session, 'rasp_logits_callback *', 'size_t', error]],
    rasp_session_set_sampling: ['int32_t', [session, 'void *', error]],
    rasp_constraint_new: ['int32_t', [model, 'uint32_t', 'void *', 'size_t', '_Out_ rasp_constraint **', error]],
    rasp_constraint_free: ['int32_t', ['rasp_constraint *']],
    rasp_session_set_constraint: ['int32_t', [session, 'rasp_constraint *', error]],
    rasp_session_get_stats: ['int32_t', [session, 'void *', error]],
    rasp_session_clear_stats: ['int32_t', [session, error]],
    rasp_prefill: ['int32_t', [session, 'void *', 'size_t', error]],
    rasp_step_batch: ['int32_t', ['rasp_session **', 'size_t', 'void *', 'void *', error]],
    rasp_step: ['int32_t', [session, 'void *', error]],
    rasp_decode: ['int32_t', [session, 'uint32_t', error]],
    rasp_log_probs: ['int32_t', [session, 'uint32_t', 'void *', 'void *', 'size_t', error]],
    rasp_cancel: ['void', [session]],
    rasp_adapter_load: ['int32_t', [model, 'str', '_Out_ rasp_adapter **', error]],
    rasp_adapter_load_bytes: ['int32_t', [model, 'void *', 'size_t', '_Out_ rasp_adapter **', error]],
    rasp_adapter_load_fd: ['int32_t', [model, 'int64_t', 'uint64_t', 'uint64_t', '_Out_ rasp_adapter **', error]],
    rasp_adapter_free: ['int32_t', ['rasp_adapter *']],
    rasp_adapter_get_info: ['int32_t', ['rasp_adapter *', 'void *', error]],
    rasp_session_set_adapters: ['int32_t', [session, 'rasp_adapter **', 'void *', 'size_t', error]],
    rasp_chat_prefill: ['int32_t', [session, ...conversation, 'void *', error]],
    rasp_chat_prefill_begin: ['int32_t', [session, ...conversation, 'void *', error]],
    rasp_session_tokens: ['int32_t', [session, 'void *', 'size_t', size, error]],
    rasp_reply_new: ['int32_t', [model, ...conversation, '_Out_ rasp_reply **', error]],
    rasp_reply_push: ['int32_t', [reply, 'void *', 'size_t', error]],
    rasp_reply_push_token: ['int32_t', [reply, 'uint32_t', error]],
    rasp_reply_finish: ['int32_t', [reply, error]],
    rasp_reply_next: ['int32_t', [reply, '_Out_ rasp_reply_part *', error]],
    rasp_reply_message: ['int32_t', [reply, 'void *', 'size_t', size, error]],
    rasp_reply_free: ['int32_t', [reply]],
    rasp_step_text: ['int32_t', [session, 'uint32_t', 'void *', 'size_t', 'void *', 'void *', error]],
    rasp_step_text_within: ['int32_t',
        [session, 'uint64_t', 'uint32_t', 'void *', 'size_t', 'void *', 'void *', error]],
    rasp_finish_text: ['int32_t', [session, 'void *', 'size_t', 'void *', error]],
    rasp_prefill_begin: ['int32_t', [session, 'void *', 'size_t', error]],
    rasp_prefill_within: ['int32_t', [session, 'uint64_t', error]],
    rasp_step_within: ['int32_t', [session, 'uint64_t', 'void *', error]],
    rasp_session_set_stop: ['int32_t', [session, 'str *', 'size_t', error]],
    rasp_session_rewind: ['int32_t', [session, 'size_t', error]],
    rasp_session_shift: ['int32_t', [session, 'size_t', 'size_t', error]],
    rasp_session_fork: ['int32_t', [session, 'void *', '_Out_ rasp_session **', error]],
    rasp_session_save: ['int32_t', [session, 'void *', 'size_t', size, error]],
    rasp_session_restore: ['int32_t', [session, 'void *', 'size_t', error]],
    rasp_embed: ['int32_t',
        [session, 'void *', 'size_t', 'uint32_t', 'uint32_t', 'void *', 'size_t', 'void *', error]],
    rasp_logits: ['int32_t', [session, '_Out_ float **', size, error]],
    rasp_session_set_logit_bias: ['int32_t', [session, 'void *', 'size_t', error]],
};
// A struct that has grown has an initialiser of its own.
const GROWN = { load_options: '_2', session_options: '_2', stats: '_3', sampling: '_2' };
const init = (name) => `rasp_${name}_init${GROWN[name] ?? ''}`;
for (const name of
    ['load_options', 'model_info', 'adapter_info', 'memory_plan', 'session_options', 'sampling', 'stats']) {
    functions[init(name)] = ['void', ['void *']];
}

/** Every function of the table above, by its name. */
export const rasp = Object.fromEntries(
    Object.entries(functions).map(([name, [result, parameters]]) => [name, lib.func(name, result, parameters)]));

/** A copy of what a pointer of the library's points to. */
export const bytesAt = (place, length) => {
    const count = Number(length);
    return count === 0 ? Buffer.alloc(0) : Buffer.from(koffi.decode(place, 'uint8_t', count));
};
export const floatsAt = (place, count) => Float32Array.from(koffi.decode(place, 'float', count));
export const tokensAt = (place, count) => Array.from(koffi.decode(place, 'uint32_t', count));
export const writeFloats = (place, floats) => koffi.encode(place, 'float', floats, floats.length);

export const addressOf = (buffer) => koffi.address(buffer);
/** What C calls a function by, for good. */
export const entry = (called) => koffi.register(called, 'rasp_logits_callback *');

export const END = 1, PENDING = 2, BUFFER_TOO_SMALL = -8, INVALID_STATE = -12;
export const STEP_TEXT_SIZE = 4160, TEXT_SHOW_MARKS = 2, DRAFTS_LOOKUP = 1, DRAFTS_FORCED = 2,
    DRAFTS_SELF = 4;
/** Why an answer ended, by number. */
export const ENDED = [null, 'token', 'stop', 'context'];
export const POOLING = { mean: 0, last: 1 };
/** What parts of an answer are, by their numbers. */
export const PARTS = [undefined, 'text', 'reasoning', 'call'];
export const KV_TYPES = { f16: 0, f32: 1, i8: 2 };
export const CONSTRAINT_KINDS = { jsonSchema: 0, regex: 1, grammar: 2, tools: 3 };

/** Stages of sampling by their numbers, from 1 on. */
const STAGES = ['topNSigma', 'topK', 'temperature', 'typicalP', 'topP', 'minP', 'xtc'];

const read = {
    u32: (b, at) => b.readUInt32LE(at),
    i32: (b, at) => b.readInt32LE(at),
    f32: (b, at) => b.readFloatLE(at),
    f64: (b, at) => b.readDoubleLE(at),
    u64: (b, at) => Number(b.readBigUInt64LE(at)),
    text: (b, at) => b.toString('utf8', at, b.indexOf(0, at)),
};
const write = {
    u32: (b, at, value) => b.writeUInt32LE(value, at),
    f32: (b, at, value) => b.writeFloatLE(value, at),
    u64: (b, at, value) => b.writeBigUInt64LE(BigInt(value), at),
    stages: (b, at, value) => {
        if (value.length > STAGES.length) throw new RangeError(`the order of sampling has ${value.length} stages`);
        value.forEach((stage, n) => {
            const code = 1 + STAGES.indexOf(stage);
            if (code === 0) throw new TypeError(`${stage} is no stage of sampling`);
            b.writeUInt8(code, at + n);
        });
    },
};

const structs = {
    load_options: { verify: ['u32', 4], lock: ['u32', 8], largePages: ['u32', 32] },
    model_info: {
        vocabSize: ['u32', 4], hiddenSize: ['u32', 8], intermediateSize: ['u32', 12], numLayers: ['u32', 16],
        numHeads: ['u32', 20], numKvHeads: ['u32', 24], headDim: ['u32', 28], contextLength: ['u32', 32],
        maxSparsity: ['f32', 40], defaultSparsity: ['f32', 44], numRungs: ['u32', 48], bosToken: ['i32', 52],
        fileSize: ['u64', 56], linearBytes: ['u64', 64], headBytes: ['u64', 72], architecture: ['text', 80],
        name: ['text', 112],
    },
    adapter_info: { rank: ['u32', 4], linears: ['u32', 8], bytes: ['u64', 16], name: ['text', 24] },
    memory_plan: {
        context: ['u32', 8], batch: ['u32', 12], size: ['u64', 16], kvCache: ['u64', 24], activations: ['u64', 32],
        sampling: ['u64', 40], bookkeeping: ['u64', 48],
    },
    session_options: {
        context: ['u32', 4], threads: ['u32', 8], batch: ['u32', 12], kvType: ['u32', 16], windowsAlone: ['u32', 20],
        drafts: ['u32', 72], adapterRank: ['u32', 76],
    },
    sampling: {
        temperature: ['f32', 4], topK: ['u32', 8], topP: ['f32', 12], minP: ['f32', 16],
        repetitionPenalty: ['f32', 20], repetitionWindow: ['u32', 24], seed: ['u64', 32],
        presencePenalty: ['f32', 40], frequencyPenalty: ['f32', 44], topNSigma: ['f32', 48], typicalP: ['f32', 52],
        xtcProbability: ['f32', 56], xtcThreshold: ['f32', 60], dryMultiplier: ['f32', 64], dryBase: ['f32', 68],
        dryAllowedLength: ['u32', 72], dryWindow: ['u32', 76], mirostatTau: ['f32', 80], mirostatEta: ['f32', 84],
        order: ['stages', 88],
    },
    stats: {
        tokens: ['u32', 4], context: ['u32', 8], sparsity: ['f32', 12], memory: ['u64', 16],
        decodedTokens: ['u64', 24], linearBytesRead: ['u64', 32], kept: ['f64', 40], headBytesRead: ['u64', 48],
        units: ['u64', 56], lateTokens: ['u64', 64], draftedTokens: ['u64', 72], acceptedTokens: ['u64', 80],
        sharedBytes: ['u64', 88],
    },
};

/** A struct with its defaults, and some fields set. There is room for any size a library may say. */
export function made(name, values = {}) {
    const buffer = Buffer.alloc(4096);
    rasp[init(name)](buffer);
    for (const [field, value] of Object.entries(values)) {
        if (value === undefined) continue;
        if (!(field in structs[name])) throw new TypeError(`${field} is no option`);
        const [type, at] = structs[name][field];
        write[type](buffer, at, value);
    }
    return buffer;
}

/** The fields of a struct. */
export function fields(name, buffer) {
    return Object.fromEntries(
        Object.entries(structs[name]).map(([field, [type, at]]) => [field, read[type](buffer, at)]));
}

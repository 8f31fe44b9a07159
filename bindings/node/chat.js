// Messages on their way to the library, answers told apart, and a turn of the assistant's.
import { Handle, call, grown, known } from './calls.js';
import { CHAT_OPTIONS_SIZE, PARTS, bytesAt } from './native.js';

/** A text and its length, or nothing. */
const counted = (text) => (text === undefined ? [null, 0] : [text, Buffer.byteLength(text)]);

/** Calls with arguments as templates take them: an object, where OpenAI's clients have its JSON as a string. */
function withObjects(calls) {
    if (!Array.isArray(calls)) return calls;
    return calls.map((one) => {
        if (typeof one?.function?.arguments !== 'string') return one;
        try {
            const given = JSON.parse(one.function.arguments);
            const object = typeof given === 'object' && given !== null && !Array.isArray(given);
            return object ? { ...one, function: { ...one.function, arguments: given } } : one;
        } catch {
            // What a model wrote need not be JSON.
            return one;
        }
    });
}

/** Messages and options as the library takes them. */
export function chat(messages, options = {}) {
    const { addGenerationPrompt = true, variables, time = 0 } =
        known(options, 'addGenerationPrompt', 'variables', 'time');
    const list = messages.map(({ role, content, ...fields }) => {
        if (typeof role !== 'string') throw new TypeError('the role of a message is no string');
        const bare = typeof content !== 'string';
        if (bare && content !== undefined) fields.content = content;
        if (fields.tool_calls !== undefined) fields.tool_calls = withObjects(fields.tool_calls);
        const [said, contentLength] = counted(bare ? undefined : content);
        const some = Object.values(fields).some((value) => value !== undefined);
        const [more, fieldsLength] = counted(some ? JSON.stringify(fields) : undefined);
        return { role, roleLength: Buffer.byteLength(role), content: said, contentLength, fields: more, fieldsLength };
    });
    const [given, variablesLength] = counted(variables === undefined ? undefined : JSON.stringify(variables));
    return [list, list.length, {
        structSize: CHAT_OPTIONS_SIZE, addGenerationPrompt: addGenerationPrompt ? 1 : 0, variables: given,
        variablesLength, time,
    }];
}

function begun(model, messages, options) {
    const out = [null];
    call('rasp_reply_new', model, ...chat(messages, options), out);
    return out[0];
}

export class Reply extends Handle {
    constructor(model, messages, options) {
        // It keeps the model, and with it the model's bytes.
        super(begun(model.handle, messages, options), 'rasp_reply_free', model.kept);
    }

    push(text) {
        const bytes = Buffer.from(text, 'utf8');
        call('rasp_reply_push', this.handle, bytes, bytes.length);
    }

    pushToken(token) { call('rasp_reply_push_token', this.handle, token); }
    finish() { call('rasp_reply_finish', this.handle); }

    *parts() {
        for (;;) {
            const part = {};
            if (call('rasp_reply_next', this.handle, part) !== 0) return;
            const text = bytesAt(part.text, part.textLength).toString('utf8');
            const type = PARTS[part.kind];
            if (type !== 'call') {
                yield { type, text };
                continue;
            }
            const name = bytesAt(part.name, part.nameLength).toString('utf8');
            yield { type, name, arguments: JSON.parse(text), id: bytesAt(part.id, part.idLength).toString('utf8') };
        }
    }

    message() {
        const fields = grown('rasp_reply_message', 1, 4096, this.handle).toString('utf8');
        return { role: 'assistant', ...JSON.parse(fields) };
    }
}

export class Turn {
    #reply;
    #parts;

    constructor(reply, parts, kept) {
        this.#reply = reply;
        this.#parts = parts;
        this.kept = kept;
    }

    [Symbol.asyncIterator]() { return this.#parts; }
    get message() { return this.#reply.message(); }
}

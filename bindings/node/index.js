// rasp: language models inside your program, reading only part of the weights for each token. See index.d.ts.
import { Adapter } from './adapter.js';
import { stepBatch } from './batch.js';
import { Handle, RaspError, call, grown, ids, known, numbers } from './calls.js';
import { Reply, Turn, chat } from './chat.js';
import { Constraint } from './constraint.js';
import { fields, made, rasp } from './native.js';
import { Session, sessionOptions } from './session.js';
import { load } from './source.js';

export { Adapter, Constraint, RaspError, Reply, Session, Turn, stepBatch };

export const version = () => rasp.rasp_version();
export const abiVersion = () => rasp.rasp_abi_version();

const LOAD = ['rasp_load', 'rasp_load_bytes', 'rasp_load_fd'];

export class Model extends Handle {
    constructor(source, options = {}) {
        const { verify = false, lock = false, largePages = false, ...place } =
            known(options, 'verify', 'lock', 'largePages', 'offset', 'length');
        const flags = { verify: Number(verify), lock: Number(lock), largePages: Number(largePages) };
        const { handle, data } = load(source, place, LOAD, [], [made('load_options', flags)]);
        super(handle, 'rasp_free', data);
    }

    get info() {
        const info = made('model_info');
        call('rasp_model_get_info', this.handle, info);
        return fields('model_info', info);
    }

    tokenize(text, options = {}) {
        const { addSpecial = false, parseSpecial = false } = known(options, 'addSpecial', 'parseSpecial');
        const bytes = Buffer.from(text, 'utf8');
        const flags = (addSpecial ? 1 : 0) | (parseSpecial ? 2 : 0);
        return numbers(grown('rasp_tokenize', 4, bytes.length, this.handle, bytes, bytes.length, flags));
    }

    detokenize(tokens, options = {}) {
        const { skipSpecial = false } = known(options, 'skipSpecial');
        return grown('rasp_detokenize', 1, 16 * tokens.length, this.handle, ids(tokens), tokens.length,
            skipSpecial ? 1 : 0);
    }

    isEnd(token) { return rasp.rasp_token_is_end(this.handle, token) !== 0; }
    isSpecial(token) { return rasp.rasp_token_is_special(this.handle, token) !== 0; }

    chatTokenize(messages, options) {
        return numbers(grown('rasp_chat_tokenize', 4, 4096, this.handle, ...chat(messages, options)));
    }

    chatText(messages, options) {
        return grown('rasp_chat_text', 1, 4096, this.handle, ...chat(messages, options)).toString('utf8');
    }

    chatFormat(messages, { addGenerationPrompt = true } = {}) {
        return this.chatText(messages, { addGenerationPrompt });
    }

    constraint(kind, source) { return new Constraint(this, kind, source); }
    adapter(source, options) { return new Adapter(this, source, options); }
    reply(messages, options) { return new Reply(this, messages, options); }
    open(options) { return new Session(this, options); }

    plan(options = {}) {
        const plan = made('memory_plan');
        call('rasp_session_plan', this.handle, sessionOptions(options), plan);
        return fields('memory_plan', plan);
    }
}

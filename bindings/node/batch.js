// Several sessions in one step.
import { RaspError } from './calls.js';
import { asking } from './logits.js';
import { END } from './native.js';

export async function stepBatch(sessions) {
    const held = [...sessions], size = 4 * held.length;
    const tokens = Buffer.alloc(size), statuses = Buffer.alloc(size);
    // Words come for the first that fails; the others have a name.
    let first = null;
    try {
        await asking(held, (call) => {
            const handles = held.map((session) => session.handle);
            return call('rasp_step_batch', handles, handles.length, tokens, statuses);
        });
    } catch (e) {
        if (!(e instanceof RaspError)) throw e;
        first = e;
    }
    return held.map((session, at) => {
        const status = statuses.readInt32LE(4 * at);
        if (status >= 0) return { id: tokens.readUInt32LE(4 * at), end: status === END };
        const [error = first ?? new RaspError(status, `session ${at}`)] = session.hook.thrown();
        first = null;
        return { error };
    });
}

// Models from memory and from open files, with RASP_TEST_TOOLS, a tiny model that tests/bindings/models.py makes.
import assert from 'node:assert/strict';
import { closeSync, mkdtempSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Model } from './index.js';

const path = process.env.RASP_TEST_TOOLS;
const bytes = readFileSync(path);

setFlagsFromString('--expose-gc');
const gc = runInNewContext('gc');

async function answer(session) {
    session.reset();
    await session.prefill([3, 5, 7]);
    const said = [];
    for (let n = 0; n < 12; n++) said.push((await session.step()).id);
    return said;
}

async function answerOf(model) {
    assert.equal(model.info.fileSize, bytes.length);
    const session = model.open();
    model.close();
    const said = await answer(session);
    session.close();
    return said;
}

test('from memory', async () => {
    const expected = await answerOf(new Model(path));
    // Of any kind, wherever they begin: the copy is the model's own, and its sessions keep it.
    const shifted = new Uint8Array(bytes.length + 3).subarray(3);
    shifted.set(bytes);
    const shared = new Uint8Array(new SharedArrayBuffer(bytes.length));
    shared.set(bytes);
    for (const source of [bytes, shifted, new DataView(shifted.slice().buffer), shared]) {
        assert.deepEqual(await answerOf(new Model(source, { verify: true })), expected);
    }
    const model = new Model(shifted);
    const session = model.open(), fork = session.fork();
    const reply = model.reply([{ role: 'user', content: 'Hi' }]);
    shifted.fill(0);
    structuredClone(shifted.buffer, { transfer: [shifted.buffer] });
    model.close();
    session.close();
    gc();
    const filler = Array.from({ length: 64 }, () => Buffer.alloc(bytes.length, 1));
    assert.deepEqual(await answer(fork), expected);
    assert.equal(filler.length, 64);
    fork.close();
    reply.push('Yes');
    reply.finish();
    assert.deepEqual([...reply.parts()], [{ type: 'text', text: 'Yes' }]);
    reply.close();

    assert.throws(() => new Model(bytes.subarray(0, -1)), { status: 'bad file', message: /truncated/ });
    assert.throws(() => new Model(bytes, { offset: 8 }), /of an open file/);
    assert.throws(() => new Model({}), /no path, bytes or descriptor/);
    assert.throws(() => new Model(path, { verfy: true }), /verfy is no option/);
});

test('bytes go when nobody uses them', async () => {
    const users = [(model) => model.open(), (model) => model.reply([{ role: 'user', content: 'Hi' }])];
    for (const used of users) {
        const model = new Model(bytes), user = used(model), data = new WeakRef(model.kept);
        // Garbage is collected between turns of the event loop.
        const collected = async () => {
            for (let n = 0; n < 20 && data.deref(); n++) {
                await new Promise((resolve) => setTimeout(resolve, 10));
                gc();
            }
            return !data.deref();
        };
        model.close();
        assert.ok(!await collected(), 'they are kept');
        user.close();
        assert.ok(await collected(), 'nobody keeps them');
    }
});

test('from an open file', async () => {
    const expected = await answerOf(new Model(path));
    const folder = mkdtempSync(join(tmpdir(), 'rasp-'));
    const archive = join(folder, 'archive');
    writeFileSync(archive, Buffer.concat([Buffer.alloc(64), bytes, Buffer.alloc(10)]));
    const file = openSync(archive), whole = openSync(path);
    const models = [new Model(file, { offset: 64, length: bytes.length }), new Model(whole)];
    assert.throws(() => new Model(file, { offset: 64, length: bytes.length + 11 }), { status: 'out of range' });
    // They need not stay open.
    closeSync(file);
    closeSync(whole);
    rmSync(folder, { recursive: true });
    for (const model of models) assert.deepEqual(await answerOf(model), expected);
    assert.throws(() => new Model(path, { length: 8 }), /of an open file/);
    assert.throws(() => new Model(`${path}\0`), /NUL/);
});

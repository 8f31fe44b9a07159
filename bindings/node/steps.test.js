// Forks, plans, deadlines, batches and logits callbacks on the real model, RASP_TEST_MODEL.
import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import { setFlagsFromString } from 'node:v8';
import { runInNewContext } from 'node:vm';
import { Model, RaspError, stepBatch } from './index.js';

const path = process.env.RASP_TEST_MODEL;
const prompt = 'The capital of France is';

async function steps(session, count) {
    const tokens = [];
    for (let n = 0; n < count; n++) tokens.push((await session.step()).id);
    return tokens;
}

async function text(session, limit) {
    let said = '';
    for await (const piece of session.stream({ limit })) said += piece;
    return said;
}

/** A session that has passed the prompt, and the prompt's tokens. */
async function begun(options = { context: 64 }) {
    const model = new Model(path);
    const session = model.open(options), tokens = model.tokenize(prompt);
    model.close();
    await session.prefill(tokens);
    return { session, tokens };
}

test('plans', () => {
    const model = new Model(path);
    const options = { context: 256, batch: 32, kv: 'i8', drafts: 2, adapterRank: 3 };
    const plan = model.plan(options);
    assert.deepEqual([plan.context, plan.batch], [256, 32]);
    assert.equal(plan.size, plan.kvCache + plan.activations + plan.sampling + plan.bookkeeping);
    const session = model.open(options);
    assert.equal(session.stats.memory, plan.size);
    assert.ok(plan.kvCache < model.plan({ context: 256 }).kvCache);
    assert.equal(model.plan().context, Math.min(model.info.contextLength, 4096));
    assert.throws(() => model.plan({ drafts: 16 }), /16 drafts/);
    assert.throws(() => model.plan({ contxt: 16 }), /contxt is no option/);
    session.close();
    model.close();
});

test('forks and shifts', async () => {
    const { session, tokens } = await begun();
    const fork = session.fork(), small = session.fork({ context: 32 });
    assert.deepEqual([fork.stats.context, small.stats.context], [64, 32]);
    const expected = await steps(session, 12);
    session.close();
    assert.deepEqual(await steps(fork, 12), expected);
    assert.deepEqual(await steps(small, 12), expected);
    await fork.shift(1, 3);
    assert.deepEqual(fork.tokens, [tokens[0], ...tokens.slice(4), ...expected]);
    assert.equal((await fork.step()).end, false);
    await assert.rejects(fork.shift(1, 1000), { status: 'out of range' });
    assert.throws(() => fork.fork({ context: 4 }), { status: 'context full' });
    assert.throws(() => fork.fork({ context: 32, kv: 'f32' }), /cache is f32/);
    assert.throws(() => fork.fork({ contxt: 32 }), /contxt is no option/);
    assert.throws(() => session.fork(), /this session is closed/);
    fork.close();
    small.close();
});

test('drafts from a text', async () => {
    const { session, tokens } = await begun({ context: 64, drafts: 7 });
    const expected = await steps(session, 16);
    const accepted = [];
    for (const known of [[], expected]) {
        session.reset();
        session.clearStats();
        session.setDrafts(7, { text: known, own: known.length > 0 });
        await session.prefill(tokens);
        assert.deepEqual(await steps(session, 16), expected);
        accepted.push(session.stats.acceptedTokens);
    }
    assert.ok(accepted[1] > accepted[0], `${accepted}`);
    session.setDrafts(7, { lookup: false, forced: false });
    assert.throws(() => session.setDrafts(8), { status: 'out of range' });
    assert.throws(() => session.setDrafts(7, { txt: [] }), /txt is no option/);
    session.close();
});

test('several in one step', async () => {
    const model = new Model(path);
    const [one, two, alone] = [1, 2, 3].map(() => model.open({ context: 32 }));
    const [full, fuller] = [1, 2].map(() => model.open({ context: 2 }));
    const prompts = [model.tokenize(prompt), model.tokenize('One, two, three,')];
    const expected = [];
    for (const tokens of prompts) {
        alone.reset();
        await alone.prefill(tokens);
        expected.push(await steps(alone, 4));
    }
    await one.prefill(prompts[0]);
    await two.prefill(prompts[1]);
    for (const session of [full, fuller]) await session.prefill(prompts[0].slice(0, 2));
    for (let n = 0; n < 4; n++) {
        const [first, second, third, fourth] = await stepBatch([one, full, two, fuller]);
        assert.deepEqual([first, third], [0, 1].map((at) => ({ id: expected[at][n], end: false })));
        assert.deepEqual([second.error.status, fourth.error.status], ['context full', 'context full']);
        assert.match(second.error.message, /session 1/);
        assert.match(fourth.error.message, /session 3/);
    }
    assert.deepEqual(one.tokens, [...prompts[0], ...expected[0]]);
    assert.deepEqual(full.tokens, prompts[0].slice(0, 2));
    const twice = await stepBatch([one, one]);
    assert.ok(twice.every(({ error }) => error.status === 'invalid argument'));
    assert.match(twice[0].error.message, /session 1 is session 0 once more/);
    assert.deepEqual(await stepBatch([]), []);
    // None can be closed while it steps.
    const stepping = stepBatch([one, two]);
    assert.throws(() => two.close(), { status: 'invalid state' });
    assert.ok((await stepping).every((step) => step.error === undefined));
    two.close();
    await assert.rejects(stepBatch([one, two]), /this session is closed/);
    for (const handle of [one, alone, full, fuller, model]) handle.close();
});

test('text within a time', async () => {
    const { session, tokens } = await begun();
    const expected = await text(session, 12);
    session.rewind(0);
    await session.prefillBegin(tokens);
    let said = '', pending = 0;
    for (let n = 0; n < 12; n++) {
        let piece;
        while ((piece = await session.stepTextWithin(0)) === null) pending++;
        assert.equal(piece.ended, null);
        said += piece.text;
    }
    assert.ok(pending > 24, `${pending} calls`);
    assert.equal(said + session.finishText(), expected);
    assert.equal(session.finishText(), '');
    session.setStop(['Paris']);
    session.reset();
    await session.prefill(tokens);
    let piece;
    do {
        piece = await session.stepTextWithin(Infinity);
        assert.doesNotMatch(piece.text, /Paris/);
    } while (piece.ended === null);
    assert.equal(piece.ended, 'stop');
    await assert.rejects(session.stepTextWithin(-1), /no budget/);
    await assert.rejects(session.stepTextWithin(1, { mark: true }), /mark is no option/);
    session.close();
});

test('deadlines', async () => {
    const { session } = await begun();
    session.setDeadline(1e-9, { maxSparsity: 0.4 });
    await steps(session, 4);
    // Nothing is as fast, and no token is sparser than it may be.
    const { lateTokens, sparsity } = session.stats;
    assert.ok(lateTokens >= 3 && Math.abs(sparsity - 0.4) < 1e-6, `${lateTokens} late tokens, ${sparsity}`);
    session.setDeadline(0);
    session.setSparsity(0);
    await session.step();
    assert.deepEqual([session.stats.lateTokens, session.stats.sparsity], [lateTokens, 0]);
    session.setDeadline(100_000, { minSparsity: 0.1 });
    await steps(session, 2);
    assert.ok(Math.abs(session.stats.sparsity - 0.1) < 1e-6);
    assert.throws(() => session.setDeadline(1, { minSparsity: 0.5, maxSparsity: 0.2 }), { status: 'out of range' });
    assert.throws(() => session.setDeadline(-1), /no budget/);
    assert.throws(() => session.setDeadline(1, { min: 0 }), /min is no option/);
    session.close();
    assert.throws(() => session.setDeadline(1), /this session is closed/);
});

test('logits callbacks', async () => {
    const { session, tokens } = await begun();
    const expected = await text(session, 8);
    session.rewind(tokens.length);
    const usual = (await session.step()).id;
    const seen = [];
    // It sees, and changes nothing.
    session.setLogitsCallback((logits, all) => { seen.push([logits.length, all]); });
    session.rewind(tokens.length);
    let ticks = 0;
    const timer = setInterval(() => ticks++, 1);
    assert.equal(await text(session, 8), expected);
    clearInterval(timer);
    assert.ok(ticks > 3, `the event loop turned ${ticks} times`);
    const size = session.logits().length;
    assert.deepEqual(seen, seen.map((_, n) => [size, session.tokens.slice(0, tokens.length + n)]));
    assert.equal(seen.length, 8);
    // It forbids.
    session.setLogitsCallback((logits) => { logits[usual] = -Infinity; });
    session.rewind(tokens.length);
    assert.ok(!(await steps(session, 2)).includes(usual));
    // It chooses, in every call that steps.
    session.setLogitsCallback(() => 42);
    const fork = session.fork();
    fork.rewind(tokens.length);
    assert.equal((await session.step()).id, 42);
    assert.equal((await session.stepWithin(Infinity)).id, 42);
    assert.equal((await session.stepTextWithin(Infinity)).ended, null);
    assert.deepEqual((await stepBatch([session, fork])).map(({ id }) => id), [42, usual]);
    assert.deepEqual(session.tokens.slice(-4), [42, 42, 42, 42]);
    assert.equal(await session.stepWithin(0), null);
    assert.equal((await session.step()).id, 42);
    // A call under way is left alone.
    session.setLogitsCallback(null);
    session.rewind(tokens.length);
    const step = session.step();
    assert.throws(() => session.setLogitsCallback(() => 42), { status: 'invalid state' });
    assert.equal((await step).id, usual);
    assert.throws(() => session.setLogitsCallback(42), /is a function/);
    session.close();
    fork.close();
});

test('what callbacks throw', async () => {
    const { session, tokens } = await begun();
    const mine = new TypeError('mine');
    session.setLogitsCallback(() => { throw mine; });
    const calls = [
        () => session.step(), () => text(session, 2),
        () => session.stepWithin(Infinity), () => session.stepTextWithin(Infinity),
    ];
    for (const call of calls) await assert.rejects(call, (thrown) => thrown === mine);
    const fork = session.fork();
    const [failed, stepped] = await stepBatch([session, fork]);
    assert.ok(failed.error === mine && stepped.error === undefined);
    fork.close();
    session.setLogitsCallback(() => { throw undefined; });
    await assert.rejects(session.step(), { status: 'out of range' });
    for (const choice of [-1, 2 ** 31, 1.5, NaN, '42', true, Promise.resolve(42)]) {
        session.setLogitsCallback(() => choice);
        await assert.rejects(session.step(), /which is no token/);
    }
    session.setLogitsCallback(() => 2 ** 31 - 1);
    await assert.rejects(session.step(), { status: 'out of range' });
    session.setLogitsCallback((logits) => { structuredClone(logits, { transfer: [logits.buffer] }); });
    await assert.rejects(session.step(), /gave its logits away/);
    session.setLogitsCallback((logits) => { logits.fill(NaN); });
    await assert.rejects(session.step(), { status: 'non-finite number' });
    // A session is in use then, and not even closed.
    for (const use of [() => session.reset(), () => session.close(), () => session.setLogitsCallback(null)]) {
        session.setLogitsCallback(use);
        await assert.rejects(session.step(), { name: 'RaspError', status: 'invalid state' });
    }
    let inner;
    session.setLogitsCallback(() => { inner ??= assert.rejects(session.step(), { status: 'invalid state' }); });
    await session.step();
    await inner;
    session.rewind(tokens.length);
    session.setLogitsCallback(() => session.cancel());
    await session.step();
    await assert.rejects(session.step(), { status: 'cancelled' });
    session.setLogitsCallback(null);
    session.rewind(tokens.length);
    assert.match(await text(session, 8), /Paris/);
    session.close();
});

test('a stream with a callback is stopped from outside', async () => {
    const { session, tokens } = await begun({ context: 512 });
    session.setLogitsCallback(() => 42);
    const controller = new AbortController();
    setTimeout(() => controller.abort(), 40);
    await assert.rejects(async () => {
        for await (const _ of session.stream({ signal: controller.signal }));
    }, { name: 'AbortError' });
    const held = session.tokens.length;
    assert.ok(held > tokens.length && held < 512, `${held} tokens`);
    session.close();
});

test('a callback that knows its session', async () => {
    setFlagsFromString('--expose-gc');
    const gc = runInNewContext('gc');
    const gone = await (async () => {
        const { session } = await begun({ context: 16 });
        session.setLogitsCallback(() => (session.closed ? null : 7));
        assert.equal((await session.step()).id, 7);
        return new WeakRef(session);
    })();
    for (let n = 0; n < 100 && gone.deref(); n++) {
        await new Promise((resolve) => setTimeout(resolve, 10));
        gc();
    }
    assert.equal(gone.deref(), undefined);
});

test('a process that ends during a call', () => {
    for (const ending of ['process.exit(7)', 'setImmediate(() => process.exit(7)); await step']) {
        for (const callback of ['null', "() => { if (ending) process.exit(7); }"]) {
            const program = `import { Model } from ${JSON.stringify(new URL('./index.js', import.meta.url))};
                const session = new Model(process.env.RASP_TEST_MODEL).open({ context: 16, threads: 2 });
                await session.prefill([1, 2, 3]);
                let ending = false;
                session.setLogitsCallback(${callback});
                await session.step();
                ending = true;
                const step = session.step();
                ${ending}`;
            const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '-e', program],
                { timeout: 120_000, encoding: 'utf8' });
            assert.equal(status, 7, stderr);
        }
    }
});

// Adapters, conversations, replies and tools, with RASP_TEST_MODEL, RASP_TEST_ADAPTER (an adapter for it) and
// RASP_TEST_TOOLS (a tiny model whose template knows tools), as tests/bindings/models.py makes them.
import assert from 'node:assert/strict';
import { closeSync, openSync, readFileSync } from 'node:fs';
import { test } from 'node:test';
import { Model, RaspError } from './index.js';

const { RASP_TEST_MODEL: path, RASP_TEST_ADAPTER: adapterPath, RASP_TEST_TOOLS: toolsPath } = process.env;
const prompt = 'The capital of France is';
const question = { role: 'user', content: 'What is the capital of France?' };
const schema = {
    type: 'object', properties: { unit: { enum: ['C', 'F'] } }, required: ['unit'], additionalProperties: false,
};
const tools = [{ type: 'function', function: { name: 'weather', parameters: schema } }];

async function gathered(parts) {
    const all = [];
    for await (const part of parts) all.push(part);
    return all;
}
const said = async (parts) => (await gathered(parts)).map((part) => part.text ?? part).join('');

test('adapters change what is said', async () => {
    const model = new Model(path);
    const session = model.open({ context: 64, adapterRank: 6 });
    const tokens = model.tokenize(prompt);
    const answer = async () => {
        session.reset();
        await session.prefill(tokens);
        const found = [];
        for (let n = 0; n < 8; n++) found.push((await session.step()).id);
        return found;
    };
    const bytes = readFileSync(adapterPath), file = openSync(adapterPath);
    const adapters = [adapterPath, bytes, file].map((source) => model.adapter(source));
    adapters.push(model.adapter(file, { offset: 0, length: bytes.length }));
    assert.throws(() => model.adapter(file, { offset: 0, length: bytes.length + 1 }), { status: 'out of range' });
    closeSync(file);
    const { name, rank, linears } = adapters[0].info;
    assert.deepEqual({ name, rank, linears }, { name: 'lora', rank: 3, linears: 60 });
    const alone = await answer();
    session.setAdapters([adapters[0]]);
    const adapted = await answer();
    assert.notDeepEqual(adapted, alone);
    for (const adapter of adapters.slice(1)) {
        session.setAdapters([adapter]);
        assert.deepEqual(await answer(), adapted);
    }
    session.setAdapters(adapters.slice(0, 2), [0, 0]);
    assert.deepEqual(await answer(), alone);
    session.setAdapters([]);
    assert.deepEqual(await answer(), alone);
    // Bytes are the adapter's own, and a session keeps them.
    session.setAdapters([adapters[1]]);
    bytes.fill(0);
    for (const adapter of adapters) adapter.close();
    assert.deepEqual(await answer(), adapted);

    assert.throws(() => session.setAdapters(adapters), /this adapter is closed/);
    assert.throws(() => adapters[0].info, /closed/);
    const one = model.adapter(adapterPath), small = model.open({ context: 16 });
    assert.throws(() => small.setAdapters([one]), /adapter_rank 3/);
    assert.throws(() => session.setAdapters([one], [1, 2]), /1 adapters have 2 scales/);
    assert.throws(() => session.setAdapters([one], [NaN]), /finite/);
    assert.throws(() => model.adapter(path), /not an adapter/);
    assert.throws(() => model.adapter('/nowhere'), /nowhere/);
    assert.throws(() => model.adapter('a\0b'), /NUL/);
    assert.throws(() => model.adapter(readFileSync(adapterPath).subarray(0, -1)), /truncated/);
    assert.throws(() => model.adapter(adapterPath, { offest: 1 }), /offest is no option/);
    for (const handle of [small, session, model]) handle.close();
});

test('each token passes once', async () => {
    const model = new Model(path);
    const session = model.open({ context: 256 });
    model.close();
    const messages = [question];
    let turn = await session.chat(messages, { limit: 64 });
    assert.equal(turn.kept, 0);
    const parts = await gathered(turn);
    assert.ok(parts.length > 4 && parts.every(({ type }) => type === 'text'));
    const text = parts.map((part) => part.text).join('');
    assert.match(text, /Paris/);
    assert.deepEqual(turn.message, { role: 'assistant', content: text });
    const held = session.tokens;
    assert.equal(held.length, session.stats.tokens);
    messages.push(turn.message, { role: 'user', content: 'And of Italy? Also: a\0b' });
    turn = await session.chat(messages, { limit: 32 });
    assert.equal(turn.kept, held.length);
    assert.deepEqual(session.tokens.slice(0, held.length), held);
    assert.match(await said(turn), /Rome/);
    // An answer that is left in the middle is what had come.
    turn = await session.chat(messages);
    for await (const part of turn) {
        assert.equal(turn.message.content, part.text);
        break;
    }
    assert.equal(await session.prefillChat(messages), session.tokens.length);
    const controller = new AbortController();
    turn = await session.chat(messages, { signal: controller.signal });
    await assert.rejects(async () => {
        for await (const _ of turn) controller.abort();
    }, { name: 'AbortError' });
    await assert.rejects(session.chat(messages, { signal: controller.signal }), { name: 'AbortError' });
    session.close();
    await assert.rejects(session.chat(messages), /this session is closed/);
});

test('prompts', async () => {
    const model = new Model(path);
    const session = model.open({ context: 128 });
    const tokens = model.chatTokenize([question]);
    assert.deepEqual(session.tokens, []);
    assert.equal(await session.prefillChat([question]), 0);
    assert.deepEqual(session.tokens, tokens);
    assert.equal(await session.prefillChat([question]), tokens.length);
    const first = await session.step();
    session.reset();
    assert.equal(await session.prefillChatBegin([question]), 0);
    let calls = 1;
    while (!await session.prefillWithin(0)) calls++;
    assert.ok(calls > 10, `${calls} calls`);
    assert.deepEqual(await session.step(), first);
    session.reset();
    await session.prefillBegin(tokens);
    let token, pending = 0;
    while ((token = await session.stepWithin(0.01)) === null) pending++;
    assert.ok(pending > 10);
    assert.deepEqual(token, first);
    await assert.rejects(session.stepWithin(-1), /no budget/);
    await assert.rejects(session.prefillChat(Array(20).fill(question)), { status: 'context full' });
    await assert.rejects(session.chat([question], { tool: tools }), /tool is no option/);
    await assert.rejects(session.chat([question], { toolChoice: 'auto' }), /wants tools/);
    await assert.rejects(session.chat([question], { tools, toolChoice: 'auto' }), /no format/);
    await assert.rejects(session.chat([question], { tools, variables: { tools } }), /twice/);
    await assert.rejects(session.chat([{ content: 'x' }]), TypeError);
    assert.throws(() => model.open({ contxt: 5 }), /contxt is no option/);
    session.close();
    model.close();
});

test('a call and its result', async () => {
    const model = new Model(toolsPath);
    const session = model.open();
    model.close();
    for (const toolChoice of ['required', { type: 'function', function: { name: 'weather' } }]) {
        const messages = [{ role: 'user', content: 'Hi' }];
        const turn = await session.chat(messages, { tools, toolChoice, limit: 100 });
        const parts = await gathered(turn);
        assert.equal(parts.length, 1);
        const [{ type, name, arguments: given, id }] = parts;
        assert.ok(type === 'call' && name === 'weather' && ['C', 'F'].includes(given.unit));
        assert.deepEqual(turn.message.tool_calls, [{ type: 'function', id, function: { name, arguments: given } }]);
        const held = session.tokens.length;
        messages.push(turn.message, { role: 'tool', tool_call_id: id, content: '20' });
        assert.ok(await session.prefillChat(messages) >= held - 1);
        // As OpenAI's clients have it, arguments are text: the same conversation.
        const asText = structuredClone(messages);
        asText[1].tool_calls[0].function.arguments = JSON.stringify(given);
        assert.equal(await session.prefillChat(asText), session.tokens.length);
    }
    // The constraint was the turn's alone.
    session.reset();
    const free = await said(await session.chat([{ role: 'user', content: 'Hi' }], { tools, limit: 16 }));
    assert.doesNotMatch(free, /<tool_call>/);
    session.close();
});

test('replies', () => {
    const model = new Model(toolsPath);
    const rest = 'Hm.\n</think>\n\nSo:\n<tool_call>\n' +
        '{"name": "weather", "arguments": {"unit": "\\u0000C"}}\n</tool_call>';
    for (const tokens of [false, true]) {
        const reply = model.reply([{ role: 'user', content: 'Hi' }], { variables: { tools, think: true } });
        if (tokens) for (const token of model.tokenize(rest)) reply.pushToken(token);
        else for (const letter of rest) reply.push(letter);
        reply.finish();
        const [reasoning, text, call] = [...reply.parts()];
        assert.deepEqual([reasoning.type, reasoning.text.trim()], ['reasoning', 'Hm.']);
        assert.deepEqual([text.type, text.text.trim()], ['text', 'So:']);
        assert.deepEqual([call.type, call.arguments], ['call', { unit: '\0C' }]);
        assert.equal(reply.message().reasoning_content.trim(), 'Hm.');
        assert.throws(() => reply.push('x'), /finished/);
        reply.close();
        assert.throws(() => reply.push('x'), /this reply is closed/);
    }
    model.close();
});

test('stop strings, states, vectors and logits', async () => {
    const model = new Model(path);
    const session = model.open({ context: 32 });
    const tokens = model.tokenize(prompt);
    await session.prefill(tokens);
    const state = session.save();
    session.setStop(['Paris', 'never']);
    const text = await said(session.stream());
    assert.ok(!text.includes('Paris') && session.stats.tokens < 32, text);
    session.setStop([]);
    session.restore(state);
    const again = await said(session.stream({ limit: 8 }));
    assert.ok(again.includes('Paris') && again.startsWith(text), again);
    session.rewind(tokens.length);
    assert.equal(await said(session.stream({ limit: 8 })), again);
    // A full context ends an answer.
    assert.ok((await said(session.stream())).length > 0);
    assert.equal(session.stats.tokens, 32);
    assert.throws(() => session.restore(state.subarray(0, -1)), RaspError);
    assert.throws(() => session.setStop(['a\0b']), /NUL/);
    session.reset();
    await session.prefill(tokens);
    const logits = session.logits();
    const first = (await session.step()).id;
    assert.equal(logits.length, model.info.vocabSize);
    assert.equal(logits.indexOf(logits.reduce((a, b) => Math.max(a, b))), first);
    session.setLogitBias({ [first]: -Infinity });
    session.rewind(tokens.length);
    assert.notEqual((await session.step()).id, first);
    session.setLogitBias(new Map());
    session.reset();
    const vector = await session.embed(tokens);
    assert.ok(Math.abs(vector.reduce((sum, x) => sum + x * x, 0) - 1) < 1e-3);
    const last = await session.embed(tokens, { pooling: 'last', normalise: false });
    assert.ok(last.length === vector.length && last.some((x, n) => x !== vector[n]));
    await assert.rejects(session.embed(tokens, { pooling: 'first' }), /pooling is first/);
    session.close();
    model.close();
});

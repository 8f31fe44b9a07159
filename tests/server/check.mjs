// OpenAI's client for Node.js against `rasp serve`: RASP_SERVER says where, RASP_SERVER_MODEL which model.
import assert from "node:assert/strict";
import OpenAI from "openai";

const model = process.env.RASP_SERVER_MODEL;
const client = new OpenAI({ baseURL: `${process.env.RASP_SERVER}/v1`, apiKey: "sesame", maxRetries: 0 });
const messages = [{ role: "user", content: "What is the capital of Japan? Answer in one short sentence." }];
const ask = { model, messages, temperature: 0, max_completion_tokens: 24 };

const names = [];
for await (const entry of client.models.list()) names.push(entry.id);
assert.deepEqual(names, [model, "other"]);

const whole = await client.chat.completions.create({ ...ask, logprobs: true, top_logprobs: 2 });
const answer = whole.choices[0].message.content;
assert.match(answer, /Tokyo/);
assert.equal(whole.choices[0].logprobs.content.map((token) => token.token).join(""), answer);

let text = "", usage = null;
for await (const piece of await client.chat.completions.create({ ...ask, stream: true, stream_options: { include_usage: true } })) {
  text += piece.choices[0]?.delta?.content ?? "";
  usage = piece.usage ?? usage;
}
assert.equal(text, answer);
assert.equal(usage.completion_tokens, whole.usage.completion_tokens);

// One that is given up in the middle; the next one is answered.
const controller = new AbortController();
const long = await client.chat.completions.create({ ...ask, max_completion_tokens: 1000, stream: true }, { signal: controller.signal });
for await (const piece of long) {
  if (piece.choices[0].delta.content) controller.abort();
}

const complete = await client.completions.create({ model, prompt: "The capital of France is", temperature: 0, max_tokens: 4 });
assert.match(complete.choices[0].text, /^ Paris/);
const vectors = await client.embeddings.create({ model, input: ["An owl", "A fence"] });
assert.equal(vectors.data.length, 2);
assert.equal(vectors.data[1].embedding.length, 576);

const schema = { type: "object", properties: { city: { type: "string", maxLength: 20 } }, required: ["city"], additionalProperties: false };
const format = { type: "json_schema", json_schema: { name: "city", schema } };
const found = await client.chat.completions.create({ ...ask, response_format: format });
assert.deepEqual(Object.keys(JSON.parse(found.choices[0].message.content)), ["city"]);

await assert.rejects(client.chat.completions.create({ ...ask, top_p: 2 }), (e) => e.status === 400 && e.param === "top_p");
await assert.rejects(client.chat.completions.create({ ...ask, model: "gpt-4o" }), (e) => e.status === 404 && e.code === "model_not_found");
console.log(`openai, Node.js ${process.version}: all`);

// A chat of one question, dense and then sparse: node example.js MODEL.rasp
import { Model, version } from './index.js';

const model = new Model(process.argv[2]);
const session = model.open({ context: 512 });
console.log(`${model.info.name}: ${model.info.numLayers} layers; rasp ${version()}`);
const prompt = model.chatTokenize([{ role: 'user', content: 'What is the capital of France?' }]);
for (const sparsity of [0, 0.3]) {
    session.reset();
    session.clearStats();
    session.setSparsity(sparsity);
    await session.prefill(prompt);
    for await (const piece of session.stream({ limit: 24 })) {
        process.stdout.write(piece);
    }
    console.log(`\n    [${Math.round(100 * session.stats.kept)}% of the linear weights read]`);
}
session.close();
model.close();

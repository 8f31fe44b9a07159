-- A chat of one question, dense and then sparse: luajit example.lua MODEL.rasp
local rasp = require 'rasp'

local model = rasp.load(arg[1])
local session = model:open { context = 512 }
local info = model:info()
print(('%s: %d layers; rasp %s'):format(info.name, info.num_layers, rasp.version()))
local prompt = model:chat_tokenize { { role = 'user', content = 'What is the capital of France?' } }
for _, sparsity in ipairs { 0, 0.3 } do
    session:reset()
    session:clear_stats()
    session:set_sparsity(sparsity)
    session:prefill(prompt)
    for piece in session:stream(24) do
        io.write(piece)
        io.flush()
    end
    print(('\n    [%.0f%% of the linear weights read]'):format(100 * session:stats().kept))
end
session:close()
model:close()

-- Adapters, conversations, replies and tools: luajit test_chat.lua MODEL.rasp ADAPTER TOOLS.rasp, of which
-- tests/bindings/models.py makes the parts: an adapter for the model, and a tiny model whose template knows tools.
local rasp = require 'rasp'
local ffi = require 'ffi'
ffi.cdef [[int open(const char *, int); int close(int);]]

local prompt = 'The capital of France is'
local question = { role = 'user', content = 'What is the capital of France?' }
local tools = [=[[{"type": "function", "function": {"name": "weather", "parameters": {"type": "object", "properties":
    {"unit": {"enum": ["C", "F"]}}, "required": ["unit"], "additionalProperties": false}}}]]=]

local function fails(words, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok and tostring(message):find(words, 1, true), message)
end

local function same(a, b) return table.concat(a, ' ') == table.concat(b, ' ') end

local function gathered(parts)
    local all, text = {}, ''
    for part in parts do
        all[#all + 1] = part
        text = text .. (part.text or '')
    end
    return all, text
end

-- Adapters.
local model = rasp.load(arg[1])
local tokens = model:tokenize(prompt)
local session = model:open { context = 64, adapter_rank = 6 }
local function answer()
    session:reset()
    session:prefill(tokens)
    local found = {}
    for n = 1, 8 do found[n] = session:step() end
    return found
end
local file = assert(io.open(arg[2], 'rb'))
local bytes = file:read '*a'
file:close()
local descriptor = ffi.C.open(arg[2], 0)
local adapters = {
    model:adapter(arg[2]), model:adapter_bytes(bytes), model:adapter_fd(descriptor),
    model:adapter_fd(descriptor, 0, #bytes),
}
fails('length is -1', model.adapter_fd, model, descriptor, 0, -1)
fails('no descriptor', model.adapter_fd, model, arg[2])
fails('out of range', model.adapter_fd, model, descriptor, 0, #bytes + 1)
assert(ffi.C.close(descriptor) == 0)
local info = adapters[1]:info()
assert(info.name == 'lora' and info.rank == 3 and info.linears == 60 and info.bytes > 0 and info.bytes <= #bytes)
local alone = answer()
session:set_adapters { adapters[1] }
local adapted = answer()
assert(not same(alone, adapted))
for n = 2, 4 do
    session:set_adapters { adapters[n] }
    assert(same(answer(), adapted))
end
session:set_adapters({ adapters[1], adapters[2] }, { 0, 0 })
assert(same(answer(), alone))
session:set_adapters {}
assert(same(answer(), alone))
-- Bytes are kept for as long as a session has them set.
session:set_adapters { adapters[2] }
for _, adapter in ipairs(adapters) do adapter:close() end
adapters[1]:close()
fails('the adapter is closed', session.set_adapters, session, adapters)
fails('closed', adapters[1].info, adapters[1])
adapters = nil
collectgarbage()
local filler = {}
for n = 1, 8 do filler[n] = ffi.new('uint8_t[?]', #bytes) end
assert(same(answer(), adapted) and filler)
local one, small = model:adapter(arg[2]), model:open { context = 16 }
fails('adapter_rank 3', small.set_adapters, small, { one })
fails('1 adapters have 2 scales', session.set_adapters, session, { one }, { 1, 2 })
fails('finite', session.set_adapters, session, { one }, { 0 / 0 })
fails('not an adapter', model.adapter, model, arg[1])
fails('/nowhere', model.adapter, model, '/nowhere')
fails('NUL', model.adapter, model, 'a\0b')
fails('truncated', model.adapter_bytes, model, bytes:sub(1, -2))
small:close()
session:close()

-- Conversations: each token passes once.
session = model:open { context = 256 }
local messages = { question }
local turn = session:chat(messages, { limit = 64 })
assert(turn.kept == 0)
local parts, text = gathered(turn:parts())
assert(#parts > 4 and parts[1].kind == 'text' and text:find 'Paris', text)
local message = turn:message()
assert(message.role == 'assistant' and message.fields == '{"content":"' .. text .. '"}', message.fields)
local held = session:tokens()
assert(#held == session:stats().tokens)
messages[2], messages[3] = message, { role = 'user', content = 'And of Italy? Also: a\0b' }
turn = session:chat(messages, { limit = 32 })
assert(turn.kept == #held)
assert(select(2, gathered(turn:parts())):find 'Rome')
-- An answer that is left in the middle is what had come.
turn = session:chat(messages)
local first = turn:parts()()
assert(turn:message().fields == '{"content":"' .. first.text .. '"}')
assert(session:prefill_chat(messages) == #session:tokens())
session:close()
fails('closed', session.chat, session, messages)

session = model:open { context = 128 }
tokens = model:chat_tokenize { question }
assert(#session:tokens() == 0 and session:prefill_chat { question } == 0 and same(session:tokens(), tokens))
assert(session:prefill_chat { question } == #tokens)
local expected = session:step()
session:reset()
assert(session:prefill_chat_begin { question } == 0)
local calls = 1
while not session:prefill_within(0) do calls = calls + 1 end
assert(calls > 10 and session:step() == expected)
session:reset()
session:prefill_begin(tokens)
local token, pending = nil, -1
repeat token, pending = session:step_within(1e-5), pending + 1 until token
assert(token == expected and pending > 10)
fails('no budget', session.step_within, session, -1)
local many = {}
for n = 1, 20 do many[n] = question end
fails('context full', session.prefill_chat, session, many)
fails('tool is no option', session.chat, session, { question }, { tool = tools })
fails('content', session.chat, session, { { role = 'user', contents = 'x' } })
fails('wants tools', session.chat, session, { question }, { tool_choice = 'auto' })
fails('no format', session.chat, session, { question }, { tools = tools, tool_choice = 'auto' })
fails('no JSON object', session.chat, session, { question }, { tools = tools, variables = '[]' })
fails('contxt is no option', model.open, model, { contxt = 5 })
session:close()

-- Stop strings, states, vectors and logits.
session = model:open { context = 32 }
tokens = model:tokenize(prompt)
local function said(limit)
    local all = ''
    for piece in session:stream(limit) do all = all .. piece end
    return all
end
session:prefill(tokens)
local state = session:save()
session:set_stop { 'Paris', 'never' }
text = said()
assert(not text:find 'Paris' and session:stats().tokens < 32)
session:set_stop {}
session:restore(state)
local again = said(8)
assert(again:find 'Paris' and again:sub(1, #text) == text)
session:rewind(#tokens)
assert(said(8) == again)
-- A full context ends an answer.
assert(#said() > 0 and session:stats().tokens == 32)
fails('state', session.restore, session, state:sub(1, -2))
fails('NUL', session.set_stop, session, { 'a\0b' })
session:reset()
session:prefill(tokens)
local logits = session:logits()
token = session:step()
assert(#logits == model:info().vocab_size)
for _, logit in ipairs(logits) do assert(logit <= logits[token + 1]) end
session:set_logit_bias { [token] = -math.huge }
session:rewind(#tokens)
assert(session:step() ~= token)
session:set_logit_bias {}
session:reset()
local vector, sum = session:embed(tokens), 0
for _, x in ipairs(vector) do sum = sum + x * x end
assert(math.abs(sum - 1) < 1e-3 and #vector == model:info().hidden_size)
assert(session:embed(tokens, { pooling = 'last', normalise = false })[1] ~= vector[1])
fails('pooling', session.embed, session, tokens, { pooling = 'first' })
session:close()
model:close()

-- A call and its result.
model = rasp.load(arg[3])
session = model:open()
local hi = { role = 'user', content = 'Hi' }
for _, choice in ipairs { 'required', 'weather' } do
    messages = { hi }
    turn = session:chat(messages, { tools = tools, tool_choice = choice, limit = 100, variables = '{"x": 1}' })
    parts = gathered(turn:parts())
    local call = parts[1]
    assert(#parts == 1 and call.kind == 'call' and call.name == 'weather' and #call.id > 0)
    assert(call.arguments:find '^{"unit": ?"[CF]"}$', call.arguments)
    held = #session:tokens()
    messages[2] = turn:message()
    messages[3] = { role = 'tool', content = '20', fields = ('{"tool_call_id": "%s"}'):format(call.id) }
    assert(session:prefill_chat(messages) >= held - 1)
end
fails([[none called "a \"b\\"]], session.chat, session, { hi }, { tools = tools, tool_choice = [[a "b\]] })
-- The constraint was the turn's alone, also of one that was left in the middle.
local function free()
    session:reset()
    local _, all = gathered(session:chat({ hi }, { tools = tools, limit = 16 }):parts())
    return not all:find('<tool_call>', 1, true)
end
assert(free())
turn = session:chat({ hi }, { tools = tools, tool_choice = 'required', limit = 3 })
assert(turn:parts()())
turn:close()
assert(free())
session:close()

-- Replies.
local rest = 'Hm.\n</think>\n\nSo:\n<tool_call>\n{"name": "weather", "arguments": {"unit": "\\u0000C"}}\n</tool_call>'
for _, by_token in ipairs { false, true } do
    local reply = model:reply({ hi }, { variables = ('{"tools": %s, "think": true}'):format(tools) })
    if by_token then
        for _, number in ipairs(model:tokenize(rest)) do reply:push_token(number) end
    else
        for letter in rest:gmatch '.' do reply:push(letter) end
    end
    reply:finish()
    local reasoning, words, call = reply:next(), reply:next(), reply:next()
    assert(reasoning.kind == 'reasoning' and reasoning.text:find 'Hm%.' and words.text:find 'So:')
    assert(call.kind == 'call' and call.arguments:find('\\u0000C', 1, true) and not reply:next())
    assert(reply:message().fields:find 'reasoning_content')
    fails('finished', reply.push, reply, 'x')
    reply:close()
    fails('closed', reply.push, reply, 'x')
end
model:close()

dofile 'test_load.lua'
print 'ok'

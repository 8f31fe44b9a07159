-- Plans, forks, batches, callbacks, drafts and time on the real model, for test.lua.
local rasp = require 'rasp'
local prompt = 'The capital of France is'

local function fails(words, f, ...)
    local ok, message = pcall(f, ...)
    assert(not ok and tostring(message):find(words, 1, true), message)
end

local function same(a, b) return table.concat(a, ' ') == table.concat(b, ' ') end

local model = rasp.load(arg[1])
local tokens = model:tokenize(prompt)

local function prefilled(options)
    local session = model:open(options)
    session:prefill(tokens)
    return session
end

local function steps(session, count)
    local found = {}
    for n = 1, count do found[n] = session:step() end
    return found
end

local expected = steps(prefilled { context = 64 }, 8)

-- A plan is what opening takes.
for _, options in ipairs { { context = 64 }, { context = 64, drafts = 7, kv = 'f32' }, {} } do
    local plan = model:plan(options)
    assert(plan.size == model:open(options):stats().memory)
    assert(plan.size == plan.kv_cache + plan.activations + plan.sampling + plan.bookkeeping)
    assert(plan.context == (options.context or 4096) and plan.batch > 0 and plan.alignment > 0)
end
assert(model:plan().size == model:plan({}).size)
fails('contxt is no option', model.plan, model, { contxt = 64 })
fails('kv is f16', model.plan, model, { kv = 'f64' })

-- A fork goes on as the first would have.
local session = prefilled { context = 64 }
session:set_logits_callback(function() return 0 end)
local fork, small = session:fork(), session:fork { context = 32 }
fails('context full', fork.fork, fork, { context = 4 })
fails('contxt is no option', fork.fork, fork, { contxt = 32 })
session:close()
fails('closed', session.fork, session)
collectgarbage()
assert(fork:stats().context == 64 and small:stats().context == 32)
assert(same(steps(fork, 8), expected) and same(steps(small, 8), expected))

-- Tokens that make room.
session = prefilled { context = #tokens + 3 }
steps(session, 3)
fails('context full', session.step, session)
local held = session:tokens()
session:shift(1, 4)
local kept = { held[1] }
for n = 6, #held do kept[#kept + 1] = held[n] end
assert(same(session:tokens(), kept))
steps(session, 4)
fails('out of range', session.shift, session, 1, 100)
fails('keep is -1', session.shift, session, -1, 1)
fails('discard is nil', session.shift, session, 1)
fails('number of tokens is -1', session.rewind, session, -1)

-- Several in one step: each gets its token or its error.
local one, two, full = prefilled { context = 64 }, model:open { context = 64 }, prefilled { context = #tokens }
local other, alone = model:tokenize 'One, two, three,', model:open { context = 64 }
two:prefill(other)
alone:prefill(other)
local fresh = model:open { context = 64 }
for n = 1, 8 do
    local found = rasp.step_batch { one, full, two, fresh }
    assert(#found == 4 and found[1].token == expected[n] and found[1].ended == false and not found[1].error)
    assert(found[2].error:find '^context full: session 2: ' and not found[2].token)
    assert(found[3].token == alone:step())
    assert(found[4].error == 'invalid state')
end
assert(one:stats().tokens == #tokens + 8 and full:stats().tokens == #tokens)
for _, step in ipairs(rasp.step_batch { one, one }) do assert(step.error:find 'invalid argument') end
assert(rasp.step_batch({ one, one })[1].error:find('session 2 is session 1 once more', 1, true))
assert(#rasp.step_batch {} == 0)
fresh:close()
fails('session 2 is closed', rasp.step_batch, { one, fresh })

-- Logits before a token is sampled.
session = prefilled { context = 64 }
local seen, leaked
session:set_logits_callback(function(logits, all)
    seen, leaked = all, logits
    assert(#logits == model:info().vocab_size)
    for n = 0, #logits - 1 do assert(logits[n] <= logits[expected[1]]) end
    logits[expected[1]] = -math.huge
end)
collectgarbage()
local token = session:step()
assert(token ~= expected[1] and same(seen, tokens))
fails('none of the 0 tokens', function() return leaked[0] end)
session:set_logits_callback(function() return 42 end)
assert(session:step() == 42 and session:stats().tokens == #tokens + 2)
-- What it raises comes out of every way to step, and nothing is appended.
local mine = { 'mine' }
local function raising() error(mine) end
session:set_logits_callback(raising)
for _, step in ipairs { session.step, function() session:stream(2)() end, function() session:step_within(1) end,
    function() session:step_text_within(1) end } do
    local fine, value = pcall(step, session)
    assert(not fine and value == mine)
end
local found = rasp.step_batch { session, one }
assert(found[1].error == mine and found[2].token)
-- A loop that is compiled: C could not call back from what it calls.
local raised = 0
for _ = 1, 300 do
    local _, value = pcall(session.step, session)
    raised = raised + (value == mine and 1 or 0)
end
assert(raised == 300)
for wrong, words in pairs { [-1] = 'chose -1', [0.5] = 'chose 0.5', [1e9] = 'chose 1000000000', x = 'chose x' } do
    session:set_logits_callback(function() return wrong end)
    fails(words .. ', which is no token', session.step, session)
end
session:set_logits_callback(function(logits) logits[#logits] = 0 end)
fails('none of the', session.step, session)
session:set_logits_callback(function(logits) logits[0] = 0 / 0 end)
fails('number', session.step, session)
session:set_logits_callback(function() return session:step() end)
fails('invalid state', session.step, session)
session:set_logits_callback(function() session:close() end)
fails('a call of it is under way', session.step, session)
session:set_logits_callback(coroutine.yield)
fails('yield', coroutine.wrap(session.step), session)
-- One that steps another session, which has one that raises.
local inner = prefilled { context = 64 }
inner:set_logits_callback(raising)
session:set_logits_callback(function() return inner:step() end)
local fine, value = pcall(session.step, session)
assert(not fine and value == mine)
assert(session:stats().tokens == #tokens + 2)
session:set_logits_callback(nil)
session:rewind(#tokens)
assert(same(steps(session, 8), expected))
fails('closed', fresh.set_logits_callback, fresh, raising)
-- A function that knows its session does not keep it.
local gone = setmetatable({}, { __mode = 'v' })
do
    local known = prefilled { context = 16 }
    known:set_logits_callback(function() return #known:tokens() end)
    gone[1], known = known, nil
end
collectgarbage()
collectgarbage()
assert(not gone[1])

-- Drafts change no token.
local numbers = model:tokenize '1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2, 3, 4, 5, 1, 2,'
local answers = {}
for _, drafts in ipairs { 0, 7 } do
    session = model:open { context = 128, drafts = drafts }
    session:prefill(numbers)
    answers[#answers + 1] = steps(session, 24)
    assert((session:stats().accepted_tokens > 0) == (drafts > 0))
    fails('out of range', session.set_drafts, session, drafts + 1)
end
assert(same(answers[1], answers[2]))
-- Of a text that the context does not have.
local function accepted(most, options)
    session:reset()
    session:prefill(tokens)
    session:set_drafts(most, options)
    session:clear_stats()
    assert(same(steps(session, 8), expected))
    return session:stats().accepted_tokens
end
local text = {}
for _, list in ipairs { tokens, expected } do for _, id in ipairs(list) do text[#text + 1] = id end end
assert(accepted(7, { text = text, own = true }) > accepted(7))
assert(accepted(0, { text = text }) == 0 and accepted(7, { text = text, lookup = false, forced = false }) == 0)
fails('number of drafts is -1', session.set_drafts, session, -1)
fails('txt is no option', session.set_drafts, session, 7, { txt = text })
fails('out of range', session.set_drafts, session, 7, { text = { 1e6 } })

-- Text in so much time.
session = prefilled { context = #tokens + 8 }
local whole = ''
for piece in session:stream(8) do whole = whole .. piece end
local function within(seconds)
    local said, waits = '', 0
    while true do
        local piece, ended = session:step_text_within(seconds)
        if not piece then waits = waits + 1 end
        said = said .. (piece or '')
        if ended then return said, ended, waits end
    end
end
session:rewind(#tokens)
session:step_text_within(1)
-- The next token has to pass, which no budget at all does not get done.
assert(session:step_text_within(0) == nil and session:stats().tokens <= #tokens + 2)
session:reset()
session:prefill_begin(tokens)
local said, ended, waits = within(1e-4)
assert(said == whole and ended == 'context' and waits > 8)
session:set_stop { 'Paris', 'never' }
session:reset()
session:prefill(tokens)
said, ended = within(1)
assert(ended == 'stop' and not said:find 'Paris' and whole:sub(1, #said) == said)
-- What could still become a stop string is held back.
session:set_stop { whole .. '!' }
session:reset()
session:prefill(tokens)
assert(session:step_text_within(1) == '')
local first = session:finish_text()
assert(#first > 0 and whole:sub(1, #first) == first and session:finish_text() == '')
fails('nil seconds are no budget', session.step_text_within, session)
fails('mark is no option', session.step_text_within, session, 1, { mark = true })

-- A deadline that no token keeps, and one that all do.
session = prefilled { context = 64 }
session:set_deadline(1e-10, 0, 0.5)
steps(session, 4)
assert(session:stats().late_tokens > 0 and session:stats().sparsity == 0.5)
session:clear_stats()
session:set_deadline(3600, 0, 0.5)
steps(session, 4)
assert(session:stats().late_tokens == 0)
session:set_deadline(nil)
fails('a deadline wants', session.set_deadline, session, 1)
fails('-1 seconds are no deadline', session.set_deadline, session, -1, 0, 0)
fails('sparsity', session.set_deadline, session, 1, 0.5, 0.2)
model:close()

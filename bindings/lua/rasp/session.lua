-- Sessions.
local ffi = require 'ffi'
local native = require 'rasp.native'
local callback = require 'rasp.callback'
local chats = require 'rasp.chat'
local lib, call, made, grown, ids, list, known = native.lib, native.call, native.made, native.grown, native.ids,
    native.list, native.known

local Session = setmetatable({}, { __index = require 'rasp.settings' })
Session.__index = Session

-- Options as the library takes them.
local function raw_options(options)
    options = known(options, 'context', 'threads', 'batch', 'kv', 'windows_alone', 'drafts', 'adapter_rank')
    return made('session_options', {
        context = options.context, threads = options.threads, batch = options.batch,
        kv_type = assert(native.KV[options.kv or 'f16'], 'kv is f16, f32 or i8'),
        windows_alone = options.windows_alone, drafts = options.drafts, adapter_rank = options.adapter_rank,
    })
end

-- What a call opens: a session over a model, with adapters set, whose bytes these are.
local function opened(model, adapters, name, from, options)
    local out = ffi.new 'rasp_session *[1]'
    call(name, from, options, out)
    -- A reference of its own, by which answers are told apart: the caller may close the model.
    lib.rasp_model_retain(model.handle)
    local own = ffi.cast('rasp_model *', model.handle)
    local kept = { data = model.data, adapters = adapters }
    return setmetatable({
        handle = native.owned(out[0], 'rasp_session_close', kept), kept = kept,
        model = { handle = native.owned(own, 'rasp_free', model.data), data = model.data },
    }, Session)
end

-- options: context, threads, batch, kv ('f16', 'f32' or 'i8'), windows_alone, drafts (7 at most: tokens are guessed by
-- what stood after an earlier match in the context; the same tokens, sooner where an answer quotes or repeats),
-- adapter_rank (room for adapters: the sum of the ranks of those that are set at a time)
local function open(model, options)
    local struct, room = raw_options(options)
    return opened(model, nil, 'rasp_session_open', model.handle, struct), room and nil
end

-- To the byte, what a session that is opened with these options will take.
local function plan(model, options)
    local struct, room = raw_options(options)
    local found, memory = made 'memory_plan'
    call('rasp_session_plan', model.handle, struct, found)
    return native.fields(found, { 'size', 'kv_cache', 'activations', 'sampling', 'bookkeeping', 'alignment', 'context',
        'batch' }), room and memory and nil
end

-- A second session that goes on as this one would, but for a logits callback; options: as for Model:open, nil for those
-- of this one.
function Session:fork(options)
    local struct, room
    if options then struct, room = raw_options(options) end
    return opened(self.model, self.kept.adapters, 'rasp_session_fork', self.handle, struct), room and nil
end

function Session:close()
    native.close(self, 'rasp_session_close')
    native.close(self.model, 'rasp_free')
    self.kept, self.model.data, self.hook = {}, nil, nil
end

function Session:prefill(tokens)
    local numbers, count = ids(tokens)
    call('rasp_prefill', self.handle, numbers, count)
end

-- Appends prompt tokens, which pass with the calls after this: prefill_within, step_within or step.
function Session:prefill_begin(tokens)
    local numbers, count = ids(tokens)
    call('rasp_prefill_begin', self.handle, numbers, count)
end

-- Goes on with such a prompt for about so many seconds: whether all of it has passed.
function Session:prefill_within(seconds)
    return call('rasp_prefill_within', self.handle, native.nanoseconds(seconds, 'budget')) ~= native.PENDING
end

-- As much of step as so much time allows: nil if the token is not there yet, and the next call goes on.
function Session:step_within(seconds)
    local token = ffi.new 'uint32_t[1]'
    local status = call('rasp_step_within', self.handle, native.nanoseconds(seconds, 'budget'), token)
    if status == native.PENDING then return nil end
    return token[0], status == native.END
end

local function conversation(session, name, messages, options)
    local raw, struct, room = chats.chat(messages, options)
    local kept = ffi.new 'size_t[1]'
    call(name, session.handle, raw, #messages, struct, kept)
    return tonumber(kept[0]), room and nil
end

-- Makes the session hold a conversation, all of it: what it holds of its beginning stays, and only the rest passes. How
-- many tokens stayed. Messages and options are as for Model:chat_tokenize; give answers back as they came.
function Session:prefill_chat(messages, options)
    return (conversation(self, 'rasp_chat_prefill', messages, options))
end

-- The same without computing anything yet, as prefill_begin.
function Session:prefill_chat_begin(messages, options)
    return (conversation(self, 'rasp_chat_prefill_begin', messages, options))
end

-- The tokens that the session holds, one that was sampled last included.
function Session:tokens() return list(grown('uint32_t[?]', 1024, 'rasp_session_tokens', self.handle)) end

-- The next token, and whether it ends generation.
function Session:step()
    local token = ffi.new 'uint32_t[1]'
    local status = call('rasp_step', self.handle, token)
    return token[0], status == native.END
end

function Session:decode(token) call('rasp_decode', self.handle, token) end

local function text_flags(options) return known(options, 'marks').marks and native.SHOW_MARKS or 0 end

-- As much of a token of an answer as so much time allows: its text, often none, and what has ended the answer ('token',
-- 'stop' or 'context') if it has; nil if the token is not there yet, and the next call goes on. options: as for stream
function Session:step_text_within(seconds, options)
    local flags, budget = text_flags(options), native.nanoseconds(seconds, 'budget')
    local text, length, ended = ffi.new('char[?]', native.STEP_TEXT_SIZE), ffi.new 'size_t[1]', ffi.new 'uint32_t[1]'
    local status = call('rasp_step_text_within', self.handle, budget, flags, text, native.STEP_TEXT_SIZE, length, ended)
    if status == native.PENDING then return nil end
    return ffi.string(text, length[0]), native.ENDED[ended[0]]
end

-- What is held back of an answer that the caller ends, since it could still have become a stop string.
function Session:finish_text()
    local text, length = ffi.new('char[?]', native.STEP_TEXT_SIZE), ffi.new 'size_t[1]'
    call('rasp_finish_text', self.handle, text, native.STEP_TEXT_SIZE, length)
    return ffi.string(text, length[0])
end

-- An iterator over the text of the next tokens, in whole characters: to the end of the answer (a stop string or a full
-- context is one too), or for at most `limit` tokens. options: marks (special tokens that mark calls and reasoning are
-- text, for a Reply)
function Session:stream(limit, options)
    local flags = text_flags(options)
    local text, length = ffi.new('char[?]', native.STEP_TEXT_SIZE), ffi.new 'size_t[1]'
    local count, over = 0, false
    return function()
        while not over do
            if count == limit then
                over = true
                -- What could still have become a stop string.
                call('rasp_finish_text', self.handle, text, native.STEP_TEXT_SIZE, length)
            else
                count = count + 1
                local status = call('rasp_step_text', self.handle, flags, text, native.STEP_TEXT_SIZE, length, nil)
                over = status == native.END
            end
            if length[0] > 0 then return ffi.string(text, length[0]) end
        end
    end
end

-- As stream, with the answer told apart: parts as Reply:next gives them.
function Session:answer(reply, limit)
    local pieces, finished = self:stream(limit, { marks = true }), false
    return function()
        while true do
            local part = reply:next()
            if part or finished then return part end
            local text = pieces()
            if text then
                reply:push(text)
            else
                finished = true
                reply:finish()
            end
        end
    end
end

local Turn = {}
Turn.__index = Turn

-- The assistant's turn after these messages. Give all of them each turn: each token passes once.
--
--     local turn = session:chat(messages)
--     for part in turn:parts() do io.write(part.text or '') end
--     messages[#messages + 1] = turn:message()
--
-- options: limit (tokens at most), tools (a list in JSON, as OpenAI has it), tool_choice ('auto', 'required' or the
-- name of a function: calls keep to the schemas of the tools, in this turn, in the place of a constraint of the
-- session's), variables (JSON with the template's besides tools), time
function Session:chat(messages, options)
    options = known(options, 'limit', 'tools', 'tool_choice', 'variables', 'time')
    if options.tool_choice and not options.tools then error('a tool_choice wants tools', 2) end
    local variables = options.tools and chats.member(options.variables, 'tools', options.tools) or options.variables
    local model = self.handle and self.model.handle
    local constraint
    if options.tool_choice then
        local source = chats.member(variables, 'tool_choice', chats.choice(options.tool_choice))
        constraint = native.constraint(model, 'tools', source)
    end
    local given = { variables = variables, time = options.time }
    local reply = chats.reply(model, messages, given)
    local kept = self:prefill_chat(messages, given)
    return setmetatable({
        kept = kept, session = self, reply = reply, constraint = constraint, limit = options.limit,
    }, Turn)
end

-- Ends a turn that was left in the middle: its tools hold the next answer no more.
function Turn:close()
    if self.constraint then
        self.constraint:close()
        self.constraint = nil
        if self.held and self.session.handle then self.session:set_constraint(nil) end
    end
end

-- Its parts as they come, as Session:answer gives them.
function Turn:parts()
    self.answer = self.answer or self.session:answer(self.reply, self.limit)
    return function()
        if self.constraint and not self.held then
            self.held = true
            self.session:set_constraint(self.constraint)
        end
        local fine, part = pcall(self.answer)
        if not fine or not part then self:close() end
        if not fine then error(part, 0) end
        return part
    end
end

-- What it has said, to be put after the messages that it answers; in the middle what has come of it.
function Turn:message() return self.reply:message() end

-- Keeps the first tokens and forgets those after them.
function Session:rewind(tokens)
    call('rasp_session_rewind', self.handle, native.natural(tokens, 'the number of tokens'))
end

-- Forgets so many tokens after those to keep, which makes room in a full context.
function Session:shift(keep, discard)
    call('rasp_session_shift', self.handle, native.natural(keep, 'keep'), native.natural(discard, 'discard'))
end

-- What the session holds, a string, for restore into one of the same model.
function Session:save() return ffi.string(grown('char[?]', 0, 'rasp_session_save', self.handle)) end
function Session:restore(state) call('rasp_session_restore', self.handle, state, #state) end

-- One vector of the tokens, which the session must hold none of. options: pooling ('mean' or 'last'), normalise (true)
function Session:embed(tokens, options)
    options = known(options, 'pooling', 'normalise')
    local pooling = assert(native.POOLING[options.pooling or 'mean'], 'pooling is mean or last')
    local numbers, count = ids(tokens)
    return list(grown('float[?]', 0, 'rasp_embed', self.handle, numbers, count, pooling,
        options.normalise == false and 0 or 1))
end

-- A copy of the logits after the last token that passed: that of token n at n + 1.
function Session:logits()
    local out, count = ffi.new 'const float *[1]', ffi.new 'size_t[1]'
    call('rasp_logits', self.handle, out, count)
    return list(out[0], tonumber(count[0]))
end

-- The natural logarithm of a token's probability after the last one that passed through the model, and a list of the
-- `top` likeliest, each { token, log_prob }. After a step that is the token that came. By the model's own logits.
function Session:log_probs(token, top)
    top = top or 0
    local own, likeliest, list = ffi.new 'float[1]', ffi.new('rasp_log_prob[?]', math.max(top, 1)), {}
    call('rasp_log_probs', self.handle, token, own, likeliest, top)
    for n = 1, top do list[n] = { likeliest[n - 1].token, likeliest[n - 1].log_prob } end
    return own[0], list
end

function Session:reset() call('rasp_session_reset', self.handle) end
function Session:clear_stats() call('rasp_session_clear_stats', self.handle) end
function Session:cancel()
    if self.handle then lib.rasp_cancel(self.handle) end
end

function Session:stats()
    local struct, room = made 'stats'
    call('rasp_session_get_stats', self.handle, struct)
    return native.fields(struct, { 'tokens', 'context', 'sparsity', 'memory', 'decoded_tokens', 'linear_bytes_read',
        'kept', 'head_bytes_read', 'units', 'late_tokens', 'drafted_tokens', 'accepted_tokens', 'shared_bytes' }),
        room and nil
end

-- A step of all sessions, over one model, in which the weights are read once for all of them. What became of each:
-- { token = , ended = }, or { error = } with what its own step would have raised, which does not disturb the others.
local function step_batch(sessions)
    local count = #sessions
    local handles = ffi.new('rasp_session *[?]', math.max(count, 1))
    for n, session in ipairs(sessions) do
        handles[n - 1] = session.handle or error(('session %d is closed'):format(n), 2)
    end
    local tokens, statuses = ffi.new('uint32_t[?]', math.max(count, 1)), ffi.new('int32_t[?]', math.max(count, 1))
    local _, words = native.invoke('rasp_step_batch', handles, count, tokens, statuses)
    -- The library counts from 0.
    words = words:gsub('session (%d+)', function(index) return 'session ' .. index + 1 end)
    local steps = {}
    for n, session in ipairs(sessions) do
        local status = statuses[n - 1]
        if status >= 0 then
            steps[n] = { token = tokens[n - 1], ended = status == native.END }
        else
            local raised = callback.raised(session.handle)
            steps[n] = { error = raised and raised.value or native.described(status, words) }
            -- Words come for the first that failed; the others have a name.
            words = ''
        end
    end
    return steps
end

return { open = open, plan = plan, step_batch = step_batch }

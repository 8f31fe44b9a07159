-- Sessions.
local ffi = require 'ffi'
local native = require 'rasp.native'
local chats = require 'rasp.chat'
local lib, call, made, grown, ids, list, known = native.lib, native.call, native.made, native.grown, native.ids,
    native.list, native.known

local Session = {}
Session.__index = Session

-- options: context, threads, batch, kv ('f16', 'f32' or 'i8'), windows_alone, drafts (7 at most: tokens are guessed by
-- what stood after an earlier match in the context; the same tokens, sooner where an answer quotes or repeats),
-- adapter_rank (room for adapters: the sum of the ranks of those that are set at a time)
local function open(model, options)
    options = known(options, 'context', 'threads', 'batch', 'kv', 'windows_alone', 'drafts', 'adapter_rank')
    local struct, room = made('session_options', {
        context = options.context, threads = options.threads, batch = options.batch,
        kv_type = assert(native.KV[options.kv or 'f16'], 'kv is f16, f32 or i8'),
        windows_alone = options.windows_alone, drafts = options.drafts, adapter_rank = options.adapter_rank,
    })
    local out = ffi.new 'rasp_session *[1]'
    call('rasp_session_open', model, struct, out)
    -- A reference of its own, by which answers are told apart: the caller may close the model.
    lib.rasp_model_retain(model)
    return setmetatable({
        handle = ffi.gc(out[0], lib.rasp_session_close),
        model = { handle = ffi.gc(ffi.cast('rasp_model *', model), lib.rasp_free) },
    }, Session), room and nil
end

function Session:close()
    native.close(self, 'rasp_session_close')
    native.close(self.model, 'rasp_free')
    self.adapters = nil
end

function Session:prefill(tokens)
    local numbers, count = ids(tokens)
    call('rasp_prefill', self.handle, numbers, count)
end

local function nanoseconds(seconds)
    if not (seconds >= 0) then error(tostring(seconds) .. ' seconds are no budget', 3) end
    return ffi.cast('uint64_t', math.floor(math.min(seconds, 1e9) * 1e9))
end

-- Appends prompt tokens, which pass with the calls after this: prefill_within, step_within or step.
function Session:prefill_begin(tokens)
    local numbers, count = ids(tokens)
    call('rasp_prefill_begin', self.handle, numbers, count)
end

-- Goes on with such a prompt for about so many seconds: whether all of it has passed.
function Session:prefill_within(seconds)
    return call('rasp_prefill_within', self.handle, nanoseconds(seconds)) ~= native.PENDING
end

-- As much of step as so much time allows: nil if the token is not there yet, and the next call goes on.
function Session:step_within(seconds)
    local token = ffi.new 'uint32_t[1]'
    local status = call('rasp_step_within', self.handle, nanoseconds(seconds), token)
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

-- An iterator over the text of the next tokens, in whole characters: to the end of the answer (a stop string or a full
-- context is one too), or for at most `limit` tokens. options: marks (special tokens that mark calls and reasoning are
-- text, for a Reply)
function Session:stream(limit, options)
    local flags = known(options, 'marks').marks and native.SHOW_MARKS or 0
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

-- Has tokens pass with these adapters from now on, each times its scale (1 unless said), in the place of those before;
-- none: the model alone. What has passed stays as it is.
function Session:set_adapters(adapters, scales)
    local count = #adapters
    if scales and #scales ~= count then error(('%d adapters have %d scales'):format(count, #scales), 2) end
    local handles, data = ffi.new('const rasp_adapter *[?]', math.max(count, 1)), {}
    for i, adapter in ipairs(adapters) do
        handles[i - 1] = adapter.handle or error('the adapter is closed', 2)
        data[i] = adapter.data
    end
    local numbers = scales and ffi.new('float[?]', math.max(count, 1), scales)
    call('rasp_session_set_adapters', self.handle, handles, numbers, count)
    self.adapters = data
end

-- What ends an answer of stream, besides the model; it is not part of the text.
function Session:set_stop(strings)
    local raw = ffi.new('const char *[?]', math.max(#strings, 1))
    for i, text in ipairs(strings) do raw[i - 1] = native.terminated(text) end
    call('rasp_session_set_stop', self.handle, raw, #strings)
end

-- Keeps the first tokens and forgets those after them.
function Session:rewind(tokens) call('rasp_session_rewind', self.handle, tokens) end

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

-- What is added to the logits of tokens from now on, { [token] = bias }; -math.huge forbids one, {} clears all.
function Session:set_logit_bias(biases)
    local raw, count = {}, 0
    for token, bias in pairs(biases) do
        count = count + 1
        raw[count] = { token, bias }
    end
    call('rasp_session_set_logit_bias', self.handle, ffi.new('rasp_logit_bias[?]', math.max(count, 1), raw), count)
end

function Session:set_sparsity(sparsity) call('rasp_session_set_sparsity', self.handle, sparsity) end

local STAGES = { top_n_sigma = 1, top_k = 2, temperature = 3, typical_p = 4, top_p = 5, min_p = 6, xtc = 7 }

-- sampling: temperature, top_k, top_p, min_p, seed, repetition_penalty, presence_penalty and frequency_penalty with
-- repetition_window, top_n_sigma, typical_p, xtc_probability and xtc_threshold, dry_multiplier, dry_base,
-- dry_allowed_length and dry_window, mirostat_tau and mirostat_eta; order: names of the stages that come first, of
-- top_n_sigma, top_k, temperature, typical_p, top_p, min_p and xtc
function Session:set_sampling(sampling)
    local fields, order = {}, {}
    for field, value in pairs(sampling or {}) do fields[field] = value end
    for at, stage in ipairs(fields.order or {}) do
        order[at] = STAGES[stage] or error(tostring(stage) .. ' is no stage of sampling', 2)
    end
    fields.order = order
    if #order > 8 then error('the order has more stages than there are', 2) end
    local struct, room = made('sampling', fields)
    call('rasp_session_set_sampling', self.handle, struct)
    return room and self
end

-- Has every answer from now on obey a constraint of this session's model; nil ends that. An answer begins with this
-- call, and anew with each prefill and reset.
function Session:set_constraint(constraint)
    local handle
    if constraint then handle = assert(constraint.handle, 'the constraint is closed') end
    call('rasp_session_set_constraint', self.handle, handle)
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
    local stats = { room = room }
    for _, field in ipairs { 'tokens', 'context', 'sparsity', 'memory', 'decoded_tokens', 'linear_bytes_read', 'kept',
        'head_bytes_read', 'drafted_tokens', 'accepted_tokens' } do
        stats[field] = tonumber(struct[field])
    end
    stats.room = nil
    return stats
end

return { open = open }

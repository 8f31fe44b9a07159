-- How a session goes on: methods of sessions.
local ffi = require 'ffi'
local native = require 'rasp.native'
local callback = require 'rasp.callback'
local call, made, known = native.call, native.made, native.known

local Settings = {}

-- What is added to the logits of tokens from now on, { [token] = bias }; -math.huge forbids one, {} clears all.
function Settings:set_logit_bias(biases)
    local raw, count = {}, 0
    for token, bias in pairs(biases) do
        count = count + 1
        raw[count] = { token, bias }
    end
    call('rasp_session_set_logit_bias', self.handle, ffi.new('rasp_logit_bias[?]', math.max(count, 1), raw), count)
end

function Settings:set_sparsity(sparsity) call('rasp_session_set_sparsity', self.handle, sparsity) end

local STAGES = { top_n_sigma = 1, top_k = 2, temperature = 3, typical_p = 4, top_p = 5, min_p = 6, xtc = 7 }

-- sampling: temperature, top_k, top_p, min_p, seed, repetition_penalty, presence_penalty and frequency_penalty with
-- repetition_window, top_n_sigma, typical_p, xtc_probability and xtc_threshold, dry_multiplier, dry_base,
-- dry_allowed_length and dry_window, mirostat_tau and mirostat_eta; order: names of the stages that come first, of
-- top_n_sigma, top_k, temperature, typical_p, top_p, min_p and xtc
function Settings:set_sampling(sampling)
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

-- Has a function look at the logits before every sampled token, in the place of the one before; nil ends that. It is
-- called with the logits, logits[token], which it may change, and with a list of the tokens so far. It returns the
-- token that it chose, or nil to have one sampled from the logits as they are then; once it has returned they are gone.
-- It must neither use the session nor yield. What it raises is raised by the step, which has appended nothing then.
function Settings:set_logits_callback(look)
    call('rasp_session_set_logits_callback', self.handle, look and callback.entry(), self.handle)
    self.hook = callback.hook(self.handle, look)
end

-- Has every answer from now on obey a constraint of this session's model; nil ends that. An answer begins with this
-- call, and anew with each prefill and reset.
function Settings:set_constraint(constraint)
    local handle
    if constraint then handle = assert(constraint.handle, 'the constraint is closed') end
    call('rasp_session_set_constraint', self.handle, handle)
end

-- Has tokens pass with these adapters from now on, each times its scale (1 unless said), in the place of those before;
-- none: the model alone. What has passed stays as it is.
function Settings:set_adapters(adapters, scales)
    local count = #adapters
    if scales and #scales ~= count then error(('%d adapters have %d scales'):format(count, #scales), 2) end
    local handles, data = ffi.new('const rasp_adapter *[?]', math.max(count, 1)), {}
    for i, adapter in ipairs(adapters) do
        handles[i - 1] = adapter.handle or error('the adapter is closed', 2)
        data[i] = adapter.data
    end
    local numbers = scales and ffi.new('float[?]', math.max(count, 1), scales)
    call('rasp_session_set_adapters', self.handle, handles, numbers, count)
    self.kept.adapters = data
end

-- What ends an answer of stream, besides the model; it is not part of the text.
function Settings:set_stop(strings)
    local raw = ffi.new('const char *[?]', math.max(#strings, 1))
    for i, text in ipairs(strings) do raw[i - 1] = native.terminated(text) end
    call('rasp_session_set_stop', self.handle, raw, #strings)
end

-- At most so many guesses at the next tokens in a pass, of those that the session was opened with room for. options:
-- lookup (true: what stood after an earlier match of the last tokens, in the context and in text), forced (true: what
-- the constraint leaves no choice of), own (false: what the model says at a sparser level, for dense sessions in 16
-- bits), text (a list of tokens that answers may quote)
function Settings:set_drafts(most, options)
    options = known(options, 'lookup', 'forced', 'own', 'text')
    local kinds = (options.lookup == false and 0 or native.LOOKUP) + (options.forced == false and 0 or native.FORCED)
        + (options.own and native.SELF or 0)
    local text, count = native.ids(options.text or {})
    call('rasp_session_set_drafts', self.handle, kinds, native.natural(most, 'the number of drafts'), text, count)
end

-- Has every token of step and step_within take no more than so many seconds of computing, by a sparsity between these;
-- nil ends that. It is kept by measuring: stats().late_tokens counts those that were late.
function Settings:set_deadline(seconds, min_sparsity, max_sparsity)
    if seconds and not (min_sparsity and max_sparsity) then
        error('a deadline wants a min_sparsity and a max_sparsity', 2)
    end
    local most = native.nanoseconds(seconds or 0, 'deadline')
    call('rasp_session_set_deadline', self.handle, most, min_sparsity or 0, max_sparsity or 0)
end

return Settings

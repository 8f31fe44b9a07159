-- Functions of the host's that look at logits before a token is sampled, which C calls.
local ffi = require 'ffi'

-- Hooks by the addresses of their sessions, which hold them: a function that knows its session does not keep it.
local hooks = setmetatable({}, { __mode = 'v' })

local function address(handle) return tonumber(ffi.cast('uintptr_t', handle)) end

local function checked(logits, token)
    if type(token) == 'number' and token >= 0 and token < logits.count then return token end
    error(('%s is none of the %d tokens that have logits'):format(tostring(token), logits.count), 3)
end

-- Logits as a function sees them: each under the number of its token. They are the library's: none are left afterwards.
local Logits = ffi.metatype('struct { float *first; int32_t count; }', {
    __index = function(logits, token) return logits.first[checked(logits, token)] end,
    __newindex = function(logits, token, logit) logits.first[checked(logits, token)] = logit end,
    __len = function(logits) return logits.count end,
})

-- What a function returned, as C takes it.
local function choice(look, logits, tokens, count)
    local numbers = {}
    for n = 1, count do numbers[n] = tokens[n - 1] end
    local chosen = look(logits, numbers)
    if chosen == nil then return -1 end
    -- C would take some numbers for a wish to sample.
    if type(chosen) == 'number' and chosen % 1 == 0 and chosen >= 0 and chosen < #logits then return chosen end
    error(('the callback chose %s, which is no token'):format(tostring(chosen)), 0)
end

-- What C calls. An error must not unwind through C: it waits in the hook, and the step, given no token, fails.
local function asked(context, first, vocab_size, tokens, count)
    local own, logits = hooks[address(context)], Logits(first, tonumber(vocab_size))
    local fine, result = pcall(choice, own.look, logits, tokens, tonumber(count))
    logits.count = 0
    if fine then return result end
    own.raised = { value = result }
    return -2 ^ 31
end

local pointer

-- What C calls, made when it is needed: some systems let no code be made at run time.
local function entry()
    pointer = pointer or ffi.cast('rasp_logits_callback', asked)
    return pointer
end

-- A session's hook, which it is to hold: a function, or nil for none.
local function hook(handle, look)
    local made = look and { look = look }
    hooks[address(handle)] = made
    return made
end

-- What the function of a session has raised, { value = }, once; nil if it has not.
local function raised(handle)
    local own = type(handle) == 'cdata' and hooks[address(handle)]
    if not own then return nil end
    local found = own.raised
    own.raised = nil
    return found
end

return { entry = entry, hook = hook, raised = raised }

-- Messages on their way to the library, and answers told apart.
local ffi = require 'ffi'
local native = require 'rasp.native'
local lib, call, made, grown, known = native.lib, native.call, native.made, native.grown, native.known

local Reply = {}
Reply.__index = Reply

-- Messages and options as the library takes them. What they point to is the caller's.
local function chat(messages, options)
    known(options, 'add_generation_prompt', 'variables', 'time')
    options = options or {}
    local list = ffi.new('rasp_chat_message[?]', math.max(#messages, 1))
    for i, message in ipairs(messages) do
        known(message, 'role', 'content', 'fields')
        local place = list[i - 1]
        place.role, place.role_length = message.role, #message.role
        if message.content then place.content, place.content_length = message.content, #message.content end
        if message.fields then place.fields, place.fields_length = message.fields, #message.fields end
    end
    local struct, room = made('chat_options', {
        add_generation_prompt = options.add_generation_prompt, variables = options.variables,
        variables_length = options.variables and #options.variables, time = options.time,
    })
    return list, struct, room
end

-- What tells an answer to these messages apart; model: the handle of one.
local function reply(model, messages, options)
    local list, struct, room = chat(messages, options)
    local out = ffi.new 'rasp_reply *[1]'
    call('rasp_reply_new', model, list, #messages, struct, out)
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_reply_free) }, Reply), room and nil
end

-- Takes more of the answer: what Session:stream gives with marks.
function Reply:push(text) call('rasp_reply_push', self.handle, text, #text) end

-- Takes a token of the answer instead.
function Reply:push_token(token) call('rasp_reply_push_token', self.handle, token) end

-- Ends the answer: what was held back is known now.
function Reply:finish() call('rasp_reply_finish', self.handle) end

-- The next part of what is known of the answer, nil until there is more: { kind = 'text' or 'reasoning', text = } or
-- { kind = 'call', name = , arguments = (JSON), id = (what a message of the result refers to: tool_call_id) }.
function Reply:next()
    local part = ffi.new 'rasp_reply_part'
    if call('rasp_reply_next', self.handle, part) ~= 0 then return nil end
    local kind, text = native.PARTS[part.kind], ffi.string(part.text, part.text_length)
    if kind ~= 'call' then return { kind = kind, text = text } end
    return {
        kind = kind, arguments = text, name = ffi.string(part.name, part.name_length),
        id = ffi.string(part.id, part.id_length),
    }
end

-- What is known of the answer, as a message to put after those that it answers.
function Reply:message()
    local buffer, length = grown('char[?]', 4096, 'rasp_reply_message', self.handle)
    return { role = 'assistant', fields = ffi.string(buffer, length) }
end

function Reply:close() native.close(self, 'rasp_reply_free') end

-- A JSON object, or nil for none, with a member more.
local function member(json, name, value)
    local rest = (json or '{}'):match '^%s*{%s*(.*)$'
    if not rest then error('the variables are no JSON object', 3) end
    return ('{"%s": %s%s%s'):format(name, value, rest:sub(1, 1) == '}' and '' or ', ', rest)
end

-- A tool_choice as the library takes it: 'auto', 'required' or the name of a function.
local function choice(text)
    if text == 'auto' or text == 'required' then return '"' .. text .. '"' end
    local name = text:gsub('[%c"\\]', function(letter) return ('\\u%04x'):format(letter:byte()) end)
    return ('{"type": "function", "function": {"name": "%s"}}'):format(name)
end

return { chat = chat, reply = reply, member = member, choice = choice }

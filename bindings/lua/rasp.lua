-- rasp for LuaJIT: language models inside your program, over librasp. What each function does is said in rasp.h.
--
--     local rasp = require 'rasp'
--     local model = rasp.load('smollm2.rasp')
--     local session = model:open { threads = 2 }
--     session:prefill(model:tokenize('The capital of France is'))
--     for piece in session:stream(32) do io.write(piece) end
--
-- What fails raises an error with what the library says. Handles are freed when they are collected, or by close().
-- The other files are in the folder rasp beside this one.
local ffi = require 'ffi'
local native = require 'rasp.native'
local chats = require 'rasp.chat'
local sessions = require 'rasp.session'
local lib, call, made, grown, ids, list, known = native.lib, native.call, native.made, native.grown, native.ids,
    native.list, native.known

local Model, Constraint, Adapter = {}, {}, {}
Model.__index, Constraint.__index, Adapter.__index = Model, Constraint, Adapter

local rasp = {}

function rasp.version() return ffi.string(lib.rasp_version()) end
function rasp.abi_version() return lib.rasp_abi_version() end

-- options: verify, lock, large_pages
function rasp.load(path, options)
    local out = ffi.new 'rasp_model *[1]'
    local struct, room = made('load_options', known(options, 'verify', 'lock', 'large_pages'))
    call('rasp_load', path, struct, out)
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_free), room = room }, Model)
end

function Model:close()
    native.close(self, 'rasp_free')
end

function Model:info()
    local struct, room = made 'model_info'
    call('rasp_model_get_info', self.handle, struct)
    local info = { architecture = ffi.string(struct.architecture), name = ffi.string(struct.name), room = room }
    for _, field in ipairs { 'vocab_size', 'hidden_size', 'intermediate_size', 'num_layers', 'num_heads',
        'num_kv_heads', 'head_dim', 'context_length', 'max_sparsity', 'default_sparsity', 'num_rungs', 'bos_token',
        'file_size', 'linear_bytes', 'head_bytes' } do
        info[field] = tonumber(struct[field])
    end
    info.room = nil
    return info
end

-- options: add_special, parse_special
function Model:tokenize(text, options)
    known(options, 'add_special', 'parse_special')
    local flags = (options and options.add_special and 1 or 0) + (options and options.parse_special and 2 or 0)
    return list(grown('uint32_t[?]', #text, 'rasp_tokenize', self.handle, text, #text, flags))
end

-- options: skip_special
function Model:detokenize(tokens, options)
    local numbers, count = ids(tokens)
    return ffi.string(grown('char[?]', 16 * count, 'rasp_detokenize', self.handle, numbers, count,
        known(options, 'skip_special').skip_special and 1 or 0))
end

function Model:is_end(token) return lib.rasp_token_is_end(self.handle, token) ~= 0 end
function Model:is_special(token) return lib.rasp_token_is_special(self.handle, token) ~= 0 end

-- The tokens of messages in the model's own format: a list of { role = , content = , fields = }, where fields is JSON
-- with what else a message has ('{"name": "x"}'). options: add_generation_prompt, variables (JSON with the template's:
-- tools, documents), time (what its strftime_now shows: seconds since 1970 of the clock on the wall). What is said is
-- text, whatever it looks like: special tokens are recognised in the template's own words alone.
function Model:chat_tokenize(messages, options)
    local raw, struct, room = chats.chat(messages, options)
    return list(grown('uint32_t[?]', 4096, 'rasp_chat_tokenize', self.handle, raw, #messages, struct)), room and nil
end

-- The text that chat_tokenize makes tokens of, to be looked at.
function Model:chat_text(messages, options)
    local raw, struct, room = chats.chat(messages, options)
    local buffer, length = grown('char[?]', 4096, 'rasp_chat_text', self.handle, raw, #messages, struct)
    return ffi.string(buffer, length), room and nil
end

-- The same text. Tokenized with parse_special it cannot promise who speaks, since a message may hold the template's own
-- tokens: chat_tokenize can.
function Model:chat_format(messages, add_generation_prompt)
    return (self:chat_text(messages, { add_generation_prompt = add_generation_prompt }))
end

-- What an answer may be, compiled; model: the handle of one.
function native.constraint(model, kind, source)
    local number = native.CONSTRAINTS[kind]
    if not number then error(('kind is %s, not json_schema, regex, grammar or tools'):format(tostring(kind)), 3) end
    local out = ffi.new 'rasp_constraint *[1]'
    call('rasp_constraint_new', model, number, source, #source, out)
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_constraint_free) }, Constraint)
end

-- What an answer may be, compiled for this model; kind: 'json_schema' (its source is JSON), 'regex' (in the syntax of
-- Rust's crate regex; all of the answer matches), 'grammar' (llguidance's variant of Lark) or 'tools' (a list in JSON
-- as the template has it, or an object with tools and a tool_choice: text is free until a call begins, which keeps to
-- its schema). Any number of sessions may use it; they keep what they need of it when it is closed.
function Model:constraint(kind, source) return native.constraint(self.handle, kind, source) end

function Constraint:close() native.close(self, 'rasp_constraint_free') end

local function adapter(data, name, model, ...)
    local out, arguments, count = ffi.new 'rasp_adapter *[1]', { ... }, select('#', ...)
    arguments[count + 1] = out
    call(name, model, unpack(arguments, 1, count + 1))
    -- What the library reads in place stays for as long as a session has it set.
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_adapter_free), data = data }, Adapter)
end

-- A LoRA adapter, a file that `rasp pack-adapter` made, for this model and others of its shape. Any number of sessions
-- may use it; they keep what they need of it when it is closed.
function Model:adapter(path) return adapter(nil, 'rasp_adapter_load', self.handle, native.terminated(path)) end

-- The same of the bytes of such a file.
function Model:adapter_bytes(bytes)
    local data = ffi.new('uint64_t[?]', math.floor(#bytes / 8) + 1)
    ffi.copy(data, bytes, #bytes)
    return adapter(data, 'rasp_adapter_load_bytes', self.handle, data, #bytes)
end

-- The same of one that lies in an open file (its descriptor), so many bytes from an offset on; 0: all that follow.
function Model:adapter_fd(file, offset, length)
    return adapter(nil, 'rasp_adapter_load_fd', self.handle, file, offset or 0, length or 0)
end

-- name, rank (its largest), linears (that it adds to) and bytes (that every token reads)
function Adapter:info()
    local struct, room = made 'adapter_info'
    call('rasp_adapter_get_info', self.handle, struct)
    return {
        name = ffi.string(struct.name), rank = struct.rank, linears = struct.linears, bytes = tonumber(struct.bytes),
    }, room and nil
end

function Adapter:close() native.close(self, 'rasp_adapter_free') end

-- What tells an answer to these messages apart: give it what chat_tokenize was given.
function Model:reply(messages, options) return (chats.reply(self.handle, messages, options)) end

function Model:open(options) return (sessions.open(self.handle, options)) end

return rasp

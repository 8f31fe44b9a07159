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

-- Options as the library takes them, and room for a model.
local function loading(options)
    local struct, room = made('load_options', {
        verify = options.verify, lock = options.lock, large_pages = options.large_pages,
    })
    return struct, ffi.new 'rasp_model *[1]', room
end

local function loaded(out, data)
    return setmetatable({ handle = native.owned(out[0], 'rasp_free', data), data = data }, Model)
end

-- options: verify, lock, large_pages
function rasp.load(path, options)
    local struct, out, room = loading(known(options, 'verify', 'lock', 'large_pages'))
    call('rasp_load', path, struct, out)
    return loaded(out), room and nil
end

-- The same of a file's bytes: a string, or cdata, of which options.size says how many they are. They are used in place,
-- and held by the model and its sessions; what a pointer points to is the caller's to keep.
function rasp.load_bytes(data, options)
    options = known(options, 'size', 'verify')
    if type(data) ~= 'string' and type(data) ~= 'cdata' then error(type(data) .. ' is no string and no cdata', 2) end
    local size = type(data) == 'string' and #data or native.natural(options.size, 'the size of the cdata')
    local struct, out, room = loading(options)
    call('rasp_load_bytes', data, size, struct, out)
    return loaded(out, data), room and nil
end

-- The same of one inside an open file: one of io's, or a descriptor (on Windows a HANDLE, as a number). It need not
-- stay open. options: offset, length (nil: all that follows), verify, lock, large_pages
function rasp.load_fd(file, options)
    options = known(options, 'offset', 'length', 'verify', 'lock', 'large_pages')
    local offset, length = native.natural(options.offset or 0, 'offset'), native.natural(options.length or 0, 'length')
    local struct, out, room = loading(options)
    call('rasp_load_fd', native.descriptor(file), offset, length, struct, out)
    return loaded(out), room and nil
end

rasp.step_batch = sessions.step_batch

function Model:close()
    native.close(self, 'rasp_free')
end

function Model:info()
    local struct, room = made 'model_info'
    call('rasp_model_get_info', self.handle, struct)
    local info = native.fields(struct, { 'vocab_size', 'hidden_size', 'intermediate_size', 'num_layers', 'num_heads',
        'num_kv_heads', 'head_dim', 'context_length', 'max_sparsity', 'default_sparsity', 'num_rungs', 'bos_token',
        'file_size', 'linear_bytes', 'head_bytes' })
    info.architecture, info.name = ffi.string(struct.architecture), ffi.string(struct.name)
    return info, room and nil
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
    return setmetatable({ handle = native.owned(out[0], 'rasp_adapter_free', data), data = data }, Adapter)
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

-- The same of one inside an open file, as for rasp.load_fd, so many bytes from an offset on; 0: all that follow.
function Model:adapter_fd(file, offset, length)
    offset, length = native.natural(offset or 0, 'offset'), native.natural(length or 0, 'length')
    return adapter(nil, 'rasp_adapter_load_fd', self.handle, native.descriptor(file), offset, length)
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

function Model:open(options) return (sessions.open(self, options)) end

-- To the byte, what a session that is opened with these options will take: size, of which kv_cache, activations,
-- sampling and bookkeeping are the parts; and alignment, context and batch.
function Model:plan(options) return (sessions.plan(self, options)) end

return rasp

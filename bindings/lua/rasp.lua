-- rasp for LuaJIT: language models inside your program, over librasp. What each function does is said in rasp.h.
--
--     local rasp = require 'rasp'
--     local model = rasp.load('smollm2.rasp')
--     local session = model:open { threads = 2 }
--     session:prefill(model:tokenize('The capital of France is'))
--     for piece in session:stream(32) do io.write(piece) end
--
-- What fails raises an error with what the library says. Handles are freed when they are collected, or by close().
local ffi = require 'ffi'

ffi.cdef [[
typedef struct rasp_model rasp_model;
typedef struct rasp_session rasp_session;
typedef struct rasp_constraint rasp_constraint;
typedef struct { int32_t code; char message[252]; } rasp_error;
typedef struct {
    uint32_t struct_size, verify, lock, log_level;
    void *log, *log_context;
    uint32_t large_pages, reserved;
} rasp_load_options;
typedef struct {
    uint32_t struct_size, vocab_size, hidden_size, intermediate_size, num_layers, num_heads, num_kv_heads, head_dim,
        context_length, weight_type;
    float max_sparsity, default_sparsity;
    uint32_t num_rungs;
    int32_t bos_token;
    uint64_t file_size, linear_bytes, head_bytes;
    char architecture[32], name[96];
} rasp_model_info;
typedef struct {
    uint32_t struct_size, context, threads, batch, kv_type, windows_alone;
    void *memory;
    size_t memory_size;
    void *run, *run_context;
    uint64_t cpus, spin_ns;
    uint32_t drafts, reserved;
} rasp_session_options;
typedef struct {
    uint32_t struct_size;
    float temperature;
    uint32_t top_k;
    float top_p, min_p, repetition_penalty;
    uint32_t repetition_window, reserved;
    uint64_t seed;
    float presence_penalty, frequency_penalty, top_n_sigma, typical_p, xtc_probability, xtc_threshold;
    float dry_multiplier, dry_base;
    uint32_t dry_allowed_length, dry_window;
    float mirostat_tau, mirostat_eta;
    uint8_t order[8];
} rasp_sampling;
typedef struct {
    uint32_t struct_size, tokens, context;
    float sparsity;
    uint64_t memory, decoded_tokens, linear_bytes_read;
    double kept;
    uint64_t head_bytes_read, units, late_tokens, drafted_tokens, accepted_tokens;
} rasp_stats;
typedef struct { uint8_t pending[3], length; } rasp_text_stream;
typedef struct {
    const char *role;
    size_t role_length;
    const char *content;
    size_t content_length;
    const char *fields;
    size_t fields_length;
} rasp_chat_message;
typedef struct {
    uint32_t struct_size, add_generation_prompt;
    const char *variables;
    size_t variables_length;
    int64_t time;
} rasp_chat_options;

const char *rasp_version(void);
uint32_t rasp_abi_version(void);
const char *rasp_status_name(int32_t);
void rasp_load_options_init_2(void *);
void rasp_model_info_init(void *);
void rasp_session_options_init_2(void *);
void rasp_sampling_init_2(void *);
void rasp_stats_init_2(void *);
typedef struct { uint32_t token; float log_prob; } rasp_log_prob;
int32_t rasp_log_probs(rasp_session *, uint32_t, float *, rasp_log_prob *, size_t, rasp_error *);
int32_t rasp_load(const char *, const void *, rasp_model **, rasp_error *);
int32_t rasp_model_retain(const rasp_model *);
int32_t rasp_free(rasp_model *);
int32_t rasp_model_get_info(const rasp_model *, void *, rasp_error *);
int32_t rasp_tokenize(const rasp_model *, const char *, size_t, uint32_t, uint32_t *, size_t, size_t *, rasp_error *);
int32_t rasp_detokenize(const rasp_model *, const uint32_t *, size_t, uint32_t, char *, size_t, size_t *, rasp_error *);
int32_t rasp_token_bytes(const rasp_model *, uint32_t, const uint8_t **, size_t *, rasp_error *);
int32_t rasp_token_is_end(const rasp_model *, uint32_t);
int32_t rasp_token_is_special(const rasp_model *, uint32_t);
void rasp_chat_options_init(void *);
int32_t rasp_chat_tokenize(const rasp_model *, const rasp_chat_message *, size_t, const void *, uint32_t *, size_t,
    size_t *, rasp_error *);
int32_t rasp_chat_text(const rasp_model *, const rasp_chat_message *, size_t, const void *, char *, size_t, size_t *,
    rasp_error *);
int32_t rasp_session_open(const rasp_model *, const void *, rasp_session **, rasp_error *);
int32_t rasp_session_close(rasp_session *);
int32_t rasp_session_reset(rasp_session *, rasp_error *);
int32_t rasp_session_set_sparsity(rasp_session *, float, rasp_error *);
int32_t rasp_session_set_sampling(rasp_session *, const void *, rasp_error *);
int32_t rasp_constraint_new(const rasp_model *, uint32_t, const char *, size_t, rasp_constraint **, rasp_error *);
int32_t rasp_constraint_free(rasp_constraint *);
int32_t rasp_session_set_constraint(rasp_session *, const rasp_constraint *, rasp_error *);
int32_t rasp_session_get_stats(rasp_session *, void *, rasp_error *);
int32_t rasp_session_clear_stats(rasp_session *, rasp_error *);
int32_t rasp_prefill(rasp_session *, const uint32_t *, size_t, rasp_error *);
int32_t rasp_step(rasp_session *, uint32_t *, rasp_error *);
int32_t rasp_decode(rasp_session *, uint32_t, rasp_error *);
void rasp_cancel(const rasp_session *);
int32_t rasp_text_stream_push(rasp_text_stream *, const uint8_t *, size_t, char *, size_t, size_t *, rasp_error *);
]]

local lib = ffi.load(os.getenv 'RASP_LIBRARY' or 'librasp.so.1')
local END, BUFFER_TOO_SMALL, TEXT_STREAM_EXTRA = 1, -8, 9
local KV = { f16 = 0, f32 = 1, i8 = 2 }
local CONSTRAINTS = { json_schema = 0, regex = 1, grammar = 2 }

-- Calls a function with an error struct at the end, and raises what it says.
local function call(name, ...)
    local failure = ffi.new 'rasp_error'
    local arguments = { ... }
    local count = select('#', ...)
    arguments[count + 1] = failure
    local status = lib[name](unpack(arguments, 1, count + 1))
    if status < 0 then
        error(ffi.string(lib.rasp_status_name(status)) .. ': ' .. ffi.string(failure.message), 3)
    end
    return status
end

-- A struct that has grown has an initialiser of its own; else it is rasp_NAME_init.
local INIT = {
    load_options = 'rasp_load_options_init_2', session_options = 'rasp_session_options_init_2',
    sampling = 'rasp_sampling_init_2', stats = 'rasp_stats_init_2',
}

-- A struct with its defaults and some fields set, in room for any size that a library may say.
local function made(name, values)
    local room = ffi.new 'uint64_t[512]'
    lib[INIT[name] or 'rasp_' .. name .. '_init'](room)
    local struct = ffi.cast('rasp_' .. name .. ' *', room)
    for field, value in pairs(values or {}) do
        if type(value) == 'boolean' then value = value and 1 or 0 end
        struct[field] = value
    end
    return struct, room -- The caller holds the room.
end

-- What a call writes to a buffer, asked again with more room if it needs that; and how much it is.
local function grown(kind, guess, name, ...)
    local failure = ffi.new 'rasp_error'
    local length = ffi.new 'size_t[1]'
    while true do
        local buffer = ffi.new(kind, math.max(guess, 1))
        local arguments = { ... }
        local count = select('#', ...)
        arguments[count + 1], arguments[count + 2] = buffer, guess
        arguments[count + 3], arguments[count + 4] = length, failure
        local status = lib[name](unpack(arguments, 1, count + 4))
        if status ~= BUFFER_TOO_SMALL then
            if status < 0 then
                error(ffi.string(lib.rasp_status_name(status)) .. ': ' .. ffi.string(failure.message), 3)
            end
            return buffer, tonumber(length[0])
        end
        guess = tonumber(length[0])
    end
end

local function ids(tokens)
    return ffi.new('uint32_t[?]', math.max(#tokens, 1), tokens), #tokens
end

local Model, Session, Constraint = {}, {}, {}
Model.__index, Session.__index, Constraint.__index = Model, Session, Constraint

local rasp = {}

function rasp.version() return ffi.string(lib.rasp_version()) end
function rasp.abi_version() return lib.rasp_abi_version() end

-- options: verify, lock, large_pages
function rasp.load(path, options)
    local out = ffi.new 'rasp_model *[1]'
    local struct, room = made('load_options', options)
    call('rasp_load', path, struct, out)
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_free), room = room }, Model)
end

function Model:close()
    if self.handle then
        lib.rasp_free(ffi.gc(self.handle, nil))
        self.handle = nil
    end
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
    local flags = (options and options.add_special and 1 or 0) + (options and options.parse_special and 2 or 0)
    local buffer, count = grown('uint32_t[?]', #text, 'rasp_tokenize', self.handle, text, #text, flags)
    local tokens = {}
    for i = 1, count do tokens[i] = buffer[i - 1] end
    return tokens
end

-- options: skip_special
function Model:detokenize(tokens, options)
    local list, count = ids(tokens)
    return ffi.string(grown('char[?]', 16 * count, 'rasp_detokenize', self.handle, list, count,
        options and options.skip_special and 1 or 0))
end

function Model:is_end(token) return lib.rasp_token_is_end(self.handle, token) ~= 0 end
function Model:is_special(token) return lib.rasp_token_is_special(self.handle, token) ~= 0 end

-- Messages and options as the library takes them. What they point to is the caller's.
local function chat(messages, options)
    options = options or {}
    local list = ffi.new('rasp_chat_message[?]', math.max(#messages, 1))
    for i, message in ipairs(messages) do
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

-- The tokens of messages in the model's own format: a list of { role = , content = , fields = }, where fields is JSON
-- with what else a message has ('{"name": "x"}'). options: add_generation_prompt, variables (JSON with the template's:
-- tools, documents), time (what its strftime_now shows: seconds since 1970 of the clock on the wall). What is said is
-- text, whatever it looks like: special tokens are recognised in the template's own words alone.
function Model:chat_tokenize(messages, options)
    local list, struct, room = chat(messages, options)
    local buffer, count = grown('uint32_t[?]', 4096, 'rasp_chat_tokenize', self.handle, list, #messages, struct)
    local tokens = { room = room }
    for i = 1, count do tokens[i] = buffer[i - 1] end
    tokens.room = nil
    return tokens
end

-- The text that chat_tokenize makes tokens of, to be looked at.
function Model:chat_text(messages, options)
    local list, struct, room = chat(messages, options)
    local buffer, length = grown('char[?]', 4096, 'rasp_chat_text', self.handle, list, #messages, struct)
    return ffi.string(buffer, length), room and nil
end

-- The same text. Tokenized with parse_special it cannot promise who speaks, since a message may hold the template's own
-- tokens: chat_tokenize can.
function Model:chat_format(messages, add_generation_prompt)
    return (self:chat_text(messages, { add_generation_prompt = add_generation_prompt }))
end

-- options: context, threads, batch, kv ('f16', 'f32' or 'i8'), windows_alone, drafts (7 at most: tokens are guessed by
-- what stood after an earlier match in the context; the same tokens, sooner where an answer quotes or repeats)
function Model:open(options)
    options = options or {}
    local struct, room = made('session_options', {
        context = options.context, threads = options.threads, batch = options.batch,
        kv_type = assert(KV[options.kv or 'f16'], 'kv is f16, f32 or i8'), windows_alone = options.windows_alone,
        drafts = options.drafts,
    })
    local out = ffi.new 'rasp_session *[1]'
    call('rasp_session_open', self.handle, struct, out)
    -- Tokens become text by the model: a reference of the session's own, so that the caller may close his.
    lib.rasp_model_retain(self.handle)
    return setmetatable({
        handle = ffi.gc(out[0], lib.rasp_session_close),
        model = setmetatable({ handle = ffi.gc(ffi.cast('rasp_model *', self.handle), lib.rasp_free) }, Model),
        room = room,
    }, Session)
end

-- What an answer may be, compiled for this model; kind: 'json_schema' (its source is JSON), 'regex' (in the syntax of
-- Rust's crate regex; all of the answer matches) or 'grammar' (llguidance's variant of Lark). Any number of sessions
-- may use it; they keep what they need of it when it is closed.
function Model:constraint(kind, source)
    local number = CONSTRAINTS[kind]
    if not number then error(('kind is %s, not json_schema, regex or grammar'):format(tostring(kind)), 2) end
    local out = ffi.new 'rasp_constraint *[1]'
    call('rasp_constraint_new', self.handle, number, source, #source, out)
    return setmetatable({ handle = ffi.gc(out[0], lib.rasp_constraint_free) }, Constraint)
end

function Constraint:close()
    if self.handle then
        lib.rasp_constraint_free(ffi.gc(self.handle, nil))
        self.handle = nil
    end
end

function Session:close()
    if self.handle then
        lib.rasp_session_close(ffi.gc(self.handle, nil))
        self.handle = nil
        self.model:close()
    end
end

function Session:prefill(tokens)
    local list, count = ids(tokens)
    call('rasp_prefill', self.handle, list, count)
end

-- The next token, and whether it ends generation.
function Session:step()
    local token = ffi.new 'uint32_t[1]'
    local status = call('rasp_step', self.handle, token)
    return token[0], status == END
end

function Session:decode(token) call('rasp_decode', self.handle, token) end

-- An iterator over the text of the next tokens, in whole characters; to the end, or for at most `limit` tokens.
function Session:stream(limit)
    local pending = ffi.new 'rasp_text_stream'
    local bytes, length = ffi.new 'const uint8_t *[1]', ffi.new 'size_t[1]'
    local function push(data, size)
        return ffi.string(grown('char[?]', 3 * size + TEXT_STREAM_EXTRA, 'rasp_text_stream_push', pending, data, size))
    end
    local count, over = 0, false
    return function()
        while not over do
            local piece
            local token, ended
            if count ~= limit then token, ended = self:step() end
            if token == nil or ended then
                over = true
                piece = push(nil, 0) -- What still waits.
            else
                count = count + 1
                call('rasp_token_bytes', self.model.handle, token, bytes, length)
                piece = push(bytes[0], tonumber(length[0]))
            end
            if piece ~= '' then return piece end
        end
    end
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
function Session:cancel() lib.rasp_cancel(self.handle) end

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

return rasp

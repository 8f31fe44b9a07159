-- The functions and structs of rasp.h, for rasp.lua. What each does is said there.
local ffi = require 'ffi'
local callback = require 'rasp.callback'

ffi.cdef [[
typedef struct rasp_model rasp_model;
typedef struct rasp_session rasp_session;
typedef struct rasp_constraint rasp_constraint;
typedef struct rasp_adapter rasp_adapter;
typedef struct rasp_reply rasp_reply;
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
    uint32_t drafts, adapter_rank;
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
    uint64_t head_bytes_read, units, late_tokens, drafted_tokens, accepted_tokens, shared_bytes;
} rasp_stats;
typedef struct {
    uint32_t struct_size, alignment, context, batch;
    uint64_t size, kv_cache, activations, sampling, bookkeeping;
} rasp_memory_plan;
typedef struct { uint32_t struct_size, rank, linears, reserved; uint64_t bytes; char name[96]; } rasp_adapter_info;
typedef struct {
    uint32_t kind, reserved;
    const char *text;
    size_t text_length;
    const char *name;
    size_t name_length;
    const char *id;
    size_t id_length;
} rasp_reply_part;
typedef struct { uint32_t token; float bias; } rasp_logit_bias;
typedef int32_t (*rasp_logits_callback)(void *, float *, size_t, const uint32_t *, size_t);
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
void rasp_stats_init_3(void *);
void rasp_memory_plan_init(void *);
typedef struct { uint32_t token; float log_prob; } rasp_log_prob;
int32_t rasp_log_probs(rasp_session *, uint32_t, float *, rasp_log_prob *, size_t, rasp_error *);
int32_t rasp_load(const char *, const void *, rasp_model **, rasp_error *);
int32_t rasp_load_bytes(const void *, size_t, const void *, rasp_model **, rasp_error *);
int32_t rasp_load_fd(int64_t, uint64_t, uint64_t, const void *, rasp_model **, rasp_error *);
int32_t rasp_model_retain(const rasp_model *);
int32_t rasp_free(rasp_model *);
int32_t rasp_model_get_info(const rasp_model *, void *, rasp_error *);
int32_t rasp_tokenize(const rasp_model *, const char *, size_t, uint32_t, uint32_t *, size_t, size_t *, rasp_error *);
int32_t rasp_detokenize(const rasp_model *, const uint32_t *, size_t, uint32_t, char *, size_t, size_t *, rasp_error *);
int32_t rasp_token_is_end(const rasp_model *, uint32_t);
int32_t rasp_token_is_special(const rasp_model *, uint32_t);
void rasp_chat_options_init(void *);
int32_t rasp_chat_tokenize(const rasp_model *, const rasp_chat_message *, size_t, const void *, uint32_t *, size_t,
    size_t *, rasp_error *);
int32_t rasp_chat_text(const rasp_model *, const rasp_chat_message *, size_t, const void *, char *, size_t, size_t *,
    rasp_error *);
int32_t rasp_session_plan(const rasp_model *, const void *, void *, rasp_error *);
int32_t rasp_session_open(const rasp_model *, const void *, rasp_session **, rasp_error *);
int32_t rasp_session_fork(rasp_session *, const void *, rasp_session **, rasp_error *);
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
void rasp_adapter_info_init(void *);
int32_t rasp_adapter_load(const rasp_model *, const char *, rasp_adapter **, rasp_error *);
int32_t rasp_adapter_load_bytes(const rasp_model *, const void *, size_t, rasp_adapter **, rasp_error *);
int32_t rasp_adapter_load_fd(const rasp_model *, int64_t, uint64_t, uint64_t, rasp_adapter **, rasp_error *);
int32_t rasp_adapter_free(rasp_adapter *);
int32_t rasp_adapter_get_info(const rasp_adapter *, void *, rasp_error *);
int32_t rasp_session_set_adapters(rasp_session *, const rasp_adapter *const *, const float *, size_t, rasp_error *);
int32_t rasp_chat_prefill(rasp_session *, const rasp_chat_message *, size_t, const void *, size_t *, rasp_error *);
int32_t rasp_chat_prefill_begin(rasp_session *, const rasp_chat_message *, size_t, const void *, size_t *,
    rasp_error *);
int32_t rasp_session_tokens(rasp_session *, uint32_t *, size_t, size_t *, rasp_error *);
int32_t rasp_reply_new(const rasp_model *, const rasp_chat_message *, size_t, const void *, rasp_reply **,
    rasp_error *);
int32_t rasp_reply_push(rasp_reply *, const char *, size_t, rasp_error *);
int32_t rasp_reply_push_token(rasp_reply *, uint32_t, rasp_error *);
int32_t rasp_reply_finish(rasp_reply *, rasp_error *);
int32_t rasp_reply_next(rasp_reply *, rasp_reply_part *, rasp_error *);
int32_t rasp_reply_message(rasp_reply *, char *, size_t, size_t *, rasp_error *);
int32_t rasp_reply_free(rasp_reply *);
int32_t rasp_step_text(rasp_session *, uint32_t, char *, size_t, size_t *, uint32_t *, rasp_error *);
int32_t rasp_step_text_within(rasp_session *, uint64_t, uint32_t, char *, size_t, size_t *, uint32_t *,
    rasp_error *);
int32_t rasp_finish_text(rasp_session *, char *, size_t, size_t *, rasp_error *);
int32_t rasp_prefill_begin(rasp_session *, const uint32_t *, size_t, rasp_error *);
int32_t rasp_prefill_within(rasp_session *, uint64_t, rasp_error *);
int32_t rasp_step_within(rasp_session *, uint64_t, uint32_t *, rasp_error *);
int32_t rasp_step_batch(rasp_session *const *, size_t, uint32_t *, int32_t *, rasp_error *);
int32_t rasp_session_set_deadline(rasp_session *, uint64_t, float, float, rasp_error *);
int32_t rasp_session_set_drafts(rasp_session *, uint32_t, uint32_t, const uint32_t *, size_t, rasp_error *);
int32_t rasp_session_set_stop(rasp_session *, const char *const *, size_t, rasp_error *);
int32_t rasp_session_rewind(rasp_session *, size_t, rasp_error *);
int32_t rasp_session_shift(rasp_session *, size_t, size_t, rasp_error *);
int32_t rasp_session_save(rasp_session *, char *, size_t, size_t *, rasp_error *);
int32_t rasp_session_restore(rasp_session *, const char *, size_t, rasp_error *);
int32_t rasp_embed(rasp_session *, const uint32_t *, size_t, uint32_t, uint32_t, float *, size_t, size_t *,
    rasp_error *);
int32_t rasp_logits(rasp_session *, const float **, size_t *, rasp_error *);
int32_t rasp_session_set_logit_bias(rasp_session *, const rasp_logit_bias *, size_t, rasp_error *);
int32_t rasp_session_set_logits_callback(rasp_session *, rasp_logits_callback, void *, rasp_error *);
int fileno(void *);
]]

local lib = ffi.load(os.getenv 'RASP_LIBRARY' or 'librasp.so.1')
local BUFFER_TOO_SMALL = -8

local function closed() error('what it is called on is closed', 4) end

-- A function of the library's, called with an error struct at the end: its status, and what it says.
local function invoke(name, ...)
    local failure = ffi.new 'rasp_error'
    local arguments, count = { ... }, select('#', ...)
    arguments[count + 1] = failure
    return lib[name](unpack(arguments, 1, count + 1)), ffi.string(failure.message)
end
-- C may call back, which it cannot where compiled code has called it.
jit.off(invoke)

-- A status and what the library says of it, as an error.
local function described(status, words)
    local name = ffi.string(lib.rasp_status_name(status))
    return words == '' and name or name .. ': ' .. words
end

-- Calls such a function, and raises what it says, or what a callback of the session has raised meanwhile.
local function call(name, ...)
    if (...) == nil and not name:find '^rasp_load' then closed() end
    local status, words = invoke(name, ...)
    if status < 0 then
        local raised = callback.raised((...))
        if raised then error(raised.value, 0) end
        error(described(status, words), 3)
    end
    return status
end

-- A struct that has grown has an initialiser of its own; else it is rasp_NAME_init.
local INIT = {
    load_options = 'rasp_load_options_init_2', session_options = 'rasp_session_options_init_2',
    sampling = 'rasp_sampling_init_2', stats = 'rasp_stats_init_3',
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

-- Some of a struct's numbers.
local function fields(struct, names)
    local found = {}
    for _, name in ipairs(names) do found[name] = tonumber(struct[name]) end
    return found
end

-- What a call writes to a buffer, asked again with more room if it needs that; and how much it is.
local function grown(kind, guess, name, ...)
    if (...) == nil then closed() end
    local length = ffi.new 'size_t[1]'
    while true do
        local buffer = ffi.new(kind, math.max(guess, 1))
        local arguments, count = { ... }, select('#', ...)
        arguments[count + 1], arguments[count + 2], arguments[count + 3] = buffer, guess, length
        local status, words = invoke(name, unpack(arguments, 1, count + 3))
        if status ~= BUFFER_TOO_SMALL then
            if status < 0 then error(described(status, words), 3) end
            return buffer, tonumber(length[0])
        end
        guess = tonumber(length[0])
    end
end

local function ids(tokens)
    return ffi.new('uint32_t[?]', math.max(#tokens, 1), tokens), #tokens
end

-- Numbers of a buffer as a list.
local function list(buffer, count)
    local numbers = {}
    for i = 1, count do numbers[i] = buffer[i - 1] end
    return numbers
end

-- Options, none of which is misspelt.
local function known(options, ...)
    local names = {}
    for _, name in ipairs { ... } do names[name] = true end
    for name in pairs(options or {}) do
        if not names[name] then
            error(('%s is no option; there are %s'):format(tostring(name), table.concat({ ... }, ', ')), 3)
        end
    end
    return options or {}
end

-- Text that C reads to a NUL.
local function terminated(text)
    if text:find('\0', 1, true) then error('a NUL would end the text', 3) end
    return text
end

-- A number that C takes as a whole one without a sign.
local function natural(number, what)
    if type(number) == 'number' and number >= 0 and number < 2 ^ 53 and number % 1 == 0 then return number end
    error(('%s is %s'):format(what, tostring(number)), 3)
end

-- Seconds as C takes them: what is more than none stays so.
local function nanoseconds(seconds, what)
    if type(seconds) == 'number' and seconds >= 0 then
        return ffi.cast('uint64_t', math.ceil(math.min(seconds, 1e9) * 1e9))
    end
    error(('%s seconds are no %s'):format(tostring(seconds), what), 3)
end

-- The descriptor of an open file of io's; a number is one already.
local function descriptor(file)
    if io.type(file) == 'file' then return ffi.C.fileno(file) end
    if type(file) ~= 'number' then error(tostring(file) .. ' is no open file and no descriptor', 3) end
    return file
end

-- A handle that is given back when it is collected. Until then there is what it keeps: what the library reads in place.
local function owned(handle, free, keeps)
    return ffi.gc(handle, function(gone)
        lib[free](gone)
        return keeps
    end)
end

-- Gives a handle back, once.
local function close(object, free)
    local handle = object.handle
    if not handle then return end
    local status = lib[free](handle)
    if status < 0 then error(described(status, 'a call of it is under way'), 3) end
    ffi.gc(handle, nil)
    object.handle = nil
end

return {
    lib = lib, invoke = invoke, described = described, call = call, made = made, fields = fields, grown = grown,
    ids = ids, list = list, known = known, terminated = terminated, natural = natural, nanoseconds = nanoseconds,
    descriptor = descriptor, owned = owned, close = close,
    END = 1, PENDING = 2, STEP_TEXT_SIZE = 4160, SHOW_MARKS = 2, KV = { f16 = 0, f32 = 1, i8 = 2 },
    CONSTRAINTS = { json_schema = 0, regex = 1, grammar = 2, tools = 3 }, ENDED = { 'token', 'stop', 'context' },
    POOLING = { mean = 0, last = 1 }, PARTS = { 'text', 'reasoning', 'call' }, LOOKUP = 1, FORCED = 2, SELF = 4,
}

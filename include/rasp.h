/*
 * rasp: language models inside other people's programs.
 *
 * Four verbs: load, tokenize, step, free.
 *
 *     rasp_load -> rasp_tokenize -> rasp_session_open -> rasp_prefill -> rasp_step ... -> rasp_session_close -> rasp_free
 *
 * Every call returns a status; details go to a rasp_error of the caller, which may be NULL. Nothing is printed, aborted
 * or kept in globals, and no thread is started that was not asked for. After rasp_session_open nothing is allocated.
 *
 * Made by cbindgen from src/capi/: change that and run `make header`.
 */

#ifndef RASP_H
#define RASP_H

#include <stddef.h>
#include <stdint.h>

// Adapters of a session at a time, at most.
#define RASP_ADAPTERS_MAX 8

// The most stop strings that rasp_session_set_stop takes.
#define RASP_STOP_MAX 16

// The most bytes they can have together.
#define RASP_STOP_MAX_BYTES 1024

// Bytes of text that one call of rasp_step_text or rasp_finish_text may need.
#define RASP_STEP_TEXT_SIZE 4160

// rasp_step_text: special tokens, such as <|im_end|>, are text as well.
#define RASP_TEXT_SHOW_SPECIAL 1

// rasp_step_text: of special tokens those are text that mark calls of tools and reasoning, for rasp_reply_push.
#define RASP_TEXT_SHOW_MARKS 2

// The answer goes on.
#define RASP_ENDED_NOT 0

// The model ended the answer.
#define RASP_ENDED_TOKEN 1

// A stop string was completed.
#define RASP_ENDED_STOP 2

// The context has no room for another token.
#define RASP_ENDED_CONTEXT 3

// rasp_constraint_new: a JSON schema; the text is a value of it. One space follows each comma and colon and there is
// no other white space between the parts, unless the schema says otherwise in llguidance's "x-guidance".
#define RASP_CONSTRAINT_JSON_SCHEMA 0

// rasp_constraint_new: a regular expression, in the syntax of Rust's regex, that the whole text matches.
#define RASP_CONSTRAINT_REGEX 1

// rasp_constraint_new: a context-free grammar in llguidance's variant of Lark, whose rule start is the whole text.
#define RASP_CONSTRAINT_GRAMMAR 2

// rasp_constraint_new: the tools of a chat: the list in JSON, or the object that rasp_chat_options.variables is, with
// tools in it. Text is free until a call begins, in the format of the model's chat template; from there it is a call
// of one of these functions with arguments that its schema allows. With "tool_choice": "required" in the object, or a
// function by its name ({"type": "function", "function": {"name": "..."}}), the answer is one call, after what the
// model thinks where its prompt begins with that. UNSUPPORTED where the template teaches no format that the library
// knows.
#define RASP_CONSTRAINT_TOOLS 3

// The most drafts of a pass.
#define RASP_DRAFTS_MAX 7

// rasp_session_set_drafts: what stood after the longest earlier match of the last tokens, in the context and in the
// text that is given.
#define RASP_DRAFTS_LOOKUP 1

// rasp_session_set_drafts: what the session's constraint leaves no choice of, such as keys and punctuation in JSON.
#define RASP_DRAFTS_FORCED 2

// rasp_session_set_drafts: what the model itself says at a sparser level of its file, where neither of the others
// promises more. Unlike theirs these drafts take passes; they pay in files of 16 bits whose sessions are dense.
#define RASP_DRAFTS_SELF 4

// rasp_embed: the mean of the tokens' vectors.
#define RASP_POOL_MEAN 0

// rasp_embed: the vector of the last token, which alone has seen the whole text.
#define RASP_POOL_LAST 1

// rasp_embed: scaled to a length of 1, so that the sum of products of two vectors is their cosine.
#define RASP_EMBED_NORMALISE 1

// Bytes of the message of a rasp_error, the final NUL included.
#define RASP_ERROR_MESSAGE_SIZE 252

// Weights are 16-bit brain floats.
#define RASP_WEIGHTS_BF16 1

// Weights are IEEE half-precision floats.
#define RASP_WEIGHTS_F16 2

// Weights are whole numbers of 8 bits with scales: 8.5 bits each.
#define RASP_WEIGHTS_Q8 3

// Weights are whole numbers of 4 bits with scales and minima: 5 bits each.
#define RASP_WEIGHTS_Q4 4

// Weights are whole numbers of 4 bits, scales and minima coarser: 4.5 bits each.
#define RASP_WEIGHTS_Q4S 5

// Bytes of a .rasp file's header at most; a larger one is BAD_FILE.
#define RASP_MAX_HEADER_BYTES 16777216

// Bytes of a chat template at most; a model with a larger one loads, and its chats are TEMPLATE.
#define RASP_MAX_TEMPLATE_BYTES 262144

// Bytes of stack that every call makes do with, besides what callbacks of the host's take.
#define RASP_STACK_BYTES 65536

// A load failed; the message is that of the error.
#define RASP_LOG_ERROR 1

// Something works, but not as well as it could.
#define RASP_LOG_WARNING 2

// What was found and chosen at load.
#define RASP_LOG_INFO 3

// Sessions that are opened.
#define RASP_LOG_DEBUG 4

// rasp_reply_part: what the assistant says.
#define RASP_PART_TEXT 1

// rasp_reply_part: what it thinks before it says something.
#define RASP_PART_REASONING 2

// rasp_reply_part: a call of a tool.
#define RASP_PART_CALL 3

// Stages of sampling, for rasp_sampling.order.
#define RASP_STAGE_TOP_N_SIGMA 1

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_TOP_K 2

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_TEMPERATURE 3

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_TYPICAL 4

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_TOP_P 5

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_MIN_P 6

// See RASP_STAGE_TOP_N_SIGMA.
#define RASP_STAGE_XTC 7

// The most biases that rasp_session_set_logit_bias takes.
#define RASP_LOGIT_BIAS_MAX 256

// What a rasp_logits_callback returns to have the token sampled from the logits as it left them.
#define RASP_LOGITS_SAMPLE (-1)

// Keys and values are cached as IEEE half-precision floats.
#define RASP_KV_F16 0

// Keys and values are cached as 32-bit floats.
#define RASP_KV_F32 1

// Keys and values in 8 bits, a scale for each head and position.
#define RASP_KV_I8 2

// rasp_tokenize: add what the model expects at the beginning and end of a text (such as a BOS token).
#define RASP_TOKENIZE_ADD_SPECIAL 1

// rasp_tokenize: recognise special tokens such as <|im_start|> in the text. Leave it out for text from strangers.
#define RASP_TOKENIZE_PARSE_SPECIAL 2

// rasp_detokenize: leave special tokens out.
#define RASP_DETOKENIZE_SKIP_SPECIAL 1

// The most bytes rasp_text_stream_push writes for a token of n bytes is 3 * n + RASP_TEXT_STREAM_EXTRA.
#define RASP_TEXT_STREAM_EXTRA 9

// A loaded LoRA adapter: immutable, for any number of sessions of models of its shape, safe to use from any thread at
// once.
typedef struct rasp_adapter rasp_adapter;

// What a text may be, compiled for one model's vocabulary: immutable, shared by any number of sessions of that model,
// safe to use from any thread at once.
typedef struct rasp_constraint rasp_constraint;

// A loaded model: immutable, shared by any number of sessions, safe to use from any thread at once.
//
// It is counted: rasp_load gives one reference, rasp_model_retain another, every open session holds one, and rasp_free
// gives one back.
typedef struct rasp_model rasp_model;

// One answer that is told apart as it comes. It belongs to one thread at a time: a call that meets another one under
// way on the same reply returns INVALID_STATE.
typedef struct rasp_reply rasp_reply;

// One text in the making. It belongs to one thread at a time: a call that meets another one under way on the same
// session returns INVALID_STATE. rasp_cancel alone may come from any thread at any time.
typedef struct rasp_session rasp_session;

// What an adapter is. Initialise with rasp_adapter_info_init, fill with rasp_adapter_get_info.
typedef struct rasp_adapter_info {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Its largest rank: what rasp_session_options.adapter_rank counts.
    uint32_t rank;
    // Linears of the model that it adds to.
    uint32_t linears;
    // Means nothing yet: 0.
    uint32_t reserved;
    // Bytes of its factors, which every token reads besides the model's.
    uint64_t bytes;
    // What it calls itself: UTF-8, NUL-terminated, cut at a character if longer.
    char name[96];
} rasp_adapter_info;

// Outcome of a call: one of the RASP_ constants. Zero and above are successes, below zero are errors. Values never
// change.
typedef int32_t rasp_status;

// Details of an error, in memory of the caller. Functions that take a rasp_error accept NULL, and write it only when
// they fail.
typedef struct rasp_error {
    // The status that was returned.
    rasp_status code;
    // What was wrong and where: UTF-8, NUL-terminated, cut at a character if it was longer.
    char message[RASP_ERROR_MESSAGE_SIZE];
} rasp_error;

// What a chat template is given besides messages. Initialise with rasp_chat_options_init.
typedef struct rasp_chat_options {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // 1 (the default): end with what makes the model answer. 0: end with the last message.
    uint32_t add_generation_prompt;
    // The template's variables, as a JSON object: tools, documents, enable_thinking, date_string, or what else the
    // template knows. tools and documents are none where it does not have them. NULL: nothing.
    const char *variables;
    // Bytes at variables.
    size_t variables_length;
    // What strftime_now shows templates: seconds since 1970 of the clock on the wall, that is time(NULL) and what
    // local time is ahead of UTC. 0 (the default): there is no such function, and a template that does without writes
    // no date.
    int64_t time;
} rasp_chat_options;

// One message of a chat, with lengths: its texts may hold NULs.
typedef struct rasp_chat_message {
    // "system", "user", "assistant", "tool" or what else the template knows: UTF-8. Not NULL.
    const char *role;
    // Bytes at role.
    size_t role_length;
    // The text: UTF-8. NULL: none, as where tool_calls in fields stand for it, or fields has the content.
    const char *content;
    // Bytes at content.
    size_t content_length;
    // What else the message has, as a JSON object: name, tool_calls, tool_call_id, reasoning_content, a content in
    // parts, or what else the template knows. NULL: nothing.
    const char *fields;
    // Bytes at fields.
    size_t fields_length;
} rasp_chat_message;

// One message of a chat.
typedef struct rasp_message {
    // "system", "user", "assistant" or what else the template knows: UTF-8, NUL-terminated.
    const char *role;
    // The text: UTF-8, NUL-terminated.
    const char *content;
} rasp_message;

// Hears a message of a model: level is a RASP_LOG_ constant, message UTF-8, NUL-terminated, below 512 bytes, and valid
// until it returns.
//
// It is called from inside the functions that load the model and open its sessions, on their threads; if these are
// several, on several at once. It must not unwind or jump out.
typedef void (*rasp_log_callback)(void *context, uint32_t level, const char *message);

// How a model is loaded. Initialise with rasp_load_options_init.
typedef struct rasp_load_options {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Not 0: read the whole file, and fail if a tensor or the header is not as it was packed (BAD_FILE, naming the
    // tensor) or a weight is no finite number. A file that was packed before there were checksums is said to have none, to
    // log.
    uint32_t verify;
    // Not 0: read the whole file at once and keep it in memory (mlock), so that no token waits for the disk and other
    // programs cannot push the weights out. OUT_OF_MEMORY if the system does not allow as much (RLIMIT_MEMLOCK),
    // UNSUPPORTED if it has no such thing or the model is in memory of the host's.
    uint32_t lock;
    // The least important level that log hears of, RASP_LOG_ERROR to RASP_LOG_DEBUG.
    uint32_t log_level;
    // Hears of what is found and chosen at load, and of sessions that are opened; NULL (the default): nobody does.
    // Nothing is ever printed.
    rasp_log_callback log;
    // Handed to log.
    void *log_context;
    // Not 0: read the whole file into memory of this process's own, in pages of 2 MB where the system has some (Linux:
    // /sys/kernel/mm/transparent_hugepage/enabled says always or madvise). It costs the file's size in memory, which no
    // other process shares, and the time to read it; sparse rows are then read faster on some processors (`rasp bench
    // --large-pages` measures what it gains), and what becomes of the file afterwards does not matter. OUT_OF_MEMORY if
    // there is not as much; UNSUPPORTED for a model in memory of the host's.
    uint32_t large_pages;
    // Always 0.
    uint32_t reserved;
} rasp_load_options;

// What a model is. Initialise with rasp_model_info_init, fill with rasp_model_get_info.
typedef struct rasp_model_info {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Tokens of the vocabulary; logits has as many numbers.
    uint32_t vocab_size;
    // Width of the residual stream.
    uint32_t hidden_size;
    // Width of the gated MLP.
    uint32_t intermediate_size;
    // Decoder blocks.
    uint32_t num_layers;
    // Query heads.
    uint32_t num_heads;
    // Key and value heads.
    uint32_t num_kv_heads;
    // Width of one head.
    uint32_t head_dim;
    // The longest context the model was trained for, in tokens.
    uint32_t context_length;
    // RASP_WEIGHTS_BF16, RASP_WEIGHTS_F16, RASP_WEIGHTS_Q8, RASP_WEIGHTS_Q4 or RASP_WEIGHTS_Q4S.
    uint32_t weight_type;
    // The sparsest setting that rasp_session_set_sparsity takes; 0 for a dense file.
    float max_sparsity;
    // The sparsity that a session starts with: what the file was packed for (rasp pack --quality), else 0.
    float default_sparsity;
    // Settings from dense to max_sparsity that the file was calibrated for; those between are interpolated.
    uint32_t num_rungs;
    // The token that begins a text, or -1 if there is none.
    int32_t bos_token;
    // Bytes of the file.
    uint64_t file_size;
    // Bytes of the blocks' linear weights, of which a sparse token reads a part.
    uint64_t linear_bytes;
    // Bytes of the head, which every token reads whole.
    uint64_t head_bytes;
    // The family, such as "llama": NUL-terminated, cut if longer.
    char architecture[32];
    // What the checkpoint calls itself: UTF-8, NUL-terminated, cut at a character if longer.
    char name[96];
} rasp_model_info;

// The memory of a session, to the byte. Initialise with rasp_memory_plan_init, fill with rasp_session_plan. The four
// parts sum to size.
typedef struct rasp_memory_plan {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // What the address of the session's memory must be a multiple of: never more than malloc's is.
    uint32_t alignment;
    // Tokens there will be room for: options.context, or what its 0 stands for.
    uint32_t context;
    // Prompt tokens that will pass together at most: options.batch, or what its 0 stands for.
    uint32_t batch;
    // Bytes of everything.
    uint64_t size;
    // Bytes of cached keys and values; they grow with the context.
    uint64_t kv_cache;
    // Bytes of what passes between the layers; they grow with batch and threads.
    uint64_t activations;
    // Bytes of logits and of candidates; they are the vocabulary's.
    uint64_t sampling;
    // Bytes of all else: the handle, tokens, thresholds, flags, and what alignment takes.
    uint64_t bookkeeping;
} rasp_memory_plan;

// A host's job system: calls job(data, part) for every part from 0 to parts - 1, each once, in any order, one after
// the other or side by side, on any threads, and returns when all have returned. What comes out does not depend on it,
// to the bit. It is called from the thread that uses the session, a hundred times and more for a token; it must not
// unwind, and must not use the session.
//
// A part that is run twice or not at all makes the call that is under way return INVALID_STATE; data must not be used
// once the session is closed.
typedef void (*rasp_run_callback)(void *context,
                                  void (*job)(void*, uint32_t),
                                  void *data,
                                  uint32_t parts);

// How a session is opened. Initialise with rasp_session_options_init.
typedef struct rasp_session_options {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Tokens there is room for; 0: the model's own limit, but at most 4096.
    uint32_t context;
    // Threads that work during a call, the caller's included; 1 (the default) starts none.
    uint32_t threads;
    // Prompt tokens that pass through the model together; 0: 128. More costs memory, fewer costs speed.
    uint32_t batch;
    // RASP_KV_F16, RASP_KV_F32 or RASP_KV_I8.
    uint32_t kv_type;
    // 0 (the default): every layer holds keys and values of all tokens. 1: layers that attend to a window (Gemma 3,
    // Mistral) hold those of their window alone, and of batch tokens more: less memory where the context is longer
    // (ask rasp_session_plan), and the same tokens and logits. What needs keys and values that are gone then returns
    // OUT_OF_RANGE and changes nothing: a rasp_session_rewind by more than about batch tokens, a rasp_session_shift
    // that keeps tokens which windows still reach, and whatever goes on after a prompt of more than batch tokens was
    // cancelled or failed (rewind to 0 and prefill anew). Forks must be opened alike, and states restored into a
    // session opened alike. Models without such layers are not affected. (Called reserved in headers before this was.)
    uint32_t windows_alone;
    // Memory of the host's that the session is to live in, aligned as rasp_session_plan says (whatever malloc gives
    // is). It is the session's until that is closed; what it held does not matter. NULL: the session allocates its
    // own.
    void *memory;
    // Bytes at memory: at least the size that rasp_session_plan says.
    size_t memory_size;
    // The host's job system, which runs the parts that work is cut into, as many as threads; then the session starts
    // no threads of its own. NULL: none.
    rasp_run_callback run;
    // What run is called with.
    void *run_context;
    // Processors that threads of the session's own are pinned to, one bit each: the first thread to the lowest, and so
    // on, round again if there are more threads. 0 (the default): none. The calling thread stays where it is. Linux
    // and Android; UNSUPPORTED elsewhere.
    uint64_t cpus;
    // Nanoseconds that threads of the session's own watch for the next call before they sleep, at most a second. 0
    // (the default): they sleep at once, and waking them takes some tens of microseconds.
    uint64_t spin_ns;
    // Room for so many drafts in a pass, at most RASP_DRAFTS_MAX; 0 (the default): none. Drafts are guesses at the
    // next tokens. They pass along with the token in hand, at little more than its price, and while they are right a
    // step only samples: the same tokens and logits, to the bit, sooner. They are looked up in the context, which pays
    // where an answer quotes, edits or repeats, and where a constraint leaves no choice they are what must come;
    // rasp_session_set_drafts says otherwise. Each takes the memory of its logits, 4 bytes a token of the vocabulary
    // (ask rasp_session_plan), and some hundred bytes that opening allocates besides.
    uint32_t drafts;
    // Room for LoRA adapters, see rasp_session_set_adapters: the sum of the ranks (rasp_adapter_info.rank) of those
    // that are set at a time; 0 (the default): none. It takes 12 bytes a rank and token of the batch, which
    // rasp_session_plan counts, and some hundred bytes that opening allocates besides. (Called reserved in headers
    // before this was.)
    uint32_t adapter_rank;
} rasp_session_options;

// A part of an answer. Its texts are UTF-8 without NULs at their ends; they are the library's, valid until the next
// call on the reply.
typedef struct rasp_reply_part {
    // What it is: one of RASP_PART_. 0: no part.
    uint32_t kind;
    // Always 0 so far.
    uint32_t reserved;
    // The text; of a call the arguments, a JSON object.
    const char *text;
    // Bytes at text.
    size_t text_length;
    // The function that a call calls; NULL for other parts.
    const char *name;
    // Bytes at name.
    size_t name_length;
    // What a call is known by, so that a message of its result can refer to it (tool_call_id): the model's own word,
    // or nine letters and digits made up where its format has none. NULL for other parts.
    const char *id;
    // Bytes at id.
    size_t id_length;
} rasp_reply_part;

// How the next token is chosen. Initialise with rasp_sampling_init: greedy. Penalties come first (repetition,
// presence, frequency, dry), then the stages in their order, then mirostat, and a draw.
typedef struct rasp_sampling {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Divides the logits, 0 to 100; 0 is greedy: the largest logit, the lowest id on a tie.
    float temperature;
    // Only the top_k largest logits stay; 0: all. With up to 64, and neither penalties nor top_n_sigma, a token reads
    // only a part of the head, as a greedy one does.
    uint32_t top_k;
    // Only the fewest tokens whose probabilities sum to at least top_p stay, above 0 to 1; 1: all.
    float top_p;
    // Only tokens at least min_p times as likely as the likeliest stay, 0 to 1; 0: all.
    float min_p;
    // Logits of recent tokens are divided by this if positive, multiplied if negative, 0.01 to 100; 1: none.
    float repetition_penalty;
    // How many of the latest tokens are recent.
    uint32_t repetition_window;
    // Always 0.
    uint32_t reserved;
    // Where the random numbers start: the same seed, model and prompt give the same tokens.
    uint64_t seed;
    // Taken from the logit of every recent token, -100 to 100; 0: none.
    float presence_penalty;
    // Taken from it as often as the token came among the recent ones, -100 to 100; 0: none.
    float frequency_penalty;
    // Only tokens whose logits are within so many standard deviations of the largest stay, 0 to 100; 0: all
    // (arXiv:2411.07641).
    float top_n_sigma;
    // Only the tokens whose surprise is nearest to the expected one stay, the fewest whose probabilities sum to at
    // least this, above 0 to 1; 1: all (locally typical sampling, arXiv:2202.00666).
    float typical_p;
    // How likely the top choices are excluded, 0 to 1: of all tokens with a probability of at least xtc_threshold the
    // least likely alone stays; 0: never.
    float xtc_probability;
    // See xtc_probability, 0 to 1, at first 0.1. Above 0.5 no two tokens have so much.
    float xtc_threshold;
    // Don't repeat yourself, 0 to 100: a token that would make a repetition of n tokens one longer loses
    // dry_multiplier * dry_base ^ (n - dry_allowed_length), for n of at least dry_allowed_length; 0: none. Repetitions
    // end at tokens with a line end, a colon, a quotation mark or an asterisk, and at special tokens.
    float dry_multiplier;
    // See dry_multiplier, 1 to 100, at first 1.75.
    float dry_base;
    // See dry_multiplier, at first 2.
    uint32_t dry_allowed_length;
    // In how many of the latest tokens repetitions are looked for, at first all.
    uint32_t dry_window;
    // The surprise a token should have, in bits, 0 to 100: tokens that surprise more than a bound are left out, and
    // the bound follows what comes, from twice this on (Mirostat 2, arXiv:2007.14966); 0: off.
    float mirostat_tau;
    // How fast the bound follows, 0 to 1, at first 0.1.
    float mirostat_eta;
    // RASP_STAGE_ numbers in the order that is wanted, and zeros; stages that are not named follow in the order of
    // their numbers. (llama.cpp has the temperature last.) A stage whose setting is off does nothing.
    uint8_t order[8];
} rasp_sampling;

// What is added to the logit of one token.
typedef struct rasp_logit_bias {
    // The token's id.
    uint32_t token;
    // -INFINITY forbids the token; else -1000000 to 1000000.
    float bias;
} rasp_logit_bias;

// Looks at the logits of the next token before it is sampled: logits points to vocab_size numbers, one a token, logit
// biases added, which the function may change; tokens to the token_count tokens so far. Both are valid until it
// returns.
//
// It returns RASP_LOGITS_SAMPLE to have a token sampled from the logits as they are then (the session's temperature
// and so on apply; -INFINITY forbids a token), or the id of the token that it chose itself.
//
// It is called once a sampled token, on the thread that called rasp_step, and must not call anything on that session
// (which returns INVALID_STATE), unwind or jump out.
typedef int32_t (*rasp_logits_callback)(void *context,
                                        float *logits,
                                        size_t vocab_size,
                                        const uint32_t *tokens,
                                        size_t token_count);

// A token and the natural logarithm of its probability.
typedef struct rasp_log_prob {
    // The token's id.
    uint32_t token;
    // At most 0.
    float log_prob;
} rasp_log_prob;

// What a session has done and what it takes. Initialise with rasp_stats_init, fill with rasp_session_get_stats.
typedef struct rasp_stats {
    // Size of this struct as the caller was compiled.
    uint32_t struct_size;
    // Tokens in the context, one that was sampled last included.
    uint32_t tokens;
    // Tokens there is room for.
    uint32_t context;
    // Sparsity of decoded tokens.
    float sparsity;
    // Bytes of memory the session takes, its own or the host's: the size that rasp_session_plan says.
    uint64_t memory;
    // Tokens that were decoded (not prefilled) since the session was opened or its statistics were cleared.
    uint64_t decoded_tokens;
    // Bytes of linear weights these have read.
    uint64_t linear_bytes_read;
    // Those bytes as a share of what as many dense tokens would have read; 1 if there were none.
    double kept;
    // Bytes of the head that were read since then: for the last token of each prompt all of it, for a token decoded
    // greedily a third to somewhat more than half.
    uint64_t head_bytes_read;
    // Units of work done since then, see rasp_prefill_within.
    uint64_t units;
    // Tokens since then that took longer than the deadline, see rasp_session_set_deadline.
    uint64_t late_tokens;
    // Drafts that have passed since then, see rasp_session_options.drafts.
    uint64_t drafted_tokens;
    // Those that were right: tokens among decoded_tokens that took no pass of their own.
    uint64_t accepted_tokens;
    // Bytes of keys and values that the session reads in memory which it shares with forks, see rasp_session_fork;
    // they are not among those of memory. 0 if it shares none.
    uint64_t shared_bytes;
} rasp_stats;

// Puts the bytes of tokens together into whole UTF-8 characters. A plain struct of the caller: set it to zeros before
// the first push; there is nothing to free.
typedef struct rasp_text_stream {
    // The start of a character; do not touch.
    uint8_t pending[3];
    // How many bytes wait; do not touch.
    uint8_t length;
} rasp_text_stream;

// The call did what it was asked.
#define RASP_OK 0

// rasp_step sampled a token that ends generation; the token is given all the same.
#define RASP_END 1

// The budget is spent and the work unfinished: the next call goes on with it.
#define RASP_PENDING 2

// A null pointer, a struct_size this library does not know, or an option outside its range.
#define RASP_ERROR_INVALID_ARGUMENT (-1)

// The operating system refused to open, read or map a file.
#define RASP_ERROR_IO (-2)

// The bytes are not a well-formed .rasp file.
#define RASP_ERROR_BAD_FILE (-3)

// The file is of a format version this library does not read.
#define RASP_ERROR_UNSUPPORTED_VERSION (-4)

// The architecture, tensor type or tokenizer is none this library knows.
#define RASP_ERROR_UNSUPPORTED (-5)

// A token id, sparsity or size lies outside what the model allows.
#define RASP_ERROR_OUT_OF_RANGE (-6)

// The session's context has no room for the tokens.
#define RASP_ERROR_CONTEXT_FULL (-7)

// The caller's buffer is too small; the needed size has been written.
#define RASP_ERROR_BUFFER_TOO_SMALL (-8)

// A NaN or an infinity where a finite number must stand.
#define RASP_ERROR_NON_FINITE (-9)

// rasp_cancel was called.
#define RASP_ERROR_CANCELLED (-10)

// Memory could not be had.
#define RASP_ERROR_OUT_OF_MEMORY (-11)

// The call does not fit the session's state: a step before any token was fed, or a session in use by another thread.
#define RASP_ERROR_INVALID_STATE (-12)

// Text that must be UTF-8 is not.
#define RASP_ERROR_INVALID_UTF8 (-13)

// The chat template is missing or failed.
#define RASP_ERROR_TEMPLATE (-14)

// A defect of this library, caught before it reached the host.
#define RASP_ERROR_INTERNAL (-15)

// The bytes are no saved session, or one that is damaged or of another model.
#define RASP_ERROR_BAD_STATE (-16)

#ifdef __cplusplus
extern "C" {
#endif // __cplusplus

// Version of the library, such as "0.1.0". A static string; never null. Safe from any thread.
const char *rasp_version(void);

// Version of the binary interface: 1, as in the soname. It changes only when a program compiled against an older header
// would misbehave. Safe from any thread.
uint32_t rasp_abi_version(void);

// Prepares info for rasp_adapter_get_info. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// info is NULL or points to a rasp_adapter_info.
void rasp_adapter_info_init(struct rasp_adapter_info *info);

// Maps the adapter at path (UTF-8), a file that `rasp pack-adapter` made, for sessions of this model and of others of
// its shape, whatever their weights are stored as. All of it is read and checked. The file must not be shortened or
// rewritten while the adapter is in use.
//
// On success *adapter is the new adapter, to be given back with rasp_adapter_free; on an error it is NULL. Allocates.
// Safe from any thread. Errors: IO, BAD_FILE, UNSUPPORTED_VERSION, NON_FINITE, INVALID_ARGUMENT (it is for models of
// another shape, too), INVALID_UTF8, OUT_OF_MEMORY.
//
// Pointers:
// model is NULL or alive; path is NULL or NUL-terminated; adapter and error are NULL or valid for writes.
rasp_status rasp_adapter_load(const struct rasp_model *model,
                              const char *path,
                              struct rasp_adapter **adapter,
                              struct rasp_error *error);

// Uses an adapter's file that lies in memory: size bytes at data, an address that is a multiple of 8. The bytes are
// used in place: they must stay as they are until the adapter is freed and no session has it set.
//
// Otherwise as rasp_adapter_load, the errors too. Allocates. Safe from any thread.
//
// Pointers:
// data is NULL or valid for reads of size bytes for as long as the adapter is in use; the rest as for
// rasp_adapter_load.
rasp_status rasp_adapter_load_bytes(const struct rasp_model *model,
                                    const void *data,
                                    size_t size,
                                    struct rasp_adapter **adapter,
                                    struct rasp_error *error);

// Maps an adapter's file inside a file that the host has open: file, offset and length as for rasp_load_fd.
//
// Otherwise as rasp_adapter_load. Allocates. Safe from any thread. Errors: also OUT_OF_RANGE (bytes beyond the end of
// the file).
//
// Pointers:
// file is open, or no descriptor at all; the rest as for rasp_adapter_load.
rasp_status rasp_adapter_load_fd(const struct rasp_model *model,
                                 int64_t file,
                                 uint64_t offset,
                                 uint64_t length,
                                 struct rasp_adapter **adapter,
                                 struct rasp_error *error);

// Frees an adapter. NULL is allowed and does nothing. Sessions that have it set keep what they need. Does not
// allocate. Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
//
// Pointers:
// adapter is NULL or has not been freed; it is not used afterwards.
rasp_status rasp_adapter_free(struct rasp_adapter *adapter);

// Tells what an adapter is. Does not allocate. Safe from any thread. Errors: INVALID_ARGUMENT.
//
// Pointers:
// adapter is NULL or has not been freed; info is NULL or initialised; error is NULL or valid for writes.
rasp_status rasp_adapter_get_info(const struct rasp_adapter *adapter,
                                  struct rasp_adapter_info *info,
                                  struct rasp_error *error);

// Sets the adapters that tokens pass with from now on, count of them, each with the scale that multiplies what it
// adds: 1 is as it was trained, 0 adds nothing. scales NULL: 1 for all. They take the place of those before; count 0:
// the model alone. The session must have been opened with room for their ranks (rasp_session_options.adapter_rank).
//
// What has passed stays as it is: keys, values and logits, so that the text so far is read as it was. A token that has
// to pass again (after a rasp_session_rewind) does so with the adapters of that moment. Sessions of one
// rasp_step_batch may have different ones. A fork has those of its parent; a saved state has none, and a session that
// restores one keeps its own.
//
// Does not allocate. Adapters can change between any two tokens. On an error those before stay. Errors: OUT_OF_RANGE
// (more than RASP_ADAPTERS_MAX, or than there is room for), INVALID_ARGUMENT (a scale that is no finite number, an
// adapter for models of another shape), INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; adapters is NULL or valid for reads of count handles, none of which has been freed; scales
// is NULL or valid for reads of count numbers; error is NULL or valid for writes.
rasp_status rasp_session_set_adapters(struct rasp_session *session,
                                      const struct rasp_adapter *const *adapters,
                                      const float *scales,
                                      size_t count,
                                      struct rasp_error *error);

// Sets the strings that end an answer of rasp_step_text from now on: count of them, UTF-8, NUL-terminated, none of them
// empty. They replace what was set before, and a count of 0 clears it. What was held back is forgotten.
//
// A string is looked for in the text of the answer, wherever its tokens cut it, not in the prompt. The name of a special
// token is no text unless rasp_step_text shows it; those that end a turn end an answer anyway.
//
// The strings are copied. Does not allocate. On an error the old ones stay. Errors: OUT_OF_RANGE (more than RASP_STOP_MAX
// or RASP_STOP_MAX_BYTES), INVALID_UTF8, INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; strings is NULL or valid for reads of count pointers, each NULL or to a NUL-terminated string;
// error is NULL or valid for writes.
rasp_status rasp_session_set_stop(struct rasp_session *session,
                                  const char *const *strings,
                                  size_t count,
                                  struct rasp_error *error);

// Samples the next token of an answer as rasp_step does, and writes the text that can be shown now to text, without a
// NUL, and its length to *length: whole characters of UTF-8 (what is none comes out as U+FFFD), nothing of a stop string
// and nothing that can still become part of one, special tokens only with RASP_TEXT_SHOW_SPECIAL or _MARKS. It is often no text at
// all. An answer begins after rasp_prefill or rasp_session_reset.
//
// RASP_END at the end of the answer, which may come with its last text: what was held back is written then, but a stop
// string and what followed it are not. *ended says why: one of RASP_ENDED_; ended may be NULL. A full context is such an
// end here and no error. To end an answer yourself, after so many tokens for one, call rasp_finish_text.
//
// A chat's loop:
//
// ```c
// do {
//     status = rasp_step_text(session, 0, text, sizeof text, &length, NULL, &error);
//     fwrite(text, 1, length, stdout);
// } while (status == RASP_OK);
// ```
//
// Does not allocate. On an error *length is 0, nothing has been appended and what is held back stays. Errors:
// BUFFER_TOO_SMALL (capacity is less than RASP_STEP_TEXT_SIZE; *length is then that), and those of rasp_step but for
// CONTEXT_FULL.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; text is NULL or valid for writes of capacity bytes; ended is NULL, or it, length and error are
// NULL or valid for writes.
rasp_status rasp_step_text(struct rasp_session *session,
                           uint32_t flags,
                           char *text,
                           size_t capacity,
                           size_t *length,
                           uint32_t *ended,
                           struct rasp_error *error);

// As much of rasp_step_text as budget_ns nanoseconds allow, as for rasp_step_within: RASP_PENDING (a success) if the token is
// not there yet; *length is then 0, *ended RASP_ENDED_NOT, and the next call goes on. Else RASP_OK or RASP_END. What is left
// of a prompt that rasp_prefill_begin began passes first. The text is that of rasp_step_text, however it is cut. A game
// whose characters speak calls it once a frame.
//
// While it is pending the session takes this call and those that rasp_step_within names; a token that one of them finishes
// is not part of the text. Does not allocate. Errors as for rasp_step_text.
//
// Threads: one call at a time on a session.
//
// Pointers:
// As for rasp_step_text.
rasp_status rasp_step_text_within(struct rasp_session *session,
                                  uint64_t budget_ns,
                                  uint32_t flags,
                                  char *text,
                                  size_t capacity,
                                  size_t *length,
                                  uint32_t *ended,
                                  struct rasp_error *error);

// Writes the text that rasp_step_text holds back to text, without a NUL, and its length to *length: for a host that ends
// an answer before the model does. Nothing is held back afterwards.
//
// Does not allocate. Errors: BUFFER_TOO_SMALL (capacity is less than RASP_STEP_TEXT_SIZE; *length is then that),
// INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; text is NULL or valid for writes of capacity bytes; length and error are NULL or valid for
// writes.
rasp_status rasp_finish_text(struct rasp_session *session,
                             char *text,
                             size_t capacity,
                             size_t *length,
                             struct rasp_error *error);

// rasp_step of count sessions over one model at once, in which the weights are read once for all of them: several
// characters or requests cost far less together than one after the other. Every session keeps its own text, sampling,
// sparsity, biases, constraint, callback, cache and statistics, and ends in the state, and with the token, that a rasp_step
// of its own would have given, to the bit.
//
// What became of each is in statuses: RASP_OK or RASP_END, with its token in tokens; or an error as of rasp_step (a full
// context, say), which leaves that session as it was and does not disturb the others. tokens of sessions that failed are
// left alone. Sessions that are in the middle of a prompt or a token finish that first, one after the other.
//
// Returns RASP_OK if all have stepped (RASP_END too is found in statuses alone), and else the status of the first that has
// not; error says which. A call that cannot be (a session that is NULL, given twice, in use by another thread or of another
// model than the first) does nothing, and has its error in all statuses.
//
// The first session's threads (or its run callback) and memory do the work: as many sessions pass together as a quarter of
// its options.batch, at most 32, and then those that follow; open it accordingly. rasp_cancel on one of the sessions ends
// its step when the others are done (a session that has passed its token by then has it all the same); on all of them,
// within a unit of work. rasp_stats.units are counted at the first session; a deadline counts the time of the whole pass.
//
// A count of 0 does nothing. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE, and those of rasp_step.
//
// Threads: one call at a time on a session.
//
// Pointers:
// sessions is NULL or valid for reads of count pointers, each NULL or to an open session; tokens and statuses are NULL or
// valid for writes of count elements; error is NULL or valid for writes.
rasp_status rasp_step_batch(struct rasp_session *const *sessions,
                            size_t count,
                            uint32_t *tokens,
                            rasp_status *statuses,
                            struct rasp_error *error);

// Sets options to their defaults. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// options is NULL or points to a rasp_chat_options.
void rasp_chat_options_init(struct rasp_chat_options *options);

// Puts count messages into the model's own chat format and turns that into tokens: at most capacity of them are
// written to tokens, and their number always to *found, so that a first call with capacity 0 tells how many there are.
// options NULL: the defaults. Prefill with the tokens as they are: the template writes a BOS token where there is to
// be one.
//
// What messages and variables say is text, whatever it looks like: special tokens are recognised in the template's own
// words alone, and a message neither makes one nor breaks one. Of messages without names of special tokens the tokens
// are those of rasp_chat_format and RASP_TOKENIZE_PARSE_SPECIAL. A role of ASCII letters, digits, _ and - may be part
// of a special token of the template's (<|user|>): which roles there are is the host's to say.
//
// The template is the file's, and is trusted with nothing: it is compiled now, not at load, and what it may make and
// do is bounded. One that cannot be used costs the chat, not the model. Numbers in fields and variables have 64 bits;
// lists and objects there may lie 22 deep.
//
// Allocates. Safe from any thread. Errors: TEMPLATE (there is none, it is wrong, refuses the messages or asks for too
// much), BUFFER_TOO_SMALL (nothing is written but *found), INVALID_UTF8, INVALID_ARGUMENT (fields or variables are no
// JSON object, too), OUT_OF_MEMORY.
//
// Pointers:
// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
// reads of their lengths; options is NULL or valid, as its text is; tokens is NULL or valid for writes of capacity
// ids; found and error are NULL or valid for writes.
rasp_status rasp_chat_tokenize(const struct rasp_model *model,
                               const struct rasp_chat_message *messages,
                               size_t count,
                               const struct rasp_chat_options *options,
                               uint32_t *tokens,
                               size_t capacity,
                               size_t *found,
                               struct rasp_error *error);

// The text that rasp_chat_tokenize makes tokens of, to be looked at: at most capacity bytes of UTF-8 are written to
// text, without a NUL, and their number always to *length. Do not tokenize it: it does not tell the template's own
// tokens from what a message says.
//
// Allocates. Safe from any thread. Errors: those of rasp_chat_tokenize.
//
// Pointers:
// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
// reads of their lengths; options is NULL or valid, as its text is; text is NULL or valid for writes of capacity
// bytes; length and error are NULL or valid for writes.
rasp_status rasp_chat_text(const struct rasp_model *model,
                           const struct rasp_chat_message *messages,
                           size_t count,
                           const struct rasp_chat_options *options,
                           char *text,
                           size_t capacity,
                           size_t *length,
                           struct rasp_error *error);

// Puts count messages into the model's own chat format: at most capacity bytes of UTF-8 are written to text, without a
// NUL, and their number always to *length. add_generation_prompt not 0: end with what makes the model answer. Tokenize
// the result with RASP_TOKENIZE_PARSE_SPECIAL.
//
// It cannot promise who speaks: a message that holds the template's own tokens (<|im_end|>, say) reads as if the
// template had written them, so a user can open a turn of the system's. Use rasp_chat_tokenize for messages of others;
// it also takes texts with NULs, tools and all else that templates know.
//
// The template is the file's, and is trusted with nothing: it is compiled now, not at load, and what it may make and
// do is bounded. One that cannot be used costs the chat, not the model.
//
// Allocates. Safe from any thread. Errors: TEMPLATE (there is none, it is wrong, refuses the messages or asks for too
// much), BUFFER_TOO_SMALL (nothing is written but *length), INVALID_UTF8, INVALID_ARGUMENT, OUT_OF_MEMORY.
//
// Pointers:
// model is NULL or alive; messages is NULL or valid for reads of count messages, whose strings are NULL or
// NUL-terminated; text is NULL or valid for writes of capacity bytes; length and error are NULL or valid for writes.
rasp_status rasp_chat_format(const struct rasp_model *model,
                             const struct rasp_message *messages,
                             size_t count,
                             int32_t add_generation_prompt,
                             char *text,
                             size_t capacity,
                             size_t *length,
                             struct rasp_error *error);

// Compiles a constraint for a model: length bytes of UTF-8 at source, written in what kind says, one of
// RASP_CONSTRAINT_. The source is not kept.
//
// On success *constraint is the new constraint, to be given back with rasp_constraint_free; on an error it is NULL.
// The first constraint of a model takes some milliseconds and megabytes more than others.
//
// Allocates. Safe from any thread. Errors: UNSUPPORTED (a library built lean, without the cargo feature
// constrained, or a model without an end token), INVALID_ARGUMENT (naming what is wrong with the source, or that no
// text fits it), INVALID_UTF8, OUT_OF_MEMORY.
//
// Pointers:
// model is NULL or alive; source is NULL or valid for reads of length bytes; constraint and error are NULL or valid
// for writes.
rasp_status rasp_constraint_new(const struct rasp_model *model,
                                uint32_t kind,
                                const char *source,
                                size_t length,
                                struct rasp_constraint **constraint,
                                struct rasp_error *error);

// Frees a constraint. NULL is allowed and does nothing. Sessions that use it keep what they need. Does not allocate.
// Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
//
// Pointers:
// constraint is NULL or has not been freed; it is not used afterwards.
rasp_status rasp_constraint_free(struct rasp_constraint *constraint);

// Has every answer from now on obey a constraint, which must be of the session's model; NULL ends that. An answer
// begins with this call, and anew with each rasp_prefill and rasp_session_reset; tokens given to rasp_decode are part
// of it. The constraint applies after logit biases; what a logits callback does cannot undo it. Where the answer may
// end, end tokens are allowed; where it can only end one comes, and rasp_step returns RASP_END.
//
// It bounds the form of an answer, not its length: see to it that the source does, or end it yourself.
//
// Allocates, and so do every step, shift and fork while a constraint is set. Errors: INVALID_ARGUMENT, INVALID_STATE,
// UNSUPPORTED, OUT_OF_MEMORY. A step under a constraint can also return INVALID_STATE (tokens of the host's do not fit
// it, or no text fits from here on), UNSUPPORTED (it takes more work than its limits allow), INVALID_ARGUMENT (biases
// or the callback forbid all that it allows) and OUT_OF_MEMORY; nothing has been appended then. For the time of a step
// it wants some 32 MB of address space, more for a large constraint; memory of it is used only where the system has no
// other.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; constraint is NULL or has not been freed; error is NULL or valid for writes.
rasp_status rasp_session_set_constraint(struct rasp_session *session,
                                        const struct rasp_constraint *constraint,
                                        struct rasp_error *error);

// Makes the session hold a conversation, all of it, up to where the assistant speaks next: count messages in the
// model's own chat format, tokens as rasp_chat_tokenize makes them. The longest beginning that the session holds
// already stays and does not pass again; what it holds beyond that is forgotten (an answer that is to be made anew, a
// message that was changed), and the rest passes as by rasp_prefill. So a host gives all messages each turn, and each
// token passes once. *kept, if it is not NULL, gets the number of tokens that stayed.
//
// Answers come back as text, which might be cut into other tokens than those that were sampled: the session keeps its
// own as long as the text is the same, as they passed, at the sparsity that they were sampled at. So give answers back
// as they came. (Templates that leave out what was thought, or trim what was said, end what stays there.) Settings
// stay: sparsity, sampling, adapters; a constraint and stop strings are about the answer that comes next.
//
// Allocates for the text and its tokens. Errors: TEMPLATE, INVALID_UTF8, INVALID_ARGUMENT, OUT_OF_MEMORY, CONTEXT_FULL
// (there is no room: leave out old messages), and nothing has changed; those of rasp_prefill, CANCELLED for one, and
// the session holds what stayed.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
// reads of their lengths; options is NULL or valid, as its text is; kept and error are NULL or valid for writes.
rasp_status rasp_chat_prefill(struct rasp_session *session,
                              const struct rasp_chat_message *messages,
                              size_t count,
                              const struct rasp_chat_options *options,
                              size_t *kept,
                              struct rasp_error *error);

// The same without computing anything yet: rasp_prefill_within and rasp_step_within do, as after rasp_prefill_begin.
// Where all of it stays there is nothing to compute, and rasp_step_within may follow at once.
//
// Allocates for the text and its tokens. Errors: as rasp_chat_prefill.
//
// Threads: one call at a time on a session.
//
// Pointers:
// As for rasp_chat_prefill.
rasp_status rasp_chat_prefill_begin(struct rasp_session *session,
                                    const struct rasp_chat_message *messages,
                                    size_t count,
                                    const struct rasp_chat_options *options,
                                    size_t *kept,
                                    struct rasp_error *error);

// Tells which tokens a session holds, one that was sampled last included: at most capacity ids are written to tokens,
// and their number always to *found.
//
// Does not allocate. Errors: BUFFER_TOO_SMALL (nothing is written but *found), INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; tokens is NULL or valid for writes of capacity ids; found and error are NULL or valid for
// writes.
rasp_status rasp_session_tokens(struct rasp_session *session,
                                uint32_t *tokens,
                                size_t capacity,
                                size_t *found,
                                struct rasp_error *error);

// Sets what the next tokens are guessed by from now on, and how many at a time. A session that was opened with room
// for drafts begins with RASP_DRAFTS_LOOKUP, RASP_DRAFTS_FORCED and as many as there is room for.
//
// Drafts pass along with the token in hand, and while they are right a step only samples: tokens, logits and random
// numbers are those without drafts, to the bit, but a long step is followed by short ones. How many pass is decided by
// how often they have been right, never by time; none do where they do not pay, and with a deadline
// (rasp_session_set_deadline).
//
// kinds: RASP_DRAFTS_ bits, 0 for none. most: drafts of a pass, no more than rasp_session_options.drafts. tokens:
// count tokens of a text that answers may quote (a file that is being edited, a log, the fixed parts of an answer),
// looked into beside the context; it is copied, in 12 to 16 bytes a token that are no part of the session's plan, and
// takes the place of the one before.
//
// Allocates if count is not 0. On an error what was set before stays. Errors: OUT_OF_RANGE (more drafts than there is
// room for, or an id that is none), OUT_OF_MEMORY, INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
rasp_status rasp_session_set_drafts(struct rasp_session *session,
                                    uint32_t kinds,
                                    uint32_t most,
                                    const uint32_t *tokens,
                                    size_t count,
                                    struct rasp_error *error);

// Turns count tokens into one vector: at most capacity numbers are written to vector, and their number, the hidden_size of
// rasp_model_info, to *size. A token's vector is what the head would take of it: the hidden states after the last block
// and the final norm. pooling: RASP_POOL_MEAN or RASP_POOL_LAST; flags: RASP_EMBED_ bits. It is computed densely.
//
// The session must hold no tokens (fresh, or after rasp_session_reset), and holds none afterwards, so that one session
// can embed one text after another. Does not allocate. Errors: INVALID_STATE (it holds tokens), BUFFER_TOO_SMALL (nothing
// is computed, *size is the number needed), CONTEXT_FULL, OUT_OF_RANGE (an id), INVALID_ARGUMENT (no tokens, unknown
// pooling or flags), CANCELLED, NON_FINITE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; tokens is NULL or valid for reads of count ids; vector is NULL or valid for writes of capacity
// numbers; size and error are NULL or valid for writes.
rasp_status rasp_embed(struct rasp_session *session,
                       const uint32_t *tokens,
                       size_t count,
                       uint32_t pooling,
                       uint32_t flags,
                       float *vector,
                       size_t capacity,
                       size_t *size,
                       struct rasp_error *error);

// A short name of a status, such as "context full". A static string; never null, also for an unknown status. Safe from
// any thread.
const char *rasp_status_name(rasp_status status);

// Sets options to their defaults, but for what came after log_context. NULL is allowed and does nothing.
//
// Programs that were compiled with a header in which log_context was the last field call this; those that are compiled with
// this one call rasp_load_options_init_2, by a macro of this name.
//
// Threads: safe from any thread.
//
// Pointers:
// options is NULL or points to a rasp_load_options, or to as much of one as ends with log_context.
void rasp_load_options_init(struct rasp_load_options *options);

// Sets options to their defaults; written rasp_load_options_init. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// options is NULL or points to a rasp_load_options.
void rasp_load_options_init_2(struct rasp_load_options *options);

// Prepares info for rasp_model_get_info. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// info is NULL or points to a rasp_model_info.
void rasp_model_info_init(struct rasp_model_info *info);

// Maps the .rasp file at path (UTF-8) and checks it. Weights are read from disk as they are first used; the file must
// not be shortened or rewritten while the model lives (replace it by renaming a new one over it).
//
// options may be NULL for the defaults. The environment variable RASP_ISA (scalar, avx2, avx_vnni, avx512, avx512_vnni,
// neon, neon_dotprod, neon_i8mm) forces an instruction set; the functions that load a model are the only ones that read
// the environment.
//
// On success *model is the new model, to be given back with rasp_free; on an error it is NULL. Allocates. Errors: IO,
// BAD_FILE, UNSUPPORTED_VERSION, UNSUPPORTED, NON_FINITE, INVALID_ARGUMENT, OUT_OF_MEMORY.
//
// Threads: safe from any thread.
//
// Pointers:
// path is NULL or NUL-terminated; options is NULL or initialised, its log and log_context usable until the model and its
// sessions are gone; model and error are NULL or valid for writes.
rasp_status rasp_load(const char *path,
                      const struct rasp_load_options *options,
                      struct rasp_model **model,
                      struct rasp_error *error);

// Uses a .rasp file that lies in memory: size bytes at data, an address that is a multiple of 8 (64 is best). The bytes
// are used in place: they must stay as they are until the model and all its sessions are gone.
//
// Otherwise as rasp_load, the errors too. Allocates.
//
// Threads: safe from any thread.
//
// Pointers:
// data is NULL or valid for reads of size bytes for as long as the model lives; the rest as for rasp_load.
rasp_status rasp_load_bytes(const void *data,
                            size_t size,
                            const struct rasp_load_options *options,
                            struct rasp_model **model,
                            struct rasp_error *error);

// Maps a .rasp file inside a file that the host has open, such as an archive (a pak, an APK) in which it lies uncompressed:
// length bytes from offset on; a length of 0 means to the end of the file. The file need not stay open; its content must
// stay as for rasp_load.
//
// file is a POSIX file descriptor, or on Windows a HANDLE from CreateFile: (int64_t)(intptr_t)handle. It must be readable
// and a regular file; its position is neither used nor moved.
//
// offset must be a multiple of 4. Make it one of 64 if you can: then rows of weights lie on cache lines, as in a file of
// their own. (zipalign aligns to 4 by default; it takes 64 as well.)
//
// Otherwise as rasp_load. Allocates. Errors: also OUT_OF_RANGE (bytes beyond the end of the file).
//
// Threads: safe from any thread.
//
// Pointers:
// file is open, or no descriptor at all; the rest as for rasp_load.
rasp_status rasp_load_fd(int64_t file,
                         uint64_t offset,
                         uint64_t length,
                         const struct rasp_load_options *options,
                         struct rasp_model **model,
                         struct rasp_error *error);

// Takes one more reference to a model, to be given back with rasp_free. NULL is allowed and does nothing. Does not
// allocate. Safe from any thread. Always RASP_OK, but for the check described at rasp_free.
//
// Pointers:
// model is NULL or a model that has not been given back.
rasp_status rasp_model_retain(const struct rasp_model *model);

// Gives back one reference to a model; the last one frees it. NULL is allowed and does nothing. Sessions that are still
// open keep what they need. Does not allocate. Safe from any thread. Always RASP_OK, but for the check below, so it may
// be ignored.
//
// To use a handle after its last reference was given back, or to give that back twice, is undefined, as with any free.
// A library built for debugging (or with the feature handle-checks) keeps a list of the handles that are alive, and
// every function returns INVALID_ARGUMENT for one that is not in it. That is for finding mistakes, not for living with
// them: a handle that another thread frees during the call, or whose address a new handle has taken, goes unnoticed.
//
// Pointers:
// model is NULL or a reference that has not been given back.
rasp_status rasp_free(struct rasp_model *model);

// Tells what a model is. Does not allocate. Errors: INVALID_ARGUMENT.
//
// Threads: safe from any thread.
//
// Pointers:
// model is NULL or alive; info is NULL or initialised; error is NULL or valid for writes.
rasp_status rasp_model_get_info(const struct rasp_model *model,
                                struct rasp_model_info *info,
                                struct rasp_error *error);

// Prepares a plan for rasp_session_plan. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// plan is NULL or points to a rasp_memory_plan.
void rasp_memory_plan_init(struct rasp_memory_plan *plan);

// Tells to the byte what a session opened with these options will take, in memory of its own or of the host's
// (options.memory is not looked at). options may be NULL for the defaults.
//
// With threads above 1 the session's own threads come on top: their stacks, which the system's default sizes, and a few
// hundred bytes of bookkeeping for each. With one thread there is nothing else.
//
// Does not allocate. Safe from any thread. Errors: those of rasp_session_open, but for memory.
//
// Pointers:
// model is NULL or alive; options is NULL or initialised; plan is NULL or initialised; error is NULL or valid for
// writes.
rasp_status rasp_session_plan(const struct rasp_model *model,
                              const struct rasp_session_options *options,
                              struct rasp_memory_plan *plan,
                              struct rasp_error *error);

// Begins to tell an answer apart. Give it the messages and options that rasp_chat_tokenize made the prompt of: the
// model's template says in which format tools are called and thoughts are written, its prompt whether the answer
// begins with a thought, and the tools among the variables which arguments are texts.
//
// An answer's way through it:
//
// ```c
// do {
//     status = rasp_step_text(session, RASP_TEXT_SHOW_MARKS, text, sizeof text, &length, NULL, &error);
//     if (status >= 0 && rasp_reply_push(reply, text, length, &error) < 0) break;
//     if (status == RASP_END) rasp_reply_finish(reply, &error);
//     while (rasp_reply_next(reply, &part, NULL) == RASP_OK)
//         if (part.kind == RASP_PART_TEXT) fwrite(part.text, 1, part.text_length, stdout);
// } while (status == RASP_OK);
// ```
//
// A model whose template teaches no format that the library knows has answers of text alone.
//
// On success *reply is the new reply, to be given back with rasp_reply_free; on an error it is NULL. It keeps the
// model, and nothing of what it was given. Allocates. Safe from any thread. Errors: those of rasp_chat_tokenize.
//
// Pointers:
// model is NULL or alive; messages is NULL or valid for reads of count messages, whose texts are NULL or valid for
// reads of their lengths; options is NULL or valid, as its text is; reply and error are NULL or valid for writes.
rasp_status rasp_reply_new(const struct rasp_model *model,
                           const struct rasp_chat_message *messages,
                           size_t count,
                           const struct rasp_chat_options *options,
                           struct rasp_reply **reply,
                           struct rasp_error *error);

// Takes more of the answer, length bytes of UTF-8 at text: what rasp_step_text and rasp_finish_text write with
// RASP_TEXT_SHOW_MARKS. With it special tokens that the model's format is made of are text, and others are none.
//
// Allocates. Errors: INVALID_UTF8, INVALID_ARGUMENT, INVALID_STATE (the answer is finished), OUT_OF_MEMORY (some of
// the answer is lost; all that can be done with the reply is to read what it has and free it).
//
// Threads: one call at a time on a reply.
//
// Pointers:
// reply is NULL or has not been freed; text is NULL or valid for reads of length bytes; error is NULL or valid for
// writes.
rasp_status rasp_reply_push(struct rasp_reply *reply,
                            const char *text,
                            size_t length,
                            struct rasp_error *error);

// Takes a token of the answer instead of text, as rasp_step and rasp_step_batch give them: a host pushes the one or
// the other. Tokens that end an answer, and special ones that mark nothing, add nothing.
//
// Allocates. Errors: OUT_OF_RANGE, and those of rasp_reply_push.
//
// Threads: one call at a time on a reply.
//
// Pointers:
// reply is NULL or has not been freed; error is NULL or valid for writes.
rasp_status rasp_reply_push_token(struct rasp_reply *reply,
                                  uint32_t token,
                                  struct rasp_error *error);

// Ends the answer: what was held back is known now, as text, or as a call whose end the model left out. To be called
// once the answer has ended, before its last parts are taken. A second time it does nothing.
//
// Allocates. Errors: INVALID_ARGUMENT, INVALID_STATE, OUT_OF_MEMORY.
//
// Threads: one call at a time on a reply.
//
// Pointers:
// reply is NULL or has not been freed; error is NULL or valid for writes.
rasp_status rasp_reply_finish(struct rasp_reply *reply,
                              struct rasp_error *error);

// Writes the next part of what is known of the answer to *part. RASP_OK: there was one. RASP_PENDING (a success):
// there is none until more is pushed. RASP_END: there is none, and the answer is finished. In these cases and on
// errors part->kind is 0.
//
// Text and reasoning come in pieces, as early as it is sure that they are no part of a call; a call comes once, when
// it is whole. A call that is none (broken JSON, an answer that was cut) comes as the text that it is.
//
// Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a reply.
//
// Pointers:
// reply is NULL or has not been freed; part and error are NULL or valid for writes.
rasp_status rasp_reply_next(struct rasp_reply *reply,
                            struct rasp_reply_part *part,
                            struct rasp_error *error);

// Writes what is known of the whole answer as one message, a JSON object: content, and reasoning_content and
// tool_calls where there are some, as templates expect them. With role "assistant" and this as its fields (content
// NULL) a rasp_chat_message puts the answer into the conversation. At most capacity bytes of UTF-8 are written to
// json, without a NUL, and their number always to *length.
//
// Allocates. Errors: BUFFER_TOO_SMALL (nothing is written but *length), INVALID_ARGUMENT, INVALID_STATE,
// OUT_OF_MEMORY.
//
// Threads: one call at a time on a reply.
//
// Pointers:
// reply is NULL or has not been freed; json is NULL or valid for writes of capacity bytes; length and error are NULL
// or valid for writes.
rasp_status rasp_reply_message(struct rasp_reply *reply,
                               char *json,
                               size_t capacity,
                               size_t *length,
                               struct rasp_error *error);

// Frees a reply. NULL is allowed and does nothing. Does not allocate. Safe from any thread. RASP_OK, INVALID_STATE
// where another call is using it, or what the check described at rasp_free finds.
//
// Pointers:
// reply is NULL or has not been freed; it is not used afterwards.
rasp_status rasp_reply_free(struct rasp_reply *reply);

// Sets sampling to its defaults, but for what came after seed. NULL is allowed and does nothing.
//
// Programs that were compiled with a header in which seed was the last field call this; those that are compiled with
// this one call rasp_sampling_init_2, by a macro of this name.
//
// Threads: safe from any thread.
//
// Pointers:
// sampling is NULL or points to a rasp_sampling, or to as much of one as ends with seed.
void rasp_sampling_init(struct rasp_sampling *sampling);

// Sets sampling to its defaults, greedy; written rasp_sampling_init. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// sampling is NULL or points to a rasp_sampling.
void rasp_sampling_init_2(struct rasp_sampling *sampling);

// Sets how tokens are chosen from now on, and starts the random numbers of its seed. NULL: greedy. Does not allocate.
// Errors: INVALID_ARGUMENT (naming the field), INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; sampling is NULL or initialised; error is NULL or valid for writes.
rasp_status rasp_session_set_sampling(struct rasp_session *session,
                                      const struct rasp_sampling *sampling,
                                      struct rasp_error *error);

// Sets what is added to the logits of count tokens from now on, before anything else is done with them; it replaces
// what was set before, and a count of 0 clears it. A token that is named twice gets both. Forbidding special tokens,
// such as those that end a text (rasp_token_is_end), is a use of it.
//
// The biases are copied. Does not allocate. On an error the old ones stay. Errors: OUT_OF_RANGE (more than
// RASP_LOGIT_BIAS_MAX, or an id that is none), INVALID_ARGUMENT (a NaN, an infinity that is not negative or a number
// beyond the range above), INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; biases is NULL or valid for reads of count entries; error is NULL or valid for writes.
rasp_status rasp_session_set_logit_bias(struct rasp_session *session,
                                        const struct rasp_logit_bias *biases,
                                        size_t count,
                                        struct rasp_error *error);

// Has a function of the host's look at the logits before every sampled token; NULL ends that. context is handed to it.
// While there is a callback or a logit bias, greedy decoding reads the whole head.
//
// A step during which the function leaves a NaN or +INFINITY returns NON_FINITE, one at which every token is -INFINITY
// INVALID_ARGUMENT, one for which it returns an id that is none OUT_OF_RANGE; nothing has been appended then, and the
// next step asks again. rasp_logits keeps showing the model's own logits.
//
// The context is the host's, and must live as long as the callback is set or the session open. Does not allocate.
// Errors: INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; callback is NULL or does what rasp_logits_callback says; error is NULL or valid for writes.
rasp_status rasp_session_set_logits_callback(struct rasp_session *session,
                                             rasp_logits_callback callback,
                                             void *context,
                                             struct rasp_error *error);

// How likely the model finds a token after the last one that passed through it, into *log_prob, and which count tokens
// it finds likeliest, into top, the likeliest first. After a rasp_step that is the token that came, which has not
// passed. By the model's own logits, as rasp_logits shows them: biases, constraints, penalties and temperature are not
// in them.
//
// top may be NULL if count is 0. Does not allocate. Errors: OUT_OF_RANGE (an id that is none, or count beyond the
// vocabulary), INVALID_STATE (no prompt yet), INVALID_ARGUMENT, NON_FINITE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; top is NULL or valid for writes of count structs; log_prob and error are NULL or valid for
// writes.
rasp_status rasp_log_probs(struct rasp_session *session,
                           uint32_t token,
                           float *log_prob,
                           struct rasp_log_prob *top,
                           size_t count,
                           struct rasp_error *error);

// Sets options to their defaults, but for what came after spin_ns. NULL is allowed and does nothing.
//
// Programs that were compiled with a header in which spin_ns was the last field call this; those that are compiled
// with this one call rasp_session_options_init_2, by a macro of this name.
//
// Threads: safe from any thread.
//
// Pointers:
// options is NULL or points to a rasp_session_options, or to as much of one as ends with spin_ns.
void rasp_session_options_init(struct rasp_session_options *options);

// Sets options to their defaults; written rasp_session_options_init. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// options is NULL or points to a rasp_session_options.
void rasp_session_options_init_2(struct rasp_session_options *options);

// Prepares stats for rasp_session_get_stats, but for what came after late_tokens. NULL is allowed and does nothing.
//
// Programs that were compiled with a header in which late_tokens was the last field call this; those that are compiled
// with this one call rasp_stats_init_3, by a macro of this name.
//
// Threads: safe from any thread.
//
// Pointers:
// stats is NULL or points to a rasp_stats, or to as much of one as ends with late_tokens.
void rasp_stats_init(struct rasp_stats *stats);

// As rasp_stats_init, of programs that were compiled with a header in which accepted_tokens was the last field.
//
// Threads: safe from any thread.
//
// Pointers:
// stats is NULL or points to a rasp_stats, or to as much of one as ends with accepted_tokens.
void rasp_stats_init_2(struct rasp_stats *stats);

// Prepares stats for rasp_session_get_stats; written rasp_stats_init. NULL is allowed and does nothing.
//
// Threads: safe from any thread.
//
// Pointers:
// stats is NULL or points to a rasp_stats.
void rasp_stats_init_3(struct rasp_stats *stats);

// Opens a session over a model. options may be NULL for the defaults. The session keeps the model alive.
//
// Allocates once, as much as rasp_session_plan says, or nothing if options.memory is given; and starts the threads
// that were asked for, which take memory of their own. Later calls allocate nothing.
//
// Threads do not come along when a process forks: in the child, calls on a session that has some return INVALID_STATE.
// Whatever the caller's floating-point environment is (rounding, flushing to zero, traps), calls compute in the
// default one, and give the caller's back when they return.
//
// On success *session is the new session, to be closed with rasp_session_close; on an error it is NULL. Errors:
// INVALID_ARGUMENT, OUT_OF_RANGE, OUT_OF_MEMORY, BUFFER_TOO_SMALL (options.memory_size; the message says what is
// needed).
//
// Threads: safe from any thread.
//
// Pointers:
// model is NULL or alive; options is NULL or initialised, and options.memory NULL or valid for reads and writes of
// memory_size bytes, which nobody else uses until the session is closed; session and error are NULL or valid for
// writes.
rasp_status rasp_session_open(const struct rasp_model *model,
                              const struct rasp_session_options *options,
                              struct rasp_session **session,
                              struct rasp_error *error);

// Closes a session, ends its threads and frees its memory; memory of the host's is the host's again. NULL is allowed
// and does nothing. RASP_OK, unless another thread is inside a call on the session: then INVALID_STATE, and the
// session stays open (best effort: see to it that no call can begin). A session that is closed is not used afterwards;
// see rasp_free for what is checked of that. Does not allocate.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; it is not used afterwards.
rasp_status rasp_session_close(struct rasp_session *session);

// Forgets all tokens. Settings stay; random numbers start anew. Does not allocate. Errors: INVALID_STATE,
// INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_reset(struct rasp_session *session,
                               struct rasp_error *error);

// Sets how sparse decoded tokens are from now on: 0 is dense, up to the model's max_sparsity. A session starts with
// the model's default_sparsity. Where weights are whole numbers, linears whose rows are too short to gain by leaving
// some out are read whole; rasp_stats counts what is read. Does not allocate. Errors:
// OUT_OF_RANGE (naming the range), INVALID_STATE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_set_sparsity(struct rasp_session *session,
                                      float sparsity,
                                      struct rasp_error *error);

// The logits after the last token that passed through the model: *logits points to *count finite numbers, one a token
// of the vocabulary, valid until the next call on this session. After a greedy rasp_step, which finds its token
// without them, this call computes them. Does not allocate. Errors: INVALID_STATE (no prompt yet), INVALID_ARGUMENT,
// NON_FINITE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; logits, count and error are NULL or valid for writes.
rasp_status rasp_logits(struct rasp_session *session,
                        const float **logits,
                        size_t *count,
                        struct rasp_error *error);

// Tells what a session has done and what it takes. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; stats is NULL or initialised; error is NULL or valid for writes.
rasp_status rasp_session_get_stats(struct rasp_session *session,
                                   struct rasp_stats *stats,
                                   struct rasp_error *error);

// Starts the count of decoded tokens and bytes read anew. Does not allocate. Errors: INVALID_ARGUMENT, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_clear_stats(struct rasp_session *session,
                                     struct rasp_error *error);

// Keeps the first tokens tokens of a session and forgets those after them. Settings stay; random numbers go on where they
// are (rasp_session_set_sampling starts them anew).
//
// The logits are then those after the last token kept, to the bit, as if the session had stopped there. Unless they are
// still at hand (only a token that was sampled last is forgotten), that token passes through the model once more, at the
// sparsity at which it passed first: at the next rasp_step or rasp_logits, or not at all if rasp_prefill or rasp_decode
// comes first. 0 tokens: as rasp_session_reset, but for the random numbers.
//
// Does not allocate. Errors: OUT_OF_RANGE (more tokens than there are, or beyond what a session with windows_alone
// holds), INVALID_STATE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_rewind(struct rasp_session *session,
                                size_t tokens,
                                struct rasp_error *error);

// Opens a second session with the tokens, cache, logits, sparsity, sampling, logit biases, stop strings, constraint and
// random numbers of the first. It goes on exactly as the first one would, but for a logits callback, which is not taken
// over; from then on the two are independent. options may be NULL for those of the first, in memory of its own; else they
// are as for rasp_session_open (rasp_session_plan tells the memory), with room for the tokens and the same kv_type.
//
// The prompt does not pass again. The first fork puts the keys and values of its tokens, in whole blocks of 32, into
// memory that both sessions and further forks read in place (rasp_stats.shared_bytes); only the rest is copied. So
// many sessions that begin alike hold the beginning once: each has room for all of its context, as rasp_session_plan
// says, but what nobody writes there takes no pages where the system gives zeroed memory lazily. A session that goes
// back into the beginning, or shifts, has what it writes for itself from then on; any of them can be closed whatever
// becomes of the others, and the last one frees what was shared. Where options.memory is given, where layers hold
// windows alone, and where there is no memory for it, nothing is shared, and all is copied.
//
// On success *fork is the new session, to be closed with rasp_session_close; on an error it is NULL. Allocates as
// rasp_session_open does. Errors: those of rasp_session_open, CONTEXT_FULL (no room for the tokens), INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; options as for rasp_session_open; fork and error are NULL or valid for writes.
rasp_status rasp_session_fork(struct rasp_session *session,
                              const struct rasp_session_options *options,
                              struct rasp_session **fork,
                              struct rasp_error *error);

// Forgets discard tokens after the first keep; those after them move up, which makes room in a full context. Keys are
// rotated to their new places, so the session goes on as if the tokens had stood there; what later tokens took from the
// discarded ones when they passed stays in their keys and values. In a cache of RASP_KV_F16 or RASP_KV_I8 the moved keys
// are rounded once more. The logits stay those of the last token; after rasp_session_rewind they are computed first, if they
// are not at hand. keep is for what a model must not lose: the first
// token, a system prompt.
//
// Takes the time of reading and writing the cache once. Does not allocate. Errors: OUT_OF_RANGE (at least one token that
// has passed must be left after the discarded ones), INVALID_STATE, INVALID_ARGUMENT; where logits are computed CANCELLED and
// NON_FINITE too.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_shift(struct rasp_session *session,
                               size_t keep,
                               size_t discard,
                               struct rasp_error *error);

// Writes what a session holds to buffer: tokens, keys and values, sparsity, sampling, random numbers, and what the last
// token's logits are computed from; and the bytes
// that takes to *size, also if capacity is less (a NULL buffer of capacity 0 asks for no more than that). They are
// mostly keys and values: as many bytes a token as rasp_memory_plan.kv_cache has for each token of the context (with
// windows_alone, fewer).
//
// Logit biases, a logits callback, stop strings and a constraint are not among it: a session keeps those it has when it is
// restored.
//
// The bytes depend on the machine in no way, and hold the fingerprint of the model's file and a checksum. A later
// version of this library may refuse them.
//
// Does not allocate. Errors: BUFFER_TOO_SMALL (nothing is written but *size), INVALID_STATE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; buffer is NULL or valid for writes of capacity bytes; size and error are NULL or valid for
// writes.
rasp_status rasp_session_save(struct rasp_session *session,
                              void *buffer,
                              size_t capacity,
                              size_t *size,
                              struct rasp_error *error);

// Makes a session hold what rasp_session_save wrote, and go on as the saved one would have, to the bit. What it held is
// forgotten. Model and kv_type must be the same; context, batch, threads and machine may be others. data need not be
// aligned. The logits are computed when they are first needed; no token passes again, unless the session that was saved
// would have had to (after rasp_session_rewind). For stop strings and a constraint a new answer begins. States that
// earlier versions of this library have written are read.
//
// On an error the session is as it was. Does not allocate. Errors: BAD_STATE (the bytes are no state, truncated, damaged,
// of another model or another kv_type; the message says which), UNSUPPORTED_VERSION, CONTEXT_FULL (no room for the
// tokens), INVALID_STATE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; data is NULL or valid for reads of size bytes; error is NULL or valid for writes.
rasp_status rasp_session_restore(struct rasp_session *session,
                                 const void *data,
                                 size_t size,
                                 struct rasp_error *error);

// Appends count prompt tokens, densely. Afterwards the logits are those after the last one. On an error nothing has
// been appended. Does not allocate. Errors: CONTEXT_FULL, OUT_OF_RANGE, INVALID_ARGUMENT (no tokens), CANCELLED,
// NON_FINITE, INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
rasp_status rasp_prefill(struct rasp_session *session,
                         const uint32_t *tokens,
                         size_t count,
                         struct rasp_error *error);

// Appends count prompt tokens, which are copied, without computing anything yet. rasp_prefill_within does that, a part at
// a time, or rasp_step_within, or rasp_step. Until the prompt has passed the session is pending: other calls return
// INVALID_STATE, but for rasp_cancel (which makes the next call take the prompt back), rasp_session_reset,
// rasp_session_get_stats, rasp_session_clear_stats and rasp_session_close. Does not allocate. Errors: CONTEXT_FULL,
// OUT_OF_RANGE, INVALID_ARGUMENT (no tokens), INVALID_STATE.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; tokens is NULL or valid for reads of count ids; error is NULL or valid for writes.
rasp_status rasp_prefill_begin(struct rasp_session *session,
                               const uint32_t *tokens,
                               size_t count,
                               struct rasp_error *error);

// Goes on with the prompt of rasp_prefill_begin for about budget_ns nanoseconds. RASP_OK once all of it has passed (the
// logits are then those after it), RASP_PENDING (a success) before. One unit of work is done in any case, and none
// begins after the budget is spent; a unit reads about 1 MiB of weights or takes 8 million multiply-adds, 0.1 to 0.3 ms
// on a desktop CPU. So 0 is one unit. The clock changes nothing but where the work is cut. On an error the whole prompt
// is taken back. Does not allocate. Errors: INVALID_STATE (no prompt is under way), CANCELLED, NON_FINITE,
// INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_prefill_within(struct rasp_session *session,
                                uint64_t budget_ns,
                                struct rasp_error *error);

// Samples the next token, appends it and writes it to *token. RASP_END (a success) if it ends generation. The token
// before it, if it was sampled too, passes through the model first, at the session's sparsity; so the first step after
// a prompt is quick. What an earlier call left pending is finished. On an error nothing has been appended. Does not
// allocate. Errors: CONTEXT_FULL, INVALID_STATE (no prompt yet), CANCELLED, NON_FINITE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; token and error are NULL or valid for writes.
rasp_status rasp_step(struct rasp_session *session,
                      uint32_t *token,
                      struct rasp_error *error);

// As much of rasp_step as budget_ns nanoseconds allow, as for rasp_prefill_within: RASP_PENDING (a success) if the token
// is not there yet, *token is then left alone and the next call goes on; else RASP_OK or RASP_END. What is left of a
// prompt that rasp_prefill_begin began passes first. The tokens are those of rasp_step, bit for bit, however they are
// cut. A game calls it once a frame.
//
// While it is pending the session takes rasp_step_within, rasp_step (which finishes the token), rasp_cancel (which makes
// the next call take everything back), rasp_session_reset, rasp_session_get_stats, rasp_session_clear_stats,
// rasp_finish_text and rasp_session_close; other calls return INVALID_STATE. Does not allocate. Errors as for rasp_step.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; token and error are NULL or valid for writes.
rasp_status rasp_step_within(struct rasp_session *session,
                             uint64_t budget_ns,
                             uint32_t *token,
                             struct rasp_error *error);

// Appends a token of the host's choice, at the session's sparsity. It takes the place of a token that rasp_step sampled
// last. Afterwards the logits are those after it. On an error nothing has changed. Does not allocate. Errors as for
// rasp_prefill.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_decode(struct rasp_session *session,
                        uint32_t token,
                        struct rasp_error *error);

// Deadline mode: every token of rasp_step and rasp_step_within chooses its sparsity between min_sparsity and
// max_sparsity so that it takes no more than ns_per_token nanoseconds of computing, as dense as that allows. The time
// between the calls of a token that was cut does not count. 0 turns it off; the sparsity then stays what it was last.
//
// It is kept by measuring, so single tokens can be late (rasp_stats.late_tokens counts them), and all are where
// max_sparsity is not enough. rasp_stats.sparsity is that of the last token, kept the density reached. Unlike all else in
// this library the tokens then depend on time. Does not allocate. Errors: OUT_OF_RANGE (naming the range),
// INVALID_STATE, INVALID_ARGUMENT.
//
// Threads: one call at a time on a session.
//
// Pointers:
// session is NULL or open; error is NULL or valid for writes.
rasp_status rasp_session_set_deadline(struct rasp_session *session,
                                      uint64_t ns_per_token,
                                      float min_sparsity,
                                      float max_sparsity,
                                      struct rasp_error *error);

// Makes the call that is under way on the session, or else the next one, return CANCELLED as soon as the unit of work in
// hand (see rasp_prefill_within) is done; the session stays as it was before that call, or before what it left pending. NULL is allowed and does nothing. Safe from any
// thread, as long as the session is not closed meanwhile. Does not allocate or wait.
//
// Threads: safe from any thread.
//
// Pointers:
// session is NULL or open.
void rasp_cancel(const struct rasp_session *session);

// Turns length bytes of UTF-8 text into tokens: at most capacity of them are written to tokens, and their number always
// to *count, so that a first call with capacity 0 tells how many there are. flags: RASP_TOKENIZE_ bits. No text is no
// tokens.
//
// Allocates. Safe from any thread. Errors: BUFFER_TOO_SMALL (nothing is written but *count), INVALID_UTF8,
// INVALID_ARGUMENT.
//
// Pointers:
// model is NULL or alive; text is NULL or valid for reads of length bytes; tokens is NULL or valid for writes of
// capacity ids; count and error are NULL or valid for writes.
rasp_status rasp_tokenize(const struct rasp_model *model,
                          const char *text,
                          size_t length,
                          uint32_t flags,
                          uint32_t *tokens,
                          size_t capacity,
                          size_t *count,
                          struct rasp_error *error);

// Turns count tokens into bytes: at most capacity of them are written to text, without a NUL, and their number always to
// *length. The bytes of tokens that came from rasp_tokenize are the text's; those of generated tokens may end inside a
// character (see rasp_text_stream). flags: RASP_DETOKENIZE_ bits.
//
// Allocates. Safe from any thread. Errors: BUFFER_TOO_SMALL (nothing is written but *length), OUT_OF_RANGE,
// INVALID_ARGUMENT.
//
// Pointers:
// model is NULL or alive; tokens is NULL or valid for reads of count ids; text is NULL or valid for writes of capacity
// bytes; length and error are NULL or valid for writes.
rasp_status rasp_detokenize(const struct rasp_model *model,
                            const uint32_t *tokens,
                            size_t count,
                            uint32_t flags,
                            char *text,
                            size_t capacity,
                            size_t *length,
                            struct rasp_error *error);

// The bytes of one token: *bytes points to *length of them, without a NUL, valid while the model lives. Does not
// allocate. Safe from any thread. Errors: OUT_OF_RANGE, INVALID_ARGUMENT.
//
// Pointers:
// model is NULL or alive; bytes, length and error are NULL or valid for writes.
rasp_status rasp_token_bytes(const struct rasp_model *model,
                             uint32_t token,
                             const uint8_t **bytes,
                             size_t *length,
                             struct rasp_error *error);

// 1 if the token ends generation (end of text, end of turn), else 0; also 0 for a NULL model or an id that is none. Does
// not allocate. Safe from any thread.
//
// Pointers:
// model is NULL or alive.
int32_t rasp_token_is_end(const struct rasp_model *model,
                          uint32_t token);

// 1 if the token is special (not part of plain text), else 0; also 0 for a NULL model or an id that is none. Does not
// allocate. Safe from any thread.
//
// Pointers:
// model is NULL or alive.
int32_t rasp_token_is_special(const struct rasp_model *model,
                              uint32_t token);

// Appends the bytes of a token to a stream and writes the characters that are now whole to text, without a NUL, and
// their length to *length. Bytes that can still become a character wait in the stream; invalid ones come out as U+FFFD.
// Pass zero bytes (NULL, 0) at the end of a text for what still waits: it is no whole character, and comes out as
// U+FFFD.
//
// Does not allocate. Errors: BUFFER_TOO_SMALL if capacity is less than 3 * n + RASP_TEXT_STREAM_EXTRA (nothing
// happens), INVALID_ARGUMENT.
//
// Threads: safe from any thread.
//
// Pointers:
// stream is NULL or valid; bytes is NULL or valid for reads of n bytes; text is NULL or valid for writes of capacity
// bytes; length and error are NULL or valid for writes.
rasp_status rasp_text_stream_push(struct rasp_text_stream *stream,
                                  const uint8_t *bytes,
                                  size_t n,
                                  char *text,
                                  size_t capacity,
                                  size_t *length,
                                  struct rasp_error *error);

#ifdef __cplusplus
}  // extern "C"
#endif  // __cplusplus

#endif  /* RASP_H */

// Structs that have grown since the first header: their initialisers set every field that this header has.
#define rasp_load_options_init rasp_load_options_init_2
// As above, for rasp_session_options.
#define rasp_session_options_init rasp_session_options_init_2
// As above, for rasp_sampling.
#define rasp_sampling_init rasp_sampling_init_2
// As above, for rasp_stats.
#define rasp_stats_init rasp_stats_init_3

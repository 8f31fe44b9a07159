/* hosts MODEL FOLDER: hosts that do what hosts do. The floating-point environment set to anything, before and after a
 * session is open; a child of fork() that uses its parent's sessions; every call on a stack of RASP_STACK_BYTES; a pipe
 * for a model. */
#define _GNU_SOURCE
#include "rasp.h"
#include <fenv.h>
#include <pthread.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <sys/wait.h>
#include <unistd.h>

static const char *path;
static rasp_model *model;
static rasp_error error;
static int failures;

static void check(int holds, const char *what) {
    if (!holds) {
        printf("FAILS: %s (%s)\n", what, error.message);
        failures++;
    }
}

static rasp_session *open_with(uint32_t threads) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    options.threads = threads;
    options.drafts = RASP_DRAFTS_MAX;
    rasp_session *session = NULL;
    check(rasp_session_open(model, &options, &session, &error) == RASP_OK, "open");
    return session;
}

static const uint32_t prompt[5] = {1, 2, 3, 4, 5};

/* A hash of the logits after a prompt and of the tokens that follow. */
static uint64_t answer(rasp_session *session) {
    uint64_t hash = 1469598103934665603u;
    const float *logits;
    size_t count;
    check(rasp_prefill(session, prompt, 5, &error) == RASP_OK, "prefill");
    check(rasp_logits(session, &logits, &count, &error) == RASP_OK, "logits");
    for (size_t i = 0; i < 4 * count; i++)
        hash = (hash ^ ((const unsigned char *)logits)[i]) * 1099511628211u;
    for (int i = 0; i < 6; i++) {
        uint32_t token = 0;
        check(rasp_step(session, &token, &error) >= 0, "step");
        hash = (hash ^ token) * 1099511628211u;
    }
    return hash;
}

#if defined(__x86_64__)
#include <xmmintrin.h>
static void flush_and_trap(void) {
    /* Flush to zero, subnormals are zero, all exceptions unmasked. */
    _mm_setcsr(0x8040);
}
static int is_flushing(void) { return (_mm_getcsr() & ~0x3fu) == 0x8040; }
#else
static void flush_and_trap(void) { fesetround(FE_DOWNWARD); }
static int is_flushing(void) { return fegetround() == FE_DOWNWARD; }
#endif

static void environments(void) {
    rasp_session *plain = open_with(1);
    uint64_t right = answer(plain);
    rasp_session_close(plain);
    for (uint32_t threads = 1; threads <= 3; threads++) {
        for (int before = 0; before < 2; before++) {
            for (int mode = 0; mode < 3; mode++) {
                fenv_t own;
                fegetenv(&own);
                rasp_session *session = before ? NULL : open_with(threads);
                if (mode == 2)
                    flush_and_trap();
                else
                    fesetround(mode ? FE_UPWARD : FE_TOWARDZERO);
                if (before)
                    session = open_with(threads);
                uint64_t got = answer(session);
                int kept = mode == 2 ? is_flushing() : fegetround() == (mode ? FE_UPWARD : FE_TOWARDZERO);
                fesetenv(&own);
                check(got == right, "the bits hang on the floating-point environment");
                check(kept, "the floating-point environment is the host's own after a call");
                rasp_session_close(session);
            }
        }
    }
}

static void forks(void) {
    rasp_session *threaded = open_with(2), *single = open_with(1);
    uint64_t right = answer(threaded);
    pid_t child = fork();
    if (child == 0) {
        alarm(20);
        uint32_t token;
        size_t size;
        int bad = rasp_step(threaded, &token, &error) != RASP_ERROR_INVALID_STATE;
        bad |= rasp_session_save(threaded, NULL, 0, &size, &error) != RASP_ERROR_INVALID_STATE;
        bad |= rasp_session_reset(threaded, &error) != RASP_ERROR_INVALID_STATE;
        bad |= rasp_session_close(threaded) != RASP_ERROR_INVALID_STATE;
        /* What has no threads is the child's as much as the parent's; and it may open its own. */
        bad |= answer(single) != right;
        rasp_session *own = open_with(2);
        bad |= answer(own) != right;
        rasp_session_close(own);
        _exit(bad || failures);
    }
    int status;
    waitpid(child, &status, 0);
    check(WIFEXITED(status) && WEXITSTATUS(status) == 0, "a forked child");
    rasp_session_reset(threaded, &error);
    check(answer(threaded) == right, "the parent after its child");
    rasp_session_close(threaded);
    rasp_session_close(single);
}

static int32_t look(void *context, float *logits, size_t count, const uint32_t *tokens, size_t token_count) {
    (void)context, (void)logits, (void)count, (void)tokens, (void)token_count;
    return RASP_LOGITS_SAMPLE;
}

/* An adapter, if there is a file of the model's name and -adapter. */
static void adapters(rasp_model *own) {
    char name[4096];
    snprintf(name, sizeof name, "%s-adapter", path);
    if (access(name, R_OK) != 0)
        return;
    rasp_adapter *adapter;
    check(rasp_adapter_load(own, name, &adapter, &error) == RASP_OK, "adapter_load on a small stack");
    rasp_adapter_info info;
    rasp_adapter_info_init(&info);
    check(rasp_adapter_get_info(adapter, &info, &error) == RASP_OK, "adapter info on a small stack");
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    options.adapter_rank = info.rank;
    rasp_session *session;
    check(rasp_session_open(own, &options, &session, &error) == RASP_OK, "open on a small stack");
    const rasp_adapter *list[] = {adapter};
    check(rasp_session_set_adapters(session, list, NULL, 1, &error) == RASP_OK, "set_adapters on a small stack");
    answer(session);
    rasp_session_close(session);
    rasp_adapter_free(adapter);
}

/* The calls on a session that `everything` does not come by: drawn samples, biases, a callback, text, budgets, a batch. */
static void others(rasp_session *session) {
    uint32_t token, ended;
    size_t size;
    rasp_stats stats;
    rasp_stats_init(&stats);
    check(rasp_session_get_stats(session, &stats, &error) == RASP_OK, "stats on a small stack");
    check(rasp_session_clear_stats(session, &error) == RASP_OK, "clear_stats on a small stack");
    rasp_session_options options;
    rasp_session_options_init(&options);
    rasp_memory_plan plan;
    rasp_memory_plan_init(&plan);
    check(rasp_session_plan(model, &options, &plan, &error) == RASP_OK, "plan on a small stack");
    check(rasp_session_rewind(session, 4, &error) == RASP_OK, "rewind on a small stack");
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    sampling.temperature = 0.9f, sampling.top_p = 0.9f, sampling.min_p = 0.01f;
    sampling.repetition_penalty = 1.1f, sampling.repetition_window = 8;
    sampling.frequency_penalty = 0.1f, sampling.typical_p = 0.95f, sampling.top_n_sigma = 3.0f;
    sampling.xtc_probability = 0.3f, sampling.dry_multiplier = 0.8f, sampling.mirostat_tau = 6.0f;
    check(rasp_session_set_sampling(session, &sampling, &error) == RASP_OK, "set_sampling on a small stack");
    rasp_logit_bias bias[2] = {{1, 2.0f}, {2, -2.0f}};
    check(rasp_session_set_logit_bias(session, bias, 2, &error) == RASP_OK, "set_logit_bias on a small stack");
    check(rasp_session_set_drafts(session, RASP_DRAFTS_LOOKUP | RASP_DRAFTS_SELF, 1, prompt, 5, &error) == RASP_OK,
          "drafts on a small stack");
    check(rasp_session_set_logits_callback(session, look, NULL, &error) == RASP_OK, "the callback on a small stack");
    const char *stops[2] = {"never", "no"};
    check(rasp_session_set_stop(session, stops, 2, &error) == RASP_OK, "set_stop on a small stack");
    static char text[RASP_STEP_TEXT_SIZE];
    rasp_status status = rasp_step_text(session, 1, text, sizeof text, &size, &ended, &error);
    check(status >= 0, "step_text on a small stack");
    check(rasp_finish_text(session, text, sizeof text, &size, &error) == RASP_OK, "finish_text on a small stack");
    check(rasp_decode(session, 3, &error) == RASP_OK, "decode on a small stack");
    check(rasp_prefill_begin(session, prompt, 3, &error) == RASP_OK, "prefill_begin on a small stack");
    while ((status = rasp_prefill_within(session, 0, &error)) == RASP_PENDING)
        ;
    check(status == RASP_OK, "prefill_within on a small stack");
    while ((status = rasp_step_within(session, 0, &token, &error)) == RASP_PENDING)
        ;
    check(status >= 0, "step_within on a small stack");
    check(rasp_session_set_deadline(session, 1000000, 0, 0, &error) == RASP_OK, "set_deadline on a small stack");
    check(rasp_step_batch(&session, 1, &token, &status, &error) == RASP_OK, "step_batch on a small stack");
    rasp_cancel(session);
    check(rasp_step(session, &token, &error) == RASP_ERROR_CANCELLED, "a cancelled step on a small stack");
    rasp_session_reset(session, &error);
    rasp_model_info info;
    rasp_model_info_init(&info);
    rasp_model_get_info(model, &info, &error);
    float *vector = malloc(info.hidden_size * sizeof *vector);
    status = rasp_embed(session, prompt, 5, 0, 0, vector, info.hidden_size, &size, &error);
    check(status == RASP_OK, "embed on a small stack");
    free(vector);
    /* In the library that has them; in the others this says so. */
    rasp_constraint *constraint;
    const char *schema =
        "{\"type\":\"object\",\"properties\":{\"a\":{\"type\":\"array\",\"items\":{\"type\":\"integer\"}}}}";
    status = rasp_constraint_new(model, RASP_CONSTRAINT_JSON_SCHEMA, schema, strlen(schema), &constraint, &error);
    check(status == RASP_OK || status == RASP_ERROR_UNSUPPORTED, "constraint_new on a small stack");
    if (status == RASP_OK) {
        check(rasp_prefill(session, prompt, 5, &error) == RASP_OK, "prefill on a small stack");
        check(rasp_session_set_constraint(session, constraint, &error) == RASP_OK, "set_constraint on a small stack");
        check(rasp_step(session, &token, &error) >= 0, "a step under a constraint on a small stack");
        rasp_constraint_free(constraint);
    }
}

static void *everything(void *unused) {
    rasp_model *own;
    static char text[4096];
    static uint32_t tokens[512];
    size_t count, length;
    rasp_load_options options;
    rasp_load_options_init(&options);
    options.verify = 1;
    check(rasp_load(path, &options, &own, &error) == RASP_OK, "load on a small stack");
    rasp_message messages[2] = {{"system", "Be kind."}, {"user", "Hi"}};
    rasp_status status = rasp_chat_format(own, messages, 2, 1, text, sizeof text, &length, &error);
    check(status == RASP_OK || status == RASP_ERROR_TEMPLATE, "chat_format on a small stack");
    const char variables[] = "{\"tools\": [[[[[[[[[[[[[[[[[[[[[[1]]]]]]]]]]]]]]]]]]]]]]}";
    rasp_chat_options chat_options;
    rasp_chat_options_init(&chat_options);
    chat_options.variables = variables;
    chat_options.variables_length = sizeof variables - 1;
    rasp_chat_message said = {"user", 4, "Hi <|end|>", 10, NULL, 0};
    status = rasp_chat_tokenize(own, &said, 1, &chat_options, tokens, 512, &count, &error);
    check(status == RASP_OK || status == RASP_ERROR_TEMPLATE, "chat_tokenize on a small stack");
    rasp_reply *reply;
    status = rasp_reply_new(own, &said, 1, &chat_options, &reply, &error);
    check(status == RASP_OK || status == RASP_ERROR_TEMPLATE, "reply_new on a small stack");
    if (status == RASP_OK) {
        const char *answers[] = {"<think>Hm.</think> Yes. <tool_call>\n{\"name\": \"a\", ",
                                 "\"arguments\": {\"b\": [1]}}\n</tool_call>"};
        rasp_reply_part part;
        for (size_t i = 0; i < 2; i++) {
            check(rasp_reply_push(reply, answers[i], strlen(answers[i]), &error) == RASP_OK, "push on a small stack");
            while (rasp_reply_next(reply, &part, &error) == RASP_OK)
                ;
        }
        check(rasp_reply_push_token(reply, 65, &error) == RASP_OK, "push_token on a small stack");
        check(rasp_reply_finish(reply, &error) == RASP_OK, "finish on a small stack");
        check(rasp_reply_message(reply, text, sizeof text, &length, &error) == RASP_OK, "message on a small stack");
        check(rasp_reply_free(reply) == RASP_OK, "reply_free on a small stack");
    }
    const char *words = "Hello the thing's in 1234 e\xcc\x81 \xea\xb0\x80";
    status = rasp_tokenize(own, words, strlen(words), 3, tokens, 512, &count, &error);
    check(status == RASP_OK, "tokenize on a small stack");
    status = rasp_detokenize(own, tokens, count, 0, text, sizeof text, &length, &error);
    check(status == RASP_OK, "detokenize on a small stack");
    rasp_session *session = open_with(2);
    status = rasp_chat_prefill(session, &said, 1, NULL, &count, &error);
    check(status == RASP_OK || status == RASP_ERROR_TEMPLATE, "chat_prefill on a small stack");
    rasp_session_reset(session, &error);
    answer(session);
    rasp_model_info info;
    rasp_model_info_init(&info);
    check(rasp_model_get_info(own, &info, &error) == RASP_OK, "info on a small stack");
    check(rasp_session_set_sparsity(session, info.max_sparsity, &error) == RASP_OK, "sparsity on a small stack");
    uint32_t token;
    check(rasp_step(session, &token, &error) >= 0, "step on a small stack");
    check(rasp_session_shift(session, 1, 2, &error) == RASP_OK, "shift on a small stack");
    rasp_session *child;
    check(rasp_session_fork(session, NULL, &child, &error) == RASP_OK, "fork on a small stack");
    rasp_session_save(child, NULL, 0, &length, NULL);
    void *state = malloc(length);
    check(rasp_session_save(child, state, length, &length, &error) == RASP_OK, "save on a small stack");
    check(rasp_session_restore(session, state, length, &error) == RASP_OK, "restore on a small stack");
    free(state);
    others(child);
    rasp_session_close(child);
    uint32_t beginning[40];
    for (uint32_t i = 0; i < 40; i++)
        beginning[i] = prompt[i % 5];
    rasp_session_reset(session, &error);
    check(rasp_prefill(session, beginning, 40, &error) == RASP_OK, "a longer prompt on a small stack");
    check(rasp_session_fork(session, NULL, &child, &error) == RASP_OK, "a fork that shares on a small stack");
    check(rasp_step(child, &token, &error) >= 0, "its step on a small stack");
    check(rasp_session_rewind(child, 10, &error) == RASP_OK, "its rewind on a small stack");
    check(rasp_step(child, &token, &error) >= 0, "its step after that on a small stack");
    adapters(own);
    rasp_session_close(child);
    rasp_session_close(session);
    rasp_free(own);
    return unused;
}

static void small_stack(void) {
    pthread_attr_t attributes;
    pthread_t thread;
    pthread_attr_init(&attributes);
    size_t size = RASP_STACK_BYTES;
#ifdef __SANITIZE_ADDRESS__
    size *= 2; /* AddressSanitizer's own frames, at every allocation, are kilobytes. */
#endif
    check(pthread_attr_setstacksize(&attributes, size) == 0, "a stack of that size");
    check(pthread_create(&thread, &attributes, everything, NULL) == 0, "a thread");
    pthread_join(thread, NULL);
}

static void pipes(const char *folder) {
    char fifo[4096];
    snprintf(fifo, sizeof fifo, "%s/pipe-%ld", folder, (long)getpid());
    check(mkfifo(fifo, 0600) == 0, "a pipe");
    rasp_model *loaded;
    alarm(20);
    check(rasp_load(fifo, NULL, &loaded, &error) == RASP_ERROR_IO, "a pipe is no model");
    check(rasp_load(folder, NULL, &loaded, &error) == RASP_ERROR_IO, "a folder is no model");
    alarm(0);
    remove(fifo);
}

int main(int argc, char **argv) {
    if (argc < 3)
        return 2;
    path = argv[1];
    if (rasp_load(path, NULL, &model, &error) != RASP_OK) {
        printf("%s\n", error.message);
        return 2;
    }
    environments();
    forks();
    small_stack();
    pipes(argv[2]);
    rasp_free(model);
    printf("%d failures\n", failures);
    return failures != 0;
}

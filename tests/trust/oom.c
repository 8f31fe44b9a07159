/* oom MODEL [MOST]: every allocation of every call fails once, and all from each one on, each in a process of its own.
 * Constraints too, where the library has them, and an adapter, where there is a file MODEL-adapter.
 *
 * Right is OUT_OF_MEMORY, or success where the call can do without; a signal, a word on stderr, another error or a
 * session that cannot be used afterwards is a failure. MOST: positions of a call that are tried at most, spread evenly;
 * the first and the last always. Calls whose words say that they do not allocate must not, also when they fail. */
#define _GNU_SOURCE
#include "rasp.h"
#include <fcntl.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/resource.h>
#include <sys/wait.h>
#include <unistd.h>

void failing_arm(long n, long every);
long failing_disarm(void);

static const char *path;
static rasp_model *model;
static rasp_session *session;
static rasp_error error;
static uint32_t tokens[4096];
static size_t count;
static char text[1 << 16], longer[60000];
static void *state;
static size_t state_size;

static const char *words =
    "Hello the thing's in 1234 \xc3\xa9 e\xcc\x81 \xea\xb0\x80 aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa";

static int load_with(uint32_t verify) {
    rasp_load_options options;
    rasp_load_options_init(&options);
    options.verify = verify;
    rasp_model *loaded;
    int status = rasp_load(path, &options, &loaded, &error);
    if (status == RASP_OK)
        rasp_free(loaded);
    return status;
}
static int load(void) { return load_with(0); }
static int load_verified(void) { return load_with(1); }

static int load_nothing(void) {
    rasp_model *loaded;
    return rasp_load("/nonexistent/model.rasp", NULL, &loaded, &error);
}

static char adapter_path[4096];
static int load_adapter(void) {
    rasp_adapter *loaded;
    int status = rasp_adapter_load(model, adapter_path, &loaded, &error);
    if (status == RASP_OK)
        rasp_adapter_free(loaded);
    return status;
}

static rasp_adapter *adapter;
static int set_adapters(void) {
    const rasp_adapter *list[] = {adapter};
    return rasp_session_set_adapters(session, list, NULL, 1, &error);
}
static int set_many_adapters(void) {
    const rasp_adapter *list[] = {adapter, adapter};
    return rasp_session_set_adapters(session, list, NULL, 2, &error);
}

static int open_with(uint32_t threads) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    options.threads = threads;
    rasp_session *opened;
    int status = rasp_session_open(model, &options, &opened, &error);
    if (status == RASP_OK)
        rasp_session_close(opened);
    return status;
}
static int open_one(void) { return open_with(1); }
static int open_three(void) { return open_with(3); }

static int fork_of(rasp_session *parent) {
    rasp_session *child;
    int status = rasp_session_fork(parent, NULL, &child, &error);
    if (status == RASP_OK)
        rasp_session_close(child);
    return status;
}
static int fork_it(void) { return fork_of(session); }

/* One whose beginning is shared; without memory for that it is copied, and the child says the same. */
static rasp_session *parent;
static uint32_t next_of_parent;
static int fork_sharing(void) {
    rasp_session *child;
    int status = rasp_session_fork(parent, NULL, &child, &error);
    if (status != RASP_OK)
        return status;
    uint32_t next = 0;
    if (rasp_step(child, &next, NULL) < 0 || next != next_of_parent)
        status = RASP_ERROR_INTERNAL;
    rasp_session_close(child);
    return status;
}

static int tokenize(void) {
    size_t n;
    return rasp_tokenize(model, words, strlen(words), 3, tokens, 4096, &n, &error);
}

static int tokenize_longer(void) {
    static uint32_t many[100000];
    size_t n;
    return rasp_tokenize(model, longer, sizeof longer, 3, many, 100000, &n, &error);
}

static int detokenize(void) {
    size_t n;
    return rasp_detokenize(model, tokens, count, 0, text, sizeof text, &n, &error);
}

static int chat(void) {
    rasp_message messages[3] = {{"system", "You"}, {"user", "Hi"}, {"assistant", "Yo"}};
    size_t n;
    return rasp_chat_format(model, messages, 3, 1, text, sizeof text, &n, &error);
}

static int chat_tokens(void) {
    const char variables[] = "{\"tools\": [{\"a\\n\": [1, 2.5, {}]}], \"b\": 1, \"b\": 2}";
    const char fields[] = "{\"name\": \"\\u00e9\"}";
    rasp_chat_message messages[2] = {
        {"user", 4, "Hi <|end|>", 10, NULL, 0}, {"assi<stant", 10, "Yo", 2, fields, sizeof fields - 1}};
    rasp_chat_options options;
    rasp_chat_options_init(&options);
    options.variables = variables;
    options.variables_length = sizeof variables - 1;
    options.time = 1000000000;
    static uint32_t some[512];
    size_t n;
    rasp_status status = rasp_chat_text(model, messages, 2, &options, text, sizeof text, &n, &error);
    return status < 0 ? status : rasp_chat_tokenize(model, messages, 2, &options, some, 512, &n, &error);
}

static int stop(void) {
    const char *stops[2] = {"the", "end"};
    return rasp_session_set_stop(session, stops, 2, &error);
}

static int save(void) {
    size_t n;
    return rasp_session_save(session, state, state_size, &n, &error);
}

static int restore(void) {
    size_t n;
    rasp_session_save(session, state, state_size, &n, NULL);
    return rasp_session_restore(session, state, n, &error);
}

static int prefill(void) { return rasp_prefill(session, tokens, 3, &error); }
static int step(void) { return rasp_step(session, &(uint32_t){0}, &error); }
static int shift(void) { return rasp_session_shift(session, 1, 1, &error); }

/* An answer in pieces, and its message. */
static int answer(void) {
    rasp_chat_message message = {"user", 4, "Hi", 2, NULL, 0};
    rasp_chat_options options;
    rasp_chat_options_init(&options);
    options.variables = "{\"tools\":[{\"name\":\"f\",\"parameters\":{\"properties\":{\"a\":{\"type\":\"string\"}}}}]}";
    options.variables_length = strlen(options.variables);
    rasp_reply *reply;
    int status = rasp_reply_new(model, &message, 1, &options, &reply, &error);
    if (status != RASP_OK)
        return status;
    static const char *said = "Hm. <tool_call>{\"name\": \"f\", \"arguments\": {\"a\": \"b\"}}</tool_call> And so on.";
    for (const char *at = said; *at && status == RASP_OK; at++)
        status = rasp_reply_push(reply, at, 1, &error);
    if (status == RASP_OK)
        status = rasp_reply_finish(reply, &error);
    rasp_reply_part part;
    while (rasp_reply_next(reply, &part, NULL) == RASP_OK)
        ;
    size_t length;
    if (status == RASP_OK)
        status = rasp_reply_message(reply, text, sizeof text, &length, &error);
    rasp_reply_free(reply);
    return status;
}

/* Under a constraint: one session that has written some of a text, one that has not begun, one whose text is partly
 * gone. */
static rasp_constraint *constraint;
static rasp_session *begun, *fresh, *shifted;
static uint32_t next_of_begun, next_of_shifted;

static int constrain(uint32_t kind, const char *source) {
    rasp_constraint *made;
    int status = rasp_constraint_new(model, kind, source, strlen(source), &made, &error);
    if (status == RASP_OK)
        rasp_constraint_free(made);
    return status;
}
static const char *schema =
    "{\"type\":\"object\",\"properties\":{\"colour\":{\"enum\":[\"red\",\"green\"]},\"say\":{\"type\":"
                            "\"string\",\"maxLength\":40},\"count\":{\"type\":\"integer\",\"minimum\":1}},\"required\":"
                            "[\"colour\",\"say\",\"count\"],\"additionalProperties\":false}";
static int constrain_json(void) { return constrain(RASP_CONSTRAINT_JSON_SCHEMA, schema); }
static int constrain_regex(void) { return constrain(RASP_CONSTRAINT_REGEX, "([a-z]{3,5}|[0-9]+)(-[A-Z]{1,40})*"); }
static int constrain_grammar(void) {
    return constrain(RASP_CONSTRAINT_GRAMMAR, "start: sum\nsum: NUMBER (\"+\" sum)?\nNUMBER: /[0-9]+/\n");
}
static int constrain_badly(void) { return constrain(RASP_CONSTRAINT_REGEX, "(["); }
static int constrain_tools(void) {
    return constrain(RASP_CONSTRAINT_TOOLS, "[{\"name\":\"f\",\"parameters\":{\"type\":\"object\"}}]");
}
static int set_constraint(void) { return rasp_session_set_constraint(session, constraint, &error); }
static int step_begun(void) { return rasp_step(begun, &(uint32_t){0}, &error); }
static int step_fresh(void) { return rasp_step(fresh, &(uint32_t){0}, &error); }
static int step_shifted(void) { return rasp_step(shifted, &(uint32_t){0}, &error); }
static int fork_begun(void) { return fork_of(begun); }
static int shift_begun(void) { return rasp_session_shift(begun, 1, 1, &error); }

static rasp_session *constrained(int steps) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    rasp_session *made;
    if (rasp_session_open(model, &options, &made, &error) != RASP_OK || rasp_prefill(made, tokens, 3,
        &error) != RASP_OK ||
        rasp_session_set_constraint(made, constraint, &error) != RASP_OK)
        return NULL;
    while (steps--)
        if (rasp_step(made, &(uint32_t){0}, &error) != RASP_OK)
            return NULL;
    return made;
}

/* Makes them; 0 where the library has no constraints. */
static int constraints(void) {
    int status = rasp_constraint_new(model, RASP_CONSTRAINT_JSON_SCHEMA, schema, strlen(schema), &constraint, &error);
    if (status == RASP_ERROR_UNSUPPORTED)
        return 0;
    begun = constrained(6), fresh = constrained(0), shifted = constrained(8);
    int good = begun && fresh && shifted && rasp_session_shift(shifted, 1, 5, &error) == RASP_OK;
    /* What comes next, seen in forks. */
    rasp_session *next;
    good = good && rasp_session_fork(begun, NULL, &next, &error) == RASP_OK && rasp_step(next, &next_of_begun,
        &error) >= 0;
    rasp_session_close(next);
    good = good && rasp_session_fork(shifted, NULL, &next, &error) == RASP_OK &&
           rasp_step(next, &next_of_shifted, &error) >= 0;
    rasp_session_close(next);
    if (!good) {
        printf("constraints: %s\n", error.message);
        exit(2);
    }
    return 1;
}

/* Errors of calls that do not allocate. */
static int prefill_unknown(void) { return rasp_prefill(session, &(uint32_t){UINT32_MAX}, 1, &error); }
static int prefill_many(void) {
    static uint32_t many[5000];
    return rasp_prefill(session, many, 5000, &error);
}
static int save_nowhere(void) { return rasp_session_save(session, NULL, 0, &(size_t){0}, &error); }
static int restore_nothing(void) { return rasp_session_restore(session, "xxxxxxxxxxxxxxxxxxxx", 20, &error); }
static int rewind_far(void) { return rasp_session_rewind(session, 100000, &error); }
static int shift_far(void) { return rasp_session_shift(session, 0, 100000, &error); }
static int sparsity_of_two(void) { return rasp_session_set_sparsity(session, 2.0f, &error); }
static int within_nothing(void) { return rasp_prefill_within(session, 0, &error); }
static int cancelled(void) {
    rasp_cancel(session);
    return rasp_step(session, &(uint32_t){0}, &error);
}
static int null_model(void) { return rasp_session_open(NULL, NULL, &(rasp_session *){0}, &error); }
static int sampling_wrong(void) {
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    sampling.temperature = -1;
    return rasp_session_set_sampling(session, &sampling, &error);
}
static int open_wrong(void) {
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.kv_type = 9;
    return rasp_session_open(model, &options, &(rasp_session *){0}, &error);
}

static const struct {
    const char *name;
    int (*call)(void);
    /* What it returns if nothing fails, whether it may allocate, whether it wants constraints (1) or an adapter (2). */
    int status;
    int allocates;
    int wants;
} calls[] = {
    {"load", load, RASP_OK, 1, 0},
    {"load, verify", load_verified, RASP_OK, 1, 0},
    {"load of no file", load_nothing, RASP_ERROR_IO, 1, 0},
    {"open", open_one, RASP_OK, 1, 0},
    {"open, 3 threads", open_three, RASP_OK, 1, 0},
    {"fork", fork_it, RASP_OK, 1, 0},
    {"fork that shares", fork_sharing, RASP_OK, 1, 0},
    {"tokenize", tokenize, RASP_OK, 1, 0},
    {"tokenize 60 kB", tokenize_longer, RASP_OK, 1, 0},
    {"detokenize", detokenize, RASP_OK, 1, 0},
    {"chat_format", chat, RASP_OK, 1, 0},
    {"chat_text, chat_tokenize", chat_tokens, RASP_OK, 1, 0},
    {"reply", answer, RASP_OK, 1, 0},
    {"set_stop", stop, RASP_OK, 0, 0},
    {"save", save, RASP_OK, 0, 0},
    {"restore", restore, RASP_OK, 0, 0},
    {"prefill", prefill, RASP_OK, 0, 0},
    {"step", step, RASP_OK, 0, 0},
    {"shift", shift, RASP_OK, 0, 0},
    {"prefill of an unknown token", prefill_unknown, RASP_ERROR_OUT_OF_RANGE, 0, 0},
    {"prefill beyond the context", prefill_many, RASP_ERROR_CONTEXT_FULL, 0, 0},
    {"save to nowhere", save_nowhere, RASP_ERROR_BUFFER_TOO_SMALL, 0, 0},
    {"restore of nothing", restore_nothing, RASP_ERROR_BAD_STATE, 0, 0},
    {"rewind too far", rewind_far, RASP_ERROR_OUT_OF_RANGE, 0, 0},
    {"shift too far", shift_far, RASP_ERROR_OUT_OF_RANGE, 0, 0},
    {"sparsity of 2", sparsity_of_two, RASP_ERROR_OUT_OF_RANGE, 0, 0},
    {"prefill_within without a prompt", within_nothing, RASP_ERROR_INVALID_STATE, 0, 0},
    {"step after a cancel", cancelled, RASP_ERROR_CANCELLED, 0, 0},
    {"open of no model", null_model, RASP_ERROR_INVALID_ARGUMENT, 0, 0},
    {"sampling that cannot be", sampling_wrong, RASP_ERROR_INVALID_ARGUMENT, 0, 0},
    {"open, wrong kv_type", open_wrong, RASP_ERROR_INVALID_ARGUMENT, 0, 0},
    {"constraint, JSON schema", constrain_json, RASP_OK, 1, 1},
    {"constraint, regex", constrain_regex, RASP_OK, 1, 1},
    {"constraint, grammar", constrain_grammar, RASP_OK, 1, 1},
    {"constraint, tools of a template that has none", constrain_tools, RASP_ERROR_UNSUPPORTED, 1, 1},
    {"constraint, wrong", constrain_badly, RASP_ERROR_INVALID_ARGUMENT, 1, 1},
    {"set_constraint", set_constraint, RASP_OK, 1, 1},
    {"step under a constraint", step_begun, RASP_OK, 1, 1},
    {"the first of them", step_fresh, RASP_OK, 1, 1},
    {"one after a shift", step_shifted, RASP_OK, 1, 1},
    {"fork under a constraint", fork_begun, RASP_OK, 1, 1},
    {"shift under a constraint", shift_begun, RASP_OK, 1, 1},
    {"load of an adapter", load_adapter, RASP_OK, 1, 2},
    {"set_adapters", set_adapters, RASP_OK, 0, 2},
    {"set_adapters, too many", set_many_adapters, RASP_ERROR_OUT_OF_RANGE, 0, 2},
};

/* What a call returned in a process of its own with its n-th allocation refused, and how many it made. */
struct outcome {
    int status;
    long made;
};

/* 0: as it should be. */
static int run(int (*call)(void), int with_constraints, long n, long every, struct outcome *outcome) {
    int out[2], words_of[2];
    if (pipe(out) || pipe(words_of))
        exit(2);
    pid_t child = fork();
    if (child == 0) {
        dup2(words_of[1], 2);
        alarm(120);
        failing_arm(n, every);
        struct outcome found = {call(), 0};
        found.made = failing_disarm();
        if (write(out[1], &found, sizeof found) != sizeof found)
            _exit(3);
        /* The session is as good as before; and where a step failed, the next one gives what it should have. */
        int bad = call != set_constraint && rasp_step(session, &(uint32_t){0}, NULL) < 0;
        uint32_t next = 0;
        if (with_constraints) {
            int again = call == step_begun && found.status == RASP_OK;
            bad |= !again && (rasp_step(begun, &next, NULL) < 0 || (call != shift_begun && next != next_of_begun));
            again = call == step_shifted && found.status == RASP_OK;
            bad |= !again && (rasp_step(shifted, &next, NULL) < 0 || next != next_of_shifted);
        }
        _exit(bad ? 4 : 0);
    }
    close(out[1]);
    close(words_of[1]);
    char byte;
    int got = read(out[0], outcome, sizeof *outcome) == sizeof *outcome;
    int spoke = read(words_of[0], &byte, 1) > 0;
    close(out[0]);
    close(words_of[0]);
    int status;
    waitpid(child, &status, 0);
    return !(got && !spoke && WIFEXITED(status) && WEXITSTATUS(status) == 0);
}

int main(int argc, char **argv) {
    if (argc < 2)
        return 2;
    path = argv[1];
    long most = argc > 2 ? atol(argv[2]) : 1L << 30;
    setrlimit(RLIMIT_CORE, &(struct rlimit){0, 0});
    if (rasp_load(path, NULL, &model, &error) != RASP_OK) {
        printf("%s\n", error.message);
        return 2;
    }
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 64;
    int with_adapter = 0;
    snprintf(adapter_path, sizeof adapter_path, "%s-adapter", path);
    if (access(adapter_path, R_OK) == 0) {
        if (rasp_adapter_load(model, adapter_path, &adapter, &error) != RASP_OK) {
            printf("%s\n", error.message);
            return 2;
        }
        rasp_adapter_info info;
        rasp_adapter_info_init(&info);
        rasp_adapter_get_info(adapter, &info, NULL);
        options.adapter_rank = info.rank;
        with_adapter = 1;
    }
    for (size_t i = 0; i < sizeof longer; i++)
        longer[i] = "the thing in a \xc3\xa9!"[i % 17];
    longer[sizeof longer - 1] = '.';
    if (rasp_session_open(model, &options, &session, &error) != RASP_OK ||
        rasp_tokenize(model, words, strlen(words), 0, tokens, 4096, &count, &error) != RASP_OK ||
        rasp_prefill(session, tokens, 3, &error) != RASP_OK)
        return 2;
    uint32_t beginning[40];
    for (size_t i = 0; i < 40; i++)
        beginning[i] = tokens[i % count];
    rasp_session *alone;
    if (rasp_session_open(model, &options, &parent, &error) != RASP_OK ||
        rasp_session_open(model, &options, &alone, &error) != RASP_OK ||
        rasp_prefill(parent, beginning, 40, &error) != RASP_OK ||
        rasp_prefill(alone, beginning, 40, &error) != RASP_OK || rasp_step(alone, &next_of_parent, &error) < 0)
        return 2;
    rasp_session_close(alone);
    rasp_session_save(session, NULL, 0, &state_size, NULL);
    state = malloc(state_size += 1 << 20);

    int with_constraints = constraints();
    long tried = 0, failures = 0;
    for (size_t i = 0; i < sizeof calls / sizeof *calls; i++) {
        if ((calls[i].wants == 1 && !with_constraints) || (calls[i].wants == 2 && !with_adapter))
            continue;
        struct outcome outcome = {0, 0};
        int wrong = run(calls[i].call, calls[i].wants == 1, 0, 0, &outcome);
        long made = outcome.made;
        if (wrong || outcome.status != calls[i].status || (!calls[i].allocates && made != 0)) {
            printf("%s: status %d, not %d; %ld allocations\n", calls[i].name, outcome.status, calls[i].status, made);
            failures++;
            continue;
        }
        long stride = made > most ? made / most : 1, refused = 0, positions = 0;
        for (int every = 0; every < 2; every++) {
            for (long n = 1; n <= made; n = n < made && n + stride > made ? made : n + stride) {
                wrong = run(calls[i].call, calls[i].wants == 1, n, every, &outcome);
                tried++;
                positions++;
                refused += outcome.status == RASP_ERROR_OUT_OF_MEMORY;
                int status = outcome.status;
                if (wrong || (status != RASP_ERROR_OUT_OF_MEMORY && status != calls[i].status)) {
                    printf("%s: allocation %ld of %ld%s: %s, status %d\n", calls[i].name, n, made,
                           every ? " and all after it" : "", wrong ? "a signal, a word or a broken session" : "wrong",
                               status);
                    failures++;
                }
            }
        }
        if (made > 0)
            printf("%-24s %5ld allocations, %5ld tried, %5ld OUT_OF_MEMORY\n", calls[i].name, made, positions, refused);
    }
    printf("%ld positions, %ld failures\n", tried, failures);
    return failures != 0;
}

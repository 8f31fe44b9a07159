/*
 * chat: talk to a model in a terminal.
 *
 *     chat MODEL.rasp [SYSTEM-PROMPT]
 *
 * The answer is printed as it comes. Ctrl-C ends the answer; at the prompt, or a second time, it ends the program. /reset
 * forgets what was said, /quit or the end of input (Ctrl-D) ends the program.
 *
 * Build against an installed library:   cc -std=c11 chat.c -lrasp -pthread -o chat
 */
#define _POSIX_C_SOURCE 200809L

#include <rasp.h>

#include <pthread.h>
#include <signal.h>
#include <stdatomic.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#define MAX_MESSAGES 256
#define MAX_LINE 8192
#define CONTEXT 4096
/* Tokens that are kept free for an answer. */
#define ROOM 512

/* A conversation: the system's message and then the user's and the model's in turns, and what the session holds of it. */
typedef struct chat {
    rasp_model *model;
    rasp_session *session;
    rasp_chat_message messages[MAX_MESSAGES];
    size_t count;
    uint32_t tokens[CONTEXT]; /* the prompt that passed last */
    size_t token_count;
} chat;

/* Ends the program with what went wrong, unless the call succeeded. */
static void check(rasp_status status, const char *what, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "chat: %s: %s: %s\n", what, rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

static void *check_memory(void *memory) {
    if (memory == NULL) {
        fprintf(stderr, "chat: no memory\n");
        exit(EXIT_FAILURE);
    }
    return memory;
}

/* Ctrl-C comes to a thread of its own, where everything may be called that a signal handler may not. */
typedef struct interrupts {
    const rasp_session *session;
    atomic_bool answering, cancelled;
} interrupts;

static void *listen(void *argument) {
    interrupts *self = argument;
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    for (;;) {
        int signal;
        if (sigwait(&signals, &signal) != 0 || !atomic_load(&self->answering) ||
            atomic_exchange(&self->cancelled, true)) {
            _exit(128 + SIGINT); /* at the prompt, or the second one */
        }
        rasp_cancel(self->session);
    }
}

static void say(chat *self, const char *role, const char *content) {
    rasp_chat_message *message = &self->messages[self->count++];
    memset(message, 0, sizeof *message);
    message->role = role;
    message->role_length = strlen(role);
    message->content = check_memory(strdup(content));
    message->content_length = strlen(content);
}

/* Forgets `count` messages from `first` on. */
static void forget(chat *self, size_t first, size_t count) {
    for (size_t i = first; i < first + count; i++) {
        free((char *)self->messages[i].content);
    }
    memmove(&self->messages[first], &self->messages[first + count],
            (self->count - first - count) * sizeof *self->messages);
    self->count -= count;
}

/* Tokens of the whole conversation in the model's own format; more than `capacity` if they do not fit. */
static size_t format(chat *self, uint32_t *tokens, size_t capacity) {
    rasp_error error;
    size_t count;
    rasp_status status =
        rasp_chat_tokenize(self->model, self->messages, self->count, NULL, tokens, capacity, &count, &error);
    if (status != RASP_ERROR_BUFFER_TOO_SMALL) {
        check(status, "chat template", &error);
    }
    return count;
}

/* Passes what the session has not seen yet of the conversation. Where that is too long its oldest turns are forgotten. */
static rasp_status feed(chat *self, rasp_error *error) {
    uint32_t tokens[CONTEXT - ROOM];
    size_t count;
    while ((count = format(self, tokens, CONTEXT - ROOM)) > CONTEXT - ROOM) {
        if (self->count <= 2) {
            fprintf(stderr, "chat: that is too long\n");
            return RASP_ERROR_CONTEXT_FULL;
        }
        forget(self, 1, 2);
    }
    size_t same = 0;
    while (same < count - 1 && same < self->token_count && tokens[same] == self->tokens[same]) {
        same++;
    }
    check(rasp_session_rewind(self->session, same, error), "rewind", error);
    self->token_count = same;
    rasp_status status = rasp_prefill(self->session, tokens + same, count - same, error);
    if (status >= 0) {
        memcpy(self->tokens, tokens, count * sizeof *tokens);
        self->token_count = count;
    }
    return status;
}

/* Prints the model's answer as it comes, and remembers it. */
static void answer(chat *self) {
    rasp_error error;
    rasp_status status = feed(self, &error);
    char *all = check_memory(calloc(1, 1));
    size_t total = 0;
    while (status == RASP_OK) {
        char text[RASP_STEP_TEXT_SIZE];
        size_t length;
        status = rasp_step_text(self->session, 0, text, sizeof text, &length, NULL, &error);
        fwrite(text, 1, length, stdout);
        fflush(stdout);
        all = check_memory(realloc(all, total + length + 1));
        memcpy(all + total, text, length);
        total += length;
        all[total] = 0;
    }
    puts(status == RASP_ERROR_CANCELLED ? " [cancelled]" : "");
    if (status < 0 && status != RASP_ERROR_CANCELLED && status != RASP_ERROR_CONTEXT_FULL) {
        check(status, "answer", &error);
    }
    say(self, "assistant", all);
    free(all);
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: chat MODEL.rasp [SYSTEM-PROMPT]\n");
        return EXIT_FAILURE;
    }
    /* Before any thread starts, so that none of them is interrupted. A shell may have set it to be ignored. */
    sigset_t signals;
    sigemptyset(&signals);
    sigaddset(&signals, SIGINT);
    signal(SIGINT, SIG_DFL);
    pthread_sigmask(SIG_BLOCK, &signals, NULL);

    rasp_error error;
    static chat self;
    check(rasp_load(argv[1], NULL, &self.model, &error), "load", &error);
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = CONTEXT;
    check(rasp_session_open(self.model, &options, &self.session, &error), "open a session", &error);
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    sampling.temperature = 0.7F;
    sampling.top_p = 0.9F;
    sampling.repetition_penalty = 1.1F;
    check(rasp_session_set_sampling(self.session, &sampling, &error), "set sampling", &error);
    static interrupts interrupts;
    interrupts.session = self.session;
    pthread_t listener;
    if (pthread_create(&listener, NULL, listen, &interrupts) != 0) {
        fprintf(stderr, "chat: no thread\n");
        return EXIT_FAILURE;
    }
    pthread_detach(listener);

    const char *system = argc > 2 ? argv[2] : "You are a helpful assistant. Answer briefly.";
    say(&self, "system", system);
    static char line[MAX_LINE];
    for (;;) {
        fputs("> ", stdout);
        fflush(stdout);
        if (fgets(line, sizeof line, stdin) == NULL) {
            break;
        }
        line[strcspn(line, "\r\n")] = 0;
        if (strcmp(line, "/quit") == 0) {
            break;
        }
        if (strcmp(line, "/reset") == 0) {
            forget(&self, 1, self.count - 1);
            continue;
        }
        if (line[0] == 0) {
            continue;
        }
        if (self.count + 2 > MAX_MESSAGES) {
            forget(&self, 1, 2);
        }
        say(&self, "user", line);
        atomic_store(&interrupts.answering, true);
        answer(&self);
        atomic_store(&interrupts.answering, false);
        /* One that came after the last token: the session must not keep it for the next answer. */
        if (atomic_exchange(&interrupts.cancelled, false)) {
            uint32_t token;
            rasp_step(self.session, &token, NULL);
        }
    }
    puts("");
    forget(&self, 0, self.count);
    rasp_session_close(self.session);
    rasp_free(self.model);
    return EXIT_SUCCESS;
}

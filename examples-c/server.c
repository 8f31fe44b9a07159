/*
 * server: several people talk with one model at once.
 *
 *     server MODEL.rasp [PORT]            port 8080; 0: any that is free, which is then printed
 *
 *     nc 127.0.0.1 8080                   a line is a question; the answer comes as it is made, and ends with a line
 *
 * It shows what a server of your own takes from the library: a model that is loaded once, a session for each client, prompts
 * that pass in slices so that nobody waits for a long one, a step of all answers together (the weights are read once for all
 * of them), and a system message that passes once a session. For HTTP there is `rasp serve`.
 *
 * Build against an installed library:   cc -std=c11 server.c -lrasp -o server
 */
#define _POSIX_C_SOURCE 200809L

#include <rasp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <fcntl.h>
#include <netinet/in.h>
#include <poll.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/socket.h>
#include <unistd.h>

#define MAX_CLIENTS 8
#define MAX_LINE 4096
#define MAX_ANSWER 256          /* tokens */
#define CONTEXT 2048
#define SLICE 20000000          /* nanoseconds of a prompt between two steps of others */
#define SYSTEM "You are a helpful assistant. Answer briefly."

/* A client, its session, and how far its answer is. */
typedef struct client {
    int socket;     /* -1: nobody */
    bool last;      /* it says nothing more, and leaves with its last answer */
    rasp_session *session;
    enum { WAITS, PROMPT, ANSWER } state;
    rasp_text_stream text;
    int tokens;
    char line[MAX_LINE];
    size_t length;
    uint32_t prompt[CONTEXT]; /* the tokens that its session holds before the answer */
    size_t prompt_length;
} client;

static rasp_model *model;
static client clients[MAX_CLIENTS];

/* Ends the program with what went wrong, unless the call succeeded. */
static void check(rasp_status status, const char *what, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "server: %s: %s: %s\n", what, rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

static void check_system(int outcome, const char *what) {
    if (outcome < 0) {
        fprintf(stderr, "server: %s: %s\n", what, strerror(errno));
        exit(EXIT_FAILURE);
    }
}

/* Takes back whatever is under way: the session is free for the next client. */
static void leave(client *self) {
    close(self->socket);
    self->socket = -1;
    self->length = self->prompt_length = 0;
    self->state = WAITS;
    self->last = false;
    check(rasp_session_reset(self->session, NULL), "reset", &(rasp_error){0});
}

/* Sends what the socket takes at once. A client that lets so much pile up is given up: nobody waits for it. */
static void say(client *self, const char *text, size_t length) {
    if (self->socket >= 0 && length > 0 && send(self->socket, text, length, 0) != (ssize_t)length) {
        leave(self);
    }
}

static void end_answer(client *self) {
    self->state = WAITS;
    say(self, "\n", 1);
}

static void refuse(client *self, const char *why) {
    say(self, why, strlen(why));
    end_answer(self);
}

/* Begins the answer to a question: its prompt passes but for what the session holds of it, the system message. */
static void ask(client *self, const char *question, size_t length) {
    rasp_error error;
    uint32_t tokens[CONTEXT];
    size_t count, same = 0;
    rasp_chat_message messages[] = {{"system", 6, SYSTEM, sizeof SYSTEM - 1, NULL, 0}, {"user", 4, question, length, NULL, 0}};
    /* What a client says is text, whatever it looks like. It is refused if it is no UTF-8, or too long. */
    if (rasp_chat_tokenize(model, messages, 2, NULL, tokens, CONTEXT - MAX_ANSWER, &count, &error) < 0) {
        refuse(self, error.message);
        return;
    }
    while (same < count - 1 && same < self->prompt_length && tokens[same] == self->prompt[same]) {
        same++;
    }
    check(rasp_session_rewind(self->session, same, &error), "rewind", &error);
    check(rasp_prefill_begin(self->session, tokens + same, count - same, &error), "begin a prompt", &error);
    memcpy(self->prompt, tokens, count * sizeof *tokens);
    self->prompt_length = count;
    self->text = (rasp_text_stream){{0}, 0};
    self->tokens = 0;
    self->state = PROMPT;
}

/* Reads what a client has sent. */
static void hear(client *self) {
    ssize_t got = recv(self->socket, self->line + self->length, MAX_LINE - 1 - self->length, 0);
    if (got < 0 && errno != EAGAIN && errno != EINTR) {
        leave(self); /* it is gone */
    }
    self->last = got == 0;
    self->length += got > 0 ? (size_t)got : 0;
}

/* A whole line is the next question. */
static void take_line(client *self) {
    char *end = memchr(self->line, '\n', self->length);
    if (end == NULL && self->last) {
        leave(self);
        return;
    }
    if (end == NULL) {
        if (self->length == MAX_LINE - 1) {
            refuse(self, "that is too long");
            self->length = 0;
        }
        return;
    }
    char question[MAX_LINE];
    size_t length = (size_t)(end - self->line);
    memcpy(question, self->line, length);
    self->length -= length + 1;
    memmove(self->line, end + 1, self->length);
    ask(self, question, length > 0 && question[length - 1] == '\r' ? length - 1 : length);
}

/* A token of an answer. */
static void take_token(client *self, rasp_status status, uint32_t token) {
    rasp_error error;
    char text[RASP_STEP_TEXT_SIZE];
    size_t length;
    const uint8_t *bytes = NULL;
    size_t count = 0;
    bool over = status != RASP_OK || ++self->tokens == MAX_ANSWER;
    if (status == RASP_OK && !rasp_token_is_special(model, token)) {
        check(rasp_token_bytes(model, token, &bytes, &count, &error), "text", &error);
        check(rasp_text_stream_push(&self->text, bytes, count, text, sizeof text, &length, &error), "text", &error);
        say(self, text, length);
    }
    if (over && self->socket >= 0) {
        end_answer(self);
    }
}

/* A slice of each prompt, and a token of every answer. */
static void work(void) {
    rasp_error error;
    rasp_session *sessions[MAX_CLIENTS];
    client *who[MAX_CLIENTS];
    uint32_t tokens[MAX_CLIENTS];
    rasp_status statuses[MAX_CLIENTS];
    size_t count = 0;
    for (client *one = clients; one < clients + MAX_CLIENTS; one++) {
        if (one->state == PROMPT) {
            rasp_status status = rasp_prefill_within(one->session, SLICE, &error);
            check(status, "prompt", &error);
            one->state = status == RASP_OK ? ANSWER : PROMPT;
        } else if (one->state == ANSWER) {
            who[count] = one;
            sessions[count++] = one->session;
        }
    }
    rasp_step_batch(sessions, count, tokens, statuses, &error); /* what became of each is in statuses */
    for (size_t i = 0; i < count; i++) {
        take_token(who[i], statuses[i], tokens[i]);
    }
}

static void welcome(int listener) {
    int socket = accept(listener, NULL, NULL);
    if (socket < 0) {
        return;
    }
    fcntl(socket, F_SETFL, O_NONBLOCK);
    for (client *one = clients; one < clients + MAX_CLIENTS; one++) {
        if (one->socket < 0) {
            one->socket = socket;
            return;
        }
    }
    close(socket); /* no session is free */
}

static int listen_at(const char *text) {
    char *end;
    long port = strtol(text, &end, 10);
    if (*text == 0 || *end != 0 || port < 0 || port > 65535) {
        fprintf(stderr, "server: a port is 0 to 65535\n");
        exit(EXIT_FAILURE);
    }
    int listener = socket(AF_INET, SOCK_STREAM, 0), on = 1;
    check_system(listener, "socket");
    check_system(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "socket");
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK); /* from this machine only */
    address.sin_port = htons((uint16_t)port);
    socklen_t size = sizeof address;
    check_system(bind(listener, (struct sockaddr *)&address, size), "bind");
    check_system(listen(listener, 16), "listen");
    check_system(getsockname(listener, (struct sockaddr *)&address, &size), "socket");
    printf("127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    return listener;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: server MODEL.rasp [PORT]\n");
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN); /* a client that goes is an error of send */
    rasp_error error;
    check(rasp_load(argv[1], NULL, &model, &error), "load", &error);
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = CONTEXT;
    for (client *one = clients; one < clients + MAX_CLIENTS; one++) {
        one->socket = -1;
        check(rasp_session_open(model, &options, &one->session, &error), "open a session", &error);
    }
    int listener = listen_at(argc > 2 ? argv[2] : "8080");
    for (;;) {
        struct pollfd waits[MAX_CLIENTS + 1] = {{listener, POLLIN, 0}};
        bool busy = false; /* there is something to compute, or a line that waits */
        for (int i = 0; i < MAX_CLIENTS; i++) {
            client *one = &clients[i];
            bool hears = !one->last && one->length < MAX_LINE - 1;
            waits[i + 1] = (struct pollfd){hears ? one->socket : -1, POLLIN, 0};
            busy = busy || one->state != WAITS || (one->socket >= 0 && one->last) ||
                   memchr(one->line, '\n', one->length) != NULL;
        }
        if (poll(waits, MAX_CLIENTS + 1, busy ? 0 : -1) < 0 && errno != EINTR) {
            check_system(-1, "poll");
        }
        for (int i = 0; i < MAX_CLIENTS; i++) {
            client *one = &clients[i];
            if (one->socket >= 0 && (waits[i + 1].revents & (POLLIN | POLLHUP | POLLERR)) != 0) {
                hear(one);
            }
            if (one->socket >= 0 && one->state == WAITS && (one->length > 0 || one->last)) {
                take_line(one);
            }
        }
        if ((waits[0].revents & POLLIN) != 0) {
            welcome(listener);
        }
        work();
    }
}

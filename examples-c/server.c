/*
 * server: a model behind HTTP on this machine, for programs that speak OpenAI's completions.
 *
 *     server MODEL.rasp [PORT]            port 8080; 0: any that is free, which is then printed
 *
 *     curl http://127.0.0.1:8080/v1/chat/completions -d '{"messages": [{"role": "user", "content": "Hi"}]}'
 *
 * POST /v1/chat/completions and /v1/completions, with "stream": true or without; max_tokens, temperature, top_p, seed and
 * stop; GET /health. One request at a time, and from this machine only: put something stronger before it to serve others.
 *
 * Build against an installed library:   cc -std=c11 server.c -lrasp -o server
 */
#define _POSIX_C_SOURCE 200809L

#include <rasp.h>

#include <arpa/inet.h>
#include <errno.h>
#include <netinet/in.h>
#include <signal.h>
#include <stdarg.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <strings.h>
#include <sys/socket.h>
#include <sys/time.h>
#include <time.h>
#include <unistd.h>

#define MAX_HEAD 16384      /* bytes of a request line and headers */
#define MAX_BODY 1048576    /* bytes of a request's JSON */
#define MAX_DEPTH 16        /* arrays and objects in each other */
#define MAX_MESSAGES 256
#define MAX_STOPS 4
#define CONTEXT 4096
#define SECONDS 10          /* a client that sends or takes nothing for so long is given up */

static rasp_model *model;
static rasp_session *session;

/* ---- A client, and bytes to it ---- */

typedef struct client {
    int socket;
    bool gone; /* what is sent from now on goes nowhere */
} client;

static void send_bytes(client *to, const char *bytes, size_t size) {
    while (size > 0 && !to->gone) {
        ssize_t sent = send(to->socket, bytes, size, 0);
        if (sent < 0 && errno == EINTR) {
            continue;
        }
        if (sent <= 0) {
            to->gone = true;
            return;
        }
        bytes += sent;
        size -= (size_t)sent;
    }
}

static void send_text(client *to, const char *text) {
    send_bytes(to, text, strlen(text));
}

/* Text that grows; `failed` once there was no memory for it. */
typedef struct buffer {
    char *bytes;
    size_t length, capacity;
    bool failed;
} buffer;

static void put_bytes(buffer *to, const char *bytes, size_t size) {
    if (!to->failed && to->capacity - to->length < size) {
        size_t capacity = 2 * (to->capacity + size);
        char *grown = realloc(to->bytes, capacity);
        if (grown == NULL) {
            to->failed = true;
        } else {
            to->bytes = grown;
            to->capacity = capacity;
        }
    }
    if (!to->failed && size > 0) {
        memcpy(to->bytes + to->length, bytes, size);
        to->length += size;
    }
}

/* Formats at most 511 bytes. */
static void put(buffer *to, const char *form, ...) {
    char text[512];
    va_list arguments;
    va_start(arguments, form);
    int size = vsnprintf(text, sizeof text, form, arguments);
    va_end(arguments);
    if (size >= 0) {
        put_bytes(to, text, (size_t)size < sizeof text ? (size_t)size : sizeof text - 1);
    }
}

/* A JSON string of UTF-8. */
static void put_string(buffer *to, const char *text, size_t size) {
    put_bytes(to, "\"", 1);
    for (size_t i = 0; i < size; i++) {
        unsigned char byte = (unsigned char)text[i];
        if (byte == '"' || byte == '\\') {
            put_bytes(to, "\\", 1);
            put_bytes(to, text + i, 1);
        } else if (byte < 0x20) {
            put(to, "\\u%04x", (unsigned)byte);
        } else {
            put_bytes(to, text + i, 1);
        }
    }
    put_bytes(to, "\"", 1);
}

static void respond(client *to, const char *status, const buffer *body) {
    char head[256];
    size_t length = body->failed ? 0 : body->length;
    snprintf(head, sizeof head,
             "HTTP/1.1 %s\r\nContent-Type: application/json\r\nContent-Length: %zu\r\nConnection: close\r\n\r\n",
             body->failed ? "500 Internal Server Error" : status, length);
    send_text(to, head);
    send_bytes(to, body->bytes, length);
}

static void refuse(client *to, const char *status, const char *message) {
    buffer body = {0};
    put(&body, "{\"error\": {\"message\": ");
    put_string(&body, message, strlen(message));
    put(&body, ", \"type\": \"%s\"}}", status[0] == '4' ? "invalid_request_error" : "server_error");
    respond(to, status, &body);
    free(body.bytes);
}

/* ---- JSON, read in place: strings are unescaped where they stand and end with a NUL ---- */

typedef struct reader {
    char *at, *end;
    const char *problem; /* the first one; nothing is read after it */
} reader;

static bool fail(reader *from, const char *problem) {
    if (from->problem == NULL) {
        from->problem = problem;
    }
    return false;
}

/* The next byte that is no white space, or 0 at the end. */
static char peek(reader *from) {
    while (from->at < from->end && strchr(" \t\r\n", *from->at) != NULL && *from->at != 0) {
        from->at++;
    }
    return from->problem == NULL && from->at < from->end ? *from->at : 0;
}

static bool take(reader *from, char wanted) {
    if (peek(from) != wanted) {
        return false;
    }
    from->at++;
    return true;
}

static bool read_hex(reader *from, unsigned *unit) {
    *unit = 0;
    for (int i = 0; i < 4; i++) {
        char digit = from->at < from->end ? *from->at++ : 0;
        const char *digits = "0123456789abcdef";
        const char *found = digit == 0 ? NULL : strchr(digits, digit >= 'A' && digit <= 'F' ? digit + 32 : digit);
        if (found == NULL) {
            return fail(from, "a \\u without four digits");
        }
        *unit = *unit * 16 + (unsigned)(found - digits);
    }
    return true;
}

static char *write_utf8(char *to, unsigned code) {
    if (code < 0x80) {
        *to++ = (char)code;
        return to;
    }
    if (code < 0x800) {
        *to++ = (char)(0xC0 | code >> 6);
    } else {
        if (code < 0x10000) {
            *to++ = (char)(0xE0 | code >> 12);
        } else {
            *to++ = (char)(0xF0 | code >> 18);
            *to++ = (char)(0x80 | (code >> 12 & 0x3F));
        }
        *to++ = (char)(0x80 | (code >> 6 & 0x3F));
    }
    *to++ = (char)(0x80 | (code & 0x3F));
    return to;
}

/* An escape, whose backslash has been read. It is never shorter than what it stands for. */
static char *read_escape(reader *from, char *to) {
    char kind = from->at < from->end ? *from->at++ : 0;
    const char *kinds = "\"\\/bfnrt", *meanings = "\"\\/\b\f\n\r\t";
    const char *found = kind == 0 ? NULL : strchr(kinds, kind);
    if (found != NULL) {
        *to++ = meanings[found - kinds];
        return to;
    }
    unsigned code, low;
    if (kind != 'u') {
        fail(from, "an unknown escape in a string");
        return to;
    }
    if (!read_hex(from, &code)) {
        return to;
    }
    if (code >= 0xD800 && code < 0xDC00 && from->end - from->at >= 6 && from->at[0] == '\\' && from->at[1] == 'u') {
        from->at += 2;
        if (!read_hex(from, &low)) {
            return to;
        }
        code = low >= 0xDC00 && low < 0xE000 ? 0x10000 + ((code - 0xD800) << 10) + (low - 0xDC00) : code;
    }
    if (code >= 0xD800 && code < 0xE000) {
        fail(from, "half a surrogate pair in a string");
        return to;
    }
    return write_utf8(to, code);
}

/* A string and its length, for it may hold NULs; NULL if there is none. */
static char *read_text(reader *from, size_t *length) {
    *length = 0;
    if (!take(from, '"')) {
        fail(from, "a string is missing");
        return NULL;
    }
    char *start = from->at, *to = start;
    while (from->problem == NULL) {
        if (from->at >= from->end || (unsigned char)*from->at < 0x20) {
            fail(from, "a string does not end");
        } else if (*from->at == '"') {
            from->at++;
            *to = 0;
            *length = (size_t)(to - start);
            return start;
        } else if (*from->at == '\\') {
            from->at++;
            to = read_escape(from, to);
        } else {
            *to++ = *from->at++;
        }
    }
    return NULL;
}

/* One that is not to hold a NUL. */
static char *read_string(reader *from) {
    size_t length;
    char *text = read_text(from, &length);
    if (text != NULL && memchr(text, 0, length) != NULL) {
        fail(from, "a string holds a NUL");
        return NULL;
    }
    return text;
}

/* Numbers are read by hand: strtod would obey the locale. */
static double read_number(reader *from) {
    bool negative = take(from, '-');
    double value = 0.0, unit = 1.0;
    int digits = 0;
    for (bool fraction = false; from->at < from->end; from->at++) {
        if (*from->at == '.' && !fraction && digits > 0) {
            fraction = true;
        } else if (*from->at >= '0' && *from->at <= '9' && ++digits < 18) {
            value = value * 10.0 + (*from->at - '0');
            unit *= fraction ? 10.0 : 1.0;
        } else {
            break;
        }
    }
    if (digits == 0 || (from->at < from->end && strchr("eE.", *from->at) != NULL && *from->at != 0)) {
        fail(from, "a plain number is missing");
    }
    return (negative ? -value : value) / unit;
}

static bool read_word(reader *from, const char *word) {
    peek(from);
    size_t length = strlen(word);
    if (from->problem != NULL || (size_t)(from->end - from->at) < length || memcmp(from->at, word, length) != 0) {
        return false;
    }
    from->at += length;
    return true;
}

static bool read_bool(reader *from) {
    if (read_word(from, "true")) {
        return true;
    }
    return !read_word(from, "false") && fail(from, "true or false is missing");
}

/* Passes over a value of any kind. */
static void skip(reader *from, int depth) {
    char first = peek(from);
    if (depth > MAX_DEPTH) {
        fail(from, "arrays and objects are nested too deeply");
    } else if (first == '"') {
        read_string(from);
    } else if (first == '[' || first == '{') {
        char close = first == '[' ? ']' : '}';
        from->at++;
        if (take(from, close)) {
            return;
        }
        do {
            if (first == '{' && (read_string(from) == NULL || !take(from, ':'))) {
                fail(from, "a name in an object is missing");
            }
            skip(from, depth + 1);
        } while (take(from, ','));
        if (!take(from, close)) {
            fail(from, "an array or object does not end");
        }
    } else if (first == '-' || (first >= '0' && first <= '9')) {
        /* What is not used may be any number. */
        while (from->at < from->end && strchr("+-.eE0123456789", *from->at) != NULL && *from->at != 0) {
            from->at++;
        }
    } else if (!read_word(from, "null") && !read_word(from, "true") && !read_word(from, "false")) {
        fail(from, "a value is missing");
    }
}

/* ---- What is asked for ---- */

typedef struct request {
    const char *prompt;
    size_t prompt_length;
    rasp_chat_message messages[MAX_MESSAGES];
    size_t message_count;
    const char *stops[MAX_STOPS];
    size_t stop_count;
    double max_tokens, temperature, top_p, seed;
    bool chat, stream;
} request;

static void read_messages(reader *from, request *ask) {
    if (!take(from, '[')) {
        fail(from, "messages is no array");
        return;
    }
    do {
        rasp_chat_message message = {NULL, 0, NULL, 0, NULL, 0};
        if (!take(from, '{')) {
            fail(from, "a message is no object");
            return;
        }
        do {
            const char *name = read_string(from);
            if (name == NULL || !take(from, ':')) {
                fail(from, "a name in a message is missing");
            } else if (strcmp(name, "role") == 0) {
                message.role = read_text(from, &message.role_length);
            } else if (strcmp(name, "content") == 0) {
                message.content = read_text(from, &message.content_length);
            } else {
                skip(from, 2);
            }
        } while (take(from, ','));
        if (!take(from, '}') || message.role == NULL || message.content == NULL) {
            fail(from, "a message needs a role and a content, both strings");
        } else if (ask->message_count == MAX_MESSAGES) {
            fail(from, "too many messages");
        } else {
            ask->messages[ask->message_count++] = message;
        }
    } while (take(from, ','));
    if (!take(from, ']')) {
        fail(from, "messages does not end");
    }
}

static void read_stops(reader *from, request *ask) {
    if (read_word(from, "null")) {
        return;
    }
    bool many = take(from, '[');
    do {
        const char *stop = read_string(from);
        if (stop != NULL && ask->stop_count == MAX_STOPS) {
            fail(from, "more than 4 stop strings");
        } else if (stop != NULL) {
            ask->stops[ask->stop_count++] = stop;
        }
    } while (many && take(from, ','));
    if (many && !take(from, ']')) {
        fail(from, "stop does not end");
    }
}

/* Reads a request's JSON, which it changes; NULL if it is well, else what is wrong with it. */
static const char *read_request(char *body, size_t size, request *ask) {
    reader from = {body, body + size, NULL};
    if (!take(&from, '{')) {
        return "the body is no JSON object";
    }
    if (peek(&from) != '}') {
        do {
            const char *name = read_string(&from);
            if (name == NULL || !take(&from, ':')) {
                fail(&from, "a name in the object is missing");
            } else if (strcmp(name, "prompt") == 0) {
                ask->prompt = read_text(&from, &ask->prompt_length);
            } else if (strcmp(name, "messages") == 0) {
                read_messages(&from, ask);
            } else if (strcmp(name, "stop") == 0) {
                read_stops(&from, ask);
            } else if (strcmp(name, "stream") == 0) {
                ask->stream = read_bool(&from);
            } else if (strcmp(name, "max_tokens") == 0) {
                ask->max_tokens = read_number(&from);
            } else if (strcmp(name, "temperature") == 0) {
                ask->temperature = read_number(&from);
            } else if (strcmp(name, "top_p") == 0) {
                ask->top_p = read_number(&from);
            } else if (strcmp(name, "seed") == 0) {
                ask->seed = read_number(&from);
            } else {
                skip(&from, 1);
            }
        } while (take(&from, ','));
    }
    if (!take(&from, '}') || peek(&from) != 0 || from.at != from.end) {
        fail(&from, "the object does not end where the body does");
    }
    if (from.problem == NULL && ask->chat && ask->message_count == 0) {
        fail(&from, "messages is missing");
    }
    if (from.problem == NULL && !ask->chat && (ask->prompt == NULL || ask->prompt_length == 0)) {
        fail(&from, "prompt is missing: one string that is not empty");
    }
    if (from.problem == NULL && !(ask->max_tokens >= 1.0 && ask->max_tokens <= CONTEXT)) {
        fail(&from, "max_tokens lies outside 1 to 4096");
    }
    if (from.problem == NULL && !(ask->seed >= 0.0 && ask->seed < 9e15)) {
        fail(&from, "seed is negative or too large");
    }
    return from.problem;
}

/* ---- The answer ---- */

/* Puts the session after the prompt. NULL if that went well, else what is wrong, in error's message or of its own. */
static const char *prepare(const request *ask, size_t *prompt_tokens, rasp_error *error) {
    static uint32_t tokens[CONTEXT];
    rasp_sampling sampling;
    rasp_sampling_init(&sampling);
    sampling.temperature = (float)ask->temperature;
    sampling.top_p = (float)ask->top_p;
    sampling.seed = (uint64_t)ask->seed;
    if (rasp_session_reset(session, error) < 0 || rasp_session_set_sampling(session, &sampling, error) < 0 ||
        rasp_session_set_stop(session, ask->stops, ask->stop_count, error) < 0) {
        return error->message;
    }
    rasp_status status =
        ask->chat
            ? rasp_chat_tokenize(model, ask->messages, ask->message_count, NULL, tokens, CONTEXT, prompt_tokens, error)
            : rasp_tokenize(model, ask->prompt, ask->prompt_length, RASP_TOKENIZE_ADD_SPECIAL, tokens, CONTEXT,
                            prompt_tokens, error);
    if (status == RASP_ERROR_BUFFER_TOO_SMALL || (status >= 0 && *prompt_tokens == CONTEXT)) {
        return "the prompt is longer than the context of 4096 tokens";
    }
    return status < 0 || rasp_prefill(session, tokens, *prompt_tokens, error) < 0 ? error->message : NULL;
}

static void put_choice(buffer *to, const request *ask, const char *id, bool chunk, const char *text, size_t length,
                       const char *reason) {
    put(to, "{\"id\": \"%s\", \"object\": \"%s%s\", \"created\": %lld, \"model\": \"rasp\", \"choices\": [{\"index\": 0, ", id,
        ask->chat ? "chat.completion" : "text_completion", ask->chat && chunk ? ".chunk" : "", (long long)time(NULL));
    if (ask->chat) {
        put(to, chunk ? "\"delta\": {\"content\": " : "\"message\": {\"role\": \"assistant\", \"content\": ");
        put_string(to, text, length);
        put(to, "}");
    } else {
        put(to, "\"text\": ");
        put_string(to, text, length);
    }
    put(to, reason == NULL ? ", \"finish_reason\": null}]" : ", \"finish_reason\": \"%s\"}]", reason);
}

static void send_event(client *to, const request *ask, const char *id, const char *text, size_t length,
                       const char *reason) {
    buffer event = {0};
    put(&event, "data: ");
    put_choice(&event, ask, id, true, text, length, reason);
    put(&event, "}\n\n");
    to->gone = to->gone || event.failed;
    send_bytes(to, event.bytes, event.length);
    free(event.bytes);
}

static void complete(client *to, const request *ask) {
    static unsigned long number;
    rasp_error error;
    size_t prompt_tokens = 0;
    const char *problem = prepare(ask, &prompt_tokens, &error);
    if (problem != NULL) {
        refuse(to, "400 Bad Request", problem);
        return;
    }
    char id[40];
    snprintf(id, sizeof id, "cmpl-%lu", ++number);
    if (ask->stream) {
        send_text(to, "HTTP/1.1 200 OK\r\nContent-Type: text/event-stream\r\nCache-Control: no-cache\r\n"
                      "Connection: close\r\n\r\n");
    }
    buffer all = {0};
    rasp_status status = RASP_OK;
    uint32_t ended = RASP_ENDED_NOT;
    int tokens = 0;
    while (status == RASP_OK && tokens < (int)ask->max_tokens && !to->gone) {
        char text[RASP_STEP_TEXT_SIZE];
        size_t length, late = 0;
        status = rasp_step_text(session, 0, text, sizeof text, &length, &ended, &error);
        tokens += ended != RASP_ENDED_CONTEXT;
        if (ask->stream && length > 0) {
            send_event(to, ask, id, text, length, NULL);
        } else {
            put_bytes(&all, text, length);
        }
        if (status == RASP_OK && tokens == (int)ask->max_tokens &&
            rasp_finish_text(session, text, sizeof text, &late, &error) == RASP_OK && late > 0) {
            if (ask->stream) {
                send_event(to, ask, id, text, late, NULL);
            } else {
                put_bytes(&all, text, late);
            }
        }
    }
    const char *reason = ended == RASP_ENDED_TOKEN || ended == RASP_ENDED_STOP ? "stop" : "length";
    if (ask->stream) {
        send_event(to, ask, id, "", 0, status < 0 ? "error" : reason);
        send_text(to, "data: [DONE]\n\n");
    } else if (status < 0) {
        refuse(to, "500 Internal Server Error", error.message);
    } else {
        buffer body = {0};
        put_choice(&body, ask, id, false, all.bytes, all.length, reason);
        put(&body, ", \"usage\": {\"prompt_tokens\": %zu, \"completion_tokens\": %d, \"total_tokens\": %zu}}", prompt_tokens,
            tokens, prompt_tokens + (size_t)tokens);
        body.failed = body.failed || all.failed;
        respond(to, "200 OK", &body);
        free(body.bytes);
    }
    free(all.bytes);
}

/* ---- HTTP ---- */

/* Reads until `wanted` bytes are there; false if the client ends before. */
static bool receive(client *from, char *bytes, size_t *have, size_t wanted) {
    while (*have < wanted) {
        ssize_t got = recv(from->socket, bytes + *have, wanted - *have, 0);
        if (got < 0 && errno == EINTR) {
            continue;
        }
        if (got <= 0) {
            return false;
        }
        *have += (size_t)got;
    }
    return true;
}

/* The value of a header, whose name ends with a colon; NULL if there is none. `head` ends with a NUL. */
static const char *header(const char *head, const char *name) {
    for (const char *line = strstr(head, "\r\n"); line != NULL; line = strstr(line, "\r\n")) {
        line += 2;
        if (strncasecmp(line, name, strlen(name)) == 0) {
            line += strlen(name);
            return line + strspn(line, " \t");
        }
    }
    return NULL;
}

static void serve(client *to) {
    static char head[MAX_HEAD + 1];
    size_t have = 0;
    char *end = NULL;
    while (end == NULL) {
        if (have == MAX_HEAD) {
            refuse(to, "431 Request Header Fields Too Large", "the headers are too long");
            return;
        }
        ssize_t got = recv(to->socket, head + have, MAX_HEAD - have, 0);
        if (got <= 0) {
            return;
        }
        have += (size_t)got;
        head[have] = 0;
        if (strlen(head) != have) {
            refuse(to, "400 Bad Request", "a NUL in the headers");
            return;
        }
        end = strstr(head, "\r\n\r\n");
    }
    char *body_start = end + 4;
    *end = 0;
    char method[8], path[128];
    int minor;
    if (sscanf(head, "%7s %127s HTTP/1.%1d", method, path, &minor) != 3) {
        refuse(to, "400 Bad Request", "no request line of HTTP/1");
        return;
    }
    bool get = strcmp(method, "GET") == 0, post = strcmp(method, "POST") == 0;
    if (strcmp(path, "/health") == 0) {
        if (!get) {
            refuse(to, "405 Method Not Allowed", "health is asked for with GET");
            return;
        }
        buffer body = {0};
        put(&body, "{\"status\": \"ok\"}");
        respond(to, "200 OK", &body);
        free(body.bytes);
        return;
    }
    static request ask;
    memset(&ask, 0, sizeof ask);
    ask.chat = strcmp(path, "/v1/chat/completions") == 0;
    ask.max_tokens = 256.0;
    ask.temperature = 1.0;
    ask.top_p = 1.0;
    if (!ask.chat && strcmp(path, "/v1/completions") != 0) {
        refuse(to, "404 Not Found", "there are /v1/chat/completions, /v1/completions and /health");
        return;
    }
    if (!post) {
        refuse(to, "405 Method Not Allowed", "completions are asked for with POST");
        return;
    }
    const char *length_text = header(head, "Content-Length:");
    if (length_text == NULL) {
        refuse(to, "411 Length Required", "Content-Length is missing");
        return;
    }
    char *rest;
    unsigned long long length = strtoull(length_text, &rest, 10);
    if (*length_text < '0' || *length_text > '9' || (*rest != 0 && *rest != '\r' && *rest != ' ')) {
        refuse(to, "400 Bad Request", "Content-Length is no number");
        return;
    }
    if (length > MAX_BODY) {
        refuse(to, "413 Content Too Large", "the body has more than 1 MiB");
        return;
    }
    if (header(head, "Expect:") != NULL) {
        send_text(to, "HTTP/1.1 100 Continue\r\n\r\n");
    }
    char *body = malloc((size_t)length + 1);
    if (body == NULL) {
        refuse(to, "500 Internal Server Error", "no memory for the body");
        return;
    }
    size_t there = have - (size_t)(body_start - head);
    there = there < (size_t)length ? there : (size_t)length;
    memcpy(body, body_start, there);
    if (receive(to, body, &there, (size_t)length)) {
        const char *problem = read_request(body, (size_t)length, &ask);
        if (problem != NULL) {
            refuse(to, "400 Bad Request", problem);
        } else {
            complete(to, &ask);
        }
    } else {
        refuse(to, "400 Bad Request", "the body is shorter than its Content-Length");
    }
    free(body);
}

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

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: server MODEL.rasp [PORT]\n");
        return EXIT_FAILURE;
    }
    long port = argc > 2 ? strtol(argv[2], NULL, 10) : 8080;
    if (port < 0 || port > 65535) {
        fprintf(stderr, "server: a port is 0 to 65535\n");
        return EXIT_FAILURE;
    }
    signal(SIGPIPE, SIG_IGN); /* a client that goes is an error of send */
    rasp_error error;
    check(rasp_load(argv[1], NULL, &model, &error), "load", &error);
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = CONTEXT;
    check(rasp_session_open(model, &options, &session, &error), "open a session", &error);

    int listener = socket(AF_INET, SOCK_STREAM, 0);
    check_system(listener, "socket");
    int on = 1;
    check_system(setsockopt(listener, SOL_SOCKET, SO_REUSEADDR, &on, sizeof on), "socket");
    struct sockaddr_in address = {0};
    address.sin_family = AF_INET;
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    address.sin_port = htons((uint16_t)port);
    socklen_t size = sizeof address;
    check_system(bind(listener, (struct sockaddr *)&address, size), "bind");
    check_system(listen(listener, 16), "listen");
    check_system(getsockname(listener, (struct sockaddr *)&address, &size), "socket");
    printf("http://127.0.0.1:%u\n", (unsigned)ntohs(address.sin_port));
    fflush(stdout);
    for (;;) {
        client to = {accept(listener, NULL, NULL), false};
        if (to.socket < 0) {
            continue;
        }
        struct timeval patience = {SECONDS, 0};
        setsockopt(to.socket, SOL_SOCKET, SO_RCVTIMEO, &patience, sizeof patience);
        setsockopt(to.socket, SOL_SOCKET, SO_SNDTIMEO, &patience, sizeof patience);
        serve(&to);
        /* To close while there is something unread would take back what was sent. */
        shutdown(to.socket, SHUT_WR);
        char unread[4096];
        for (int i = 0; i < 512 && recv(to.socket, unread, sizeof unread, 0) > 0; i++) {
        }
        close(to.socket);
    }
}

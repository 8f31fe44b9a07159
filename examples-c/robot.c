/*
 * robot: an instruction in words becomes a command in JSON, or the robot keeps the one it has.
 *
 *     robot MODEL.rasp [DEADLINE_MS] < instructions
 *
 * Each line of input is an instruction; each line of output is the command that the robot carries out from then on. A
 * schema constrains what the model can say, so that every command can be read; a watchdog cancels an answer that is not
 * there when the deadline passes. The robot believes neither: it checks each command against its own limits.
 *
 * Needs a library with constraints, as every one is but a lean one.
 * Build against an installed library:   cc -std=c11 robot.c -lrasp -pthread -o robot
 */
#define _POSIX_C_SOURCE 200809L

#include <rasp.h>

#include <errno.h>
#include <pthread.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

#define MAX_TOKENS 1024
#define MAX_COMMAND 128

static const char SCHEMA[] =
    "{\"type\": \"object\", \"additionalProperties\": false, \"required\": [\"action\", \"amount\"], \"properties\": {"
    "\"action\": {\"enum\": [\"drive\", \"left\", \"right\", \"stop\"]},"
    "\"amount\": {\"type\": \"integer\", \"minimum\": 0, \"maximum\": 180}}}";

/* A small model learns from examples better than from rules. Metres to drive, degrees to turn. */
static const char EXAMPLES[] =
    "Instructions for a robot, and the commands that carry them out.\n\n"
    "Instruction: drive 3 metres\nCommand:\n{\"action\": \"drive\", \"amount\": 3}\n\n"
    "Instruction: turn left by 90 degrees\nCommand:\n{\"action\": \"left\", \"amount\": 90}\n\n"
    "Instruction: halt, there is a person!\nCommand:\n{\"action\": \"stop\", \"amount\": 0}\n\n"
    "Instruction: please turn 45 degrees to the right\nCommand:\n{\"action\": \"right\", \"amount\": 45}\n\n"
    "Instruction: go forward for seven metres\nCommand:\n{\"action\": \"drive\", \"amount\": 7}\n\n"
    "Instruction: stop now\nCommand:\n{\"action\": \"stop\", \"amount\": 0}\n\n";

/* Ends the program with what went wrong, unless the call succeeded. */
static void check(rasp_status status, const char *what, const rasp_error *error) {
    if (status < 0) {
        fprintf(stderr, "robot: %s: %s: %s\n", what, rasp_status_name(status), error->message);
        exit(EXIT_FAILURE);
    }
}

/* Cancels a session's call when a deadline passes. One thread; armed and disarmed by the caller. */
typedef struct watchdog {
    pthread_t thread;
    pthread_mutex_t lock;
    pthread_cond_t changed;
    struct timespec deadline; /* by CLOCK_MONOTONIC */
    const rasp_session *session;
    bool armed, fired, quit;
} watchdog;

static void *watch(void *argument) {
    watchdog *self = argument;
    pthread_mutex_lock(&self->lock);
    while (!self->quit) {
        if (!self->armed) {
            pthread_cond_wait(&self->changed, &self->lock);
        } else if (pthread_cond_timedwait(&self->changed, &self->lock, &self->deadline) == ETIMEDOUT && self->armed) {
            self->armed = false;
            self->fired = true;
            rasp_cancel(self->session);
        }
    }
    pthread_mutex_unlock(&self->lock);
    return NULL;
}

static bool watchdog_start(watchdog *self, const rasp_session *session) {
    memset(self, 0, sizeof *self);
    self->session = session;
    pthread_condattr_t attributes;
    return pthread_mutex_init(&self->lock, NULL) == 0 && pthread_condattr_init(&attributes) == 0 &&
           pthread_condattr_setclock(&attributes, CLOCK_MONOTONIC) == 0 &&
           pthread_cond_init(&self->changed, &attributes) == 0 &&
           pthread_create(&self->thread, NULL, watch, self) == 0;
}

static void watchdog_arm(watchdog *self, long milliseconds) {
    pthread_mutex_lock(&self->lock);
    clock_gettime(CLOCK_MONOTONIC, &self->deadline);
    long nanoseconds = self->deadline.tv_nsec + milliseconds % 1000 * 1000000L;
    self->deadline.tv_sec += milliseconds / 1000 + nanoseconds / 1000000000L;
    self->deadline.tv_nsec = nanoseconds % 1000000000L;
    self->armed = true;
    self->fired = false;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
}

/* True if the deadline passed first. After this call the watchdog cancels nothing. */
static bool watchdog_disarm(watchdog *self) {
    pthread_mutex_lock(&self->lock);
    self->armed = false;
    bool fired = self->fired;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    return fired;
}

static void watchdog_stop(watchdog *self) {
    pthread_mutex_lock(&self->lock);
    self->quit = true;
    pthread_cond_signal(&self->changed);
    pthread_mutex_unlock(&self->lock);
    pthread_join(self->thread, NULL);
}

/* Reads {"action": "...", "amount": N} and nothing else, within the robot's limits. The schema promises as much; a robot
   takes no promises. */
static bool is_safe(const char *command) {
    char action[8];
    int amount, end = 0;
    if (sscanf(command, "{\"action\": \"%7[a-z]\", \"amount\": %3d}%n", action, &amount, &end) != 2 || end == 0 ||
        command[end] != 0 || amount < 0) {
        return false;
    }
    if (strcmp(action, "stop") == 0) {
        return true;
    }
    if (strcmp(action, "drive") == 0) {
        return amount <= 10;
    }
    return (strcmp(action, "left") == 0 || strcmp(action, "right") == 0) && amount <= 180;
}

/* What the model makes of an instruction, after the examples that the session holds. */
static rasp_status ask(const rasp_model *model, rasp_session *session, const char *instruction,
                       char command[MAX_COMMAND], rasp_error *error) {
    char prompt[600];
    int size = snprintf(prompt, sizeof prompt, "Instruction: %.500s\nCommand:\n", instruction);
    uint32_t tokens[MAX_TOKENS];
    size_t count, total = 0;
    rasp_status status = rasp_tokenize(model, prompt, (size_t)size, 0, tokens, MAX_TOKENS, &count, error);
    if (status >= 0) {
        status = rasp_prefill(session, tokens, count, error);
    }
    while (status == RASP_OK) {
        char text[RASP_STEP_TEXT_SIZE];
        size_t length;
        status = rasp_step_text(session, 0, text, sizeof text, &length, NULL, error);
        if (total + length >= MAX_COMMAND) {
            length = MAX_COMMAND - 1 - total; /* too long is no command: it will not be safe */
        }
        memcpy(command + total, text, length);
        total += length;
    }
    command[total] = 0;
    return status;
}

int main(int argc, char **argv) {
    if (argc < 2) {
        fprintf(stderr, "usage: robot MODEL.rasp [DEADLINE_MS] < instructions\n");
        return EXIT_FAILURE;
    }
    long deadline = argc > 2 ? strtol(argv[2], NULL, 10) : 5000;
    rasp_error error;
    rasp_model *model;
    check(rasp_load(argv[1], NULL, &model, &error), "load", &error);
    rasp_constraint *constraint;
    check(rasp_constraint_new(model, RASP_CONSTRAINT_JSON_SCHEMA, SCHEMA, sizeof SCHEMA - 1, &constraint, &error), "schema",
          &error);
    rasp_session_options options;
    rasp_session_options_init(&options);
    options.context = 1024;
    rasp_session *session;
    check(rasp_session_open(model, &options, &session, &error), "open a session", &error);
    check(rasp_session_set_constraint(session, constraint, &error), "constrain", &error);
    rasp_constraint_free(constraint); /* the session keeps what it needs */

    /* The examples pass once; before every instruction the session goes back to them. */
    uint32_t tokens[MAX_TOKENS];
    size_t examples;
    check(rasp_tokenize(model, EXAMPLES, sizeof EXAMPLES - 1, RASP_TOKENIZE_ADD_SPECIAL, tokens, MAX_TOKENS, &examples,
                        &error),
          "tokenize", &error);
    check(rasp_prefill(session, tokens, examples, &error), "examples", &error);

    watchdog dog;
    if (!watchdog_start(&dog, session)) {
        fprintf(stderr, "robot: no watchdog\n");
        return EXIT_FAILURE;
    }
    char safe[MAX_COMMAND] = "{\"action\": \"stop\", \"amount\": 0}";
    char line[512];
    while (fgets(line, sizeof line, stdin) != NULL) {
        line[strcspn(line, "\r\n")] = 0;
        char command[MAX_COMMAND];
        check(rasp_session_rewind(session, examples, &error), "rewind", &error);
        watchdog_arm(&dog, deadline);
        rasp_status status = ask(model, session, line, command, &error);
        bool late = watchdog_disarm(&dog);
        if (late && status != RASP_ERROR_CANCELLED) {
            /* It fired between two calls: the next one is cancelled in its place. */
            uint32_t token;
            rasp_step(session, &token, NULL);
        }
        if (late || status == RASP_ERROR_CANCELLED) {
            fprintf(stderr, "robot: \"%s\": no command within %ld ms, keeping the last\n", line, deadline);
        } else if (status < 0) {
            fprintf(stderr, "robot: \"%s\": %s: %s\n", line, rasp_status_name(status), error.message);
        } else if (!is_safe(command)) {
            fprintf(stderr, "robot: \"%s\": %s is not safe, keeping the last\n", line, command);
        } else {
            memcpy(safe, command, sizeof safe);
        }
        puts(safe);
        fflush(stdout);
    }
    watchdog_stop(&dog);
    rasp_session_close(session);
    rasp_free(model);
    return EXIT_SUCCESS;
}

/*
 * editor_readline.c: line_editor.h on GNU readline.
 *
 * The callback interface is used with our own wait for input, so that Ctrl-C
 * is ours: it drops the line and tells the session.  Bracketed paste and
 * ~/.inputrc ($if hwb) are readline's.
 */
#ifdef HWB_EDITOR_READLINE

#include "line_editor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static editor_complete_fn complete_fn;
static void *complete_user;
static bool (*was_interrupted)(void);
static char *received;
static bool finished;
static volatile sig_atomic_t resized;

static char **matches; /* of the word being completed */
static int next_match;

static char *give_match(const char *text, int state) {
    (void)text;
    if (state == 0) next_match = 0;
    return matches && matches[next_match] ? strdup(matches[next_match++]) : NULL;
}

static void free_matches(void) {
    for (int i = 0; matches && matches[i]; i++) free(matches[i]);
    free(matches);
    matches = NULL;
}

/* readline cuts the word at start; ours may begin elsewhere, so the part
 * between is put in front of, or taken off, every match. */
static char **complete(const char *text, int start, int end) {
    int begin = start;
    char suffix = '\0';
    (void)text;
    rl_attempted_completion_over = 1;
    free_matches();
    matches = complete_fn(complete_user, rl_line_buffer, end, &begin, &suffix);
    rl_completion_append_character = suffix;
    for (int i = 0; matches && matches[i]; i++) {
        char *whole = NULL;
        if (begin <= start) {
            size_t skip = (size_t)(start - begin);
            whole = strdup(strlen(matches[i]) >= skip ? matches[i] + skip : "");
        } else {
            size_t n = (size_t)(begin - start);
            whole = malloc(n + strlen(matches[i]) + 1);
            if (whole) {
                memcpy(whole, rl_line_buffer + start, n);
                strcpy(whole + n, matches[i]);
            }
        }
        free(matches[i]);
        matches[i] = whole;
    }
    return matches ? rl_completion_matches(text, give_match) : NULL;
}

static void on_line(char *line) {
    received = line;
    finished = true;
    rl_callback_handler_remove();
}

static void on_resize(int number) {
    (void)number;
    resized = 1;
}

void editor_open(editor_complete_fn fn, void *user, bool (*interrupted)(void)) {
    complete_fn = fn;
    complete_user = user;
    was_interrupted = interrupted;
    rl_readline_name = "hwb";
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_attempted_completion_function = complete;
    rl_basic_word_break_characters = " \t\n\"'`;=()<>{}[],+-*/%^#~|&!?";
    rl_completer_quote_characters = "";
    using_history();
    stifle_history(10000);
    struct sigaction action = {.sa_handler = on_resize};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
}

void editor_close(void) {
    free_matches();
}

/* Ctrl-C: what was typed is dropped, on a line of its own. */
static void drop_line(void) {
    rl_callback_sigcleanup();
    rl_free_line_state();
    rl_callback_handler_remove();
    fputs("^C\n", rl_outstream);
    fflush(rl_outstream);
}

editor_event editor_read(const char *prompt, char **line) {
    finished = false;
    received = NULL;
    rl_callback_handler_install(prompt, on_line);
    while (!finished) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = poll(&input, 1, -1);
        if (ready < 0 && errno == EINTR) {
            if (was_interrupted()) {
                drop_line();
                return EDITOR_INTERRUPT;
            }
            if (resized) {
                resized = 0;
                rl_resize_terminal();
            }
            continue;
        }
        rl_callback_read_char();
    }
    if (!received) {
        fputc('\n', stdout);
        return EDITOR_END;
    }
    *line = received;
    return EDITOR_LINE;
}

void editor_history_add(const char *line) {
    add_history(line);
}

const char *editor_history_get(int i) {
    HIST_ENTRY *entry = history_get(history_base + i);
    return entry ? entry->line : NULL;
}

const char *editor_name(void) {
    return "readline";
}

#endif

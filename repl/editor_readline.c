/*
 * editor_readline.c: line_editor.h on GNU readline.
 *
 * The callback interface is used with our own wait for input, so that Ctrl-C
 * is ours: it drops the line and tells the session.  Bracketed paste and
 * ~/.inputrc ($if hwb) are readline's.
 */
#ifdef HWB_EDITOR_READLINE

#define _GNU_SOURCE /* ppoll */
#include "line_editor.h"

#include <errno.h>
#include <poll.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <termios.h>
#include <unistd.h>

#include <readline/history.h>
#include <readline/readline.h>

static editor_complete_fn complete_fn;
static void *complete_user;
static bool (*was_interrupted)(void);
static bool (*forward)(int);
static char *received;
static bool finished;
static volatile sig_atomic_t resized, resumed; /* SIGWINCH, SIGCONT arrived */

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

static void on_terminal(int number) {
    if (forward(number)) return;
    if (number == SIGCONT) resumed = 1;
    else resized = 1;
}

void editor_open(editor_complete_fn fn, void *user, bool (*interrupted)(void),
                 bool (*forward_signal)(int)) {
    complete_fn = fn;
    complete_user = user;
    was_interrupted = interrupted;
    forward = forward_signal;
    rl_readline_name = "hwb";
    rl_catch_signals = 0;
    rl_catch_sigwinch = 0;
    rl_attempted_completion_function = complete;
    rl_basic_word_break_characters = " \t\n\"'`;=()<>{}[],+-*/%^#~|&!?";
    rl_completer_quote_characters = rl_basic_quote_characters = ""; /* quotes are ours */
    using_history();
    stifle_history(10000);
    struct sigaction action = {.sa_handler = on_terminal};
    sigemptyset(&action.sa_mask);
    sigaction(SIGWINCH, &action, NULL);
    sigaction(SIGCONT, &action, NULL);
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

static sigset_t waiting; /* signals are let in only while waiting, so that none
                            falls between a check and a wait */
static bool dropped, hung_up;

/* Waits for input or a signal; false when the line is dropped. */
static bool wait_for_input(void) {
    for (;;) {
        struct pollfd input = {.fd = STDIN_FILENO, .events = POLLIN};
        int ready = ppoll(&input, 1, NULL, &waiting);
        if (ready < 0 && was_interrupted()) return false;
        if (resized) {
            resized = 0;
            rl_resize_terminal();
        }
        if (resumed) { /* after Ctrl-Z and fg the shell's modes are set */
            resumed = 0;
            rl_prep_term_function(1);
            rl_forced_update_display();
        }
        hung_up = ready > 0 && (input.revents & (POLLHUP | POLLERR));
        if (ready > 0) return true;
    }
}

/* Ctrl-C empties the terminal's queue, also between "there is input" and the
 * read: with VMIN 0 that read gives nothing instead of waiting, deaf. */
static void prepare_terminal(int meta) {
    struct termios mode;
    rl_prep_terminal(meta);
    if (tcgetattr(STDIN_FILENO, &mode) != 0 || (mode.c_lflag & ICANON)) return;
    mode.c_cc[VMIN] = mode.c_cc[VTIME] = 0;
    tcsetattr(STDIN_FILENO, TCSANOW, &mode);
}

/* For readline; the newline given after Ctrl-C ends a line that is dropped. */
static int get_char(FILE *stream) {
    unsigned char c;
    (void)stream;
    for (;;) {
        if (!wait_for_input()) {
            dropped = true;
            return '\n';
        }
        ssize_t n = read(STDIN_FILENO, &c, 1);
        if (n == 1) return c;
        if (n == 0 && (hung_up || !isatty(STDIN_FILENO))) return EOF;
        if (n < 0 && errno != EINTR && errno != EAGAIN) return EOF;
    }
}

editor_event editor_read(const char *prompt, char **line) {
    sigset_t held;
    sigemptyset(&held);
    sigaddset(&held, SIGINT);
    sigaddset(&held, SIGTERM);
    sigaddset(&held, SIGWINCH);
    sigaddset(&held, SIGCONT);
    finished = false;
    received = NULL;
    sigprocmask(SIG_BLOCK, &held, &waiting);
    rl_getc_function = get_char;
    rl_prep_term_function = prepare_terminal;
    rl_callback_handler_install(prompt, on_line);
    dropped = was_interrupted(); /* pressed just before */
    while (!finished && !dropped) {
        if (wait_for_input()) rl_callback_read_char();
        else dropped = true;
    }
    sigprocmask(SIG_SETMASK, &waiting, NULL);
    if (dropped) {
        free(received);
        drop_line();
        return EDITOR_INTERRUPT;
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

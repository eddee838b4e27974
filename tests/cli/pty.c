/*
 * pty: drives a program on a pseudo-terminal by a script, one step a line:
 *
 *     expect TEXT      waits (15 s) until TEXT appears after the last match
 *     absent TEXT      fails when TEXT has appeared after the last match
 *     send TEXT        types TEXT; \n (Enter) \t \e \\ and \xHH are understood
 *     signal NAME      INT, TERM, KILL, STOP, CONT or WINCH to the program itself
 *     resize ROWS COLS
 *     sleep MS
 *     exit N           waits (15 s) for the end with status N (128+signal)
 *
 * Escape sequences of the terminal are taken out of the output before it is
 * searched.  The first step that fails is named, with all output so far.
 *
 *     pty SCRIPT PROGRAM [ARGS]
 */
#include <ctype.h>
#include <errno.h>
#include <poll.h>
#include <pty.h>
#include <signal.h>
#include <stdbool.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <sys/wait.h>
#include <time.h>
#include <unistd.h>

enum { OUTPUT_MAX = 1 << 20, WAIT_MS = 15000 };

static char output[OUTPUT_MAX + 1];
static size_t output_len, matched; /* matched: end of the last match */
static int master;
static pid_t child;

static double now_ms(void) {
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

/* Appends what a person would see: no CSI or OSC sequences, no \r. */
static void append(const char *bytes, size_t n) {
    static enum { TEXT, ESCAPE, CSI, OSC } state = TEXT;
    for (size_t i = 0; i < n && output_len < OUTPUT_MAX; i++) {
        char c = bytes[i];
        if (state == ESCAPE) state = c == '[' ? CSI : c == ']' ? OSC : TEXT;
        else if (state == CSI) state = c >= '@' && c <= '~' ? TEXT : CSI;
        else if (state == OSC) state = c == '\a' || c == '\\' ? TEXT : OSC;
        else if (c == '\033') state = ESCAPE;
        else if (c != '\r') output[output_len++] = c;
    }
    output[output_len] = '\0';
}

/* Reads what is there, waiting at most `ms`; false at the end of the output. */
static bool pump(int ms) {
    struct pollfd p = {.fd = master, .events = POLLIN};
    if (poll(&p, 1, ms) <= 0) return true;
    char buf[4096];
    ssize_t n = read(master, buf, sizeof buf);
    if (n <= 0) return n < 0 && errno == EINTR;
    append(buf, (size_t)n);
    return true;
}

static bool expect(const char *text) {
    double end = now_ms() + WAIT_MS;
    for (;;) {
        char *at = strstr(output + matched, text);
        if (at) {
            matched = (size_t)(at - output) + strlen(text);
            return true;
        }
        if (now_ms() > end) return false;
        if (!pump(50) && !strstr(output + matched, text)) return false;
    }
}

static void send_text(const char *s) {
    while (*s) {
        char c = *s++;
        if (c == '\\' && *s) {
            c = *s++;
            if (c == 'n') c = '\r'; /* the Enter key */
            else if (c == 't') c = '\t';
            else if (c == 'e') c = '\033';
            else if (c == 'x' && isxdigit((unsigned char)s[0]) && isxdigit((unsigned char)s[1])) {
                char hex[3] = {s[0], s[1], '\0'};
                c = (char)strtol(hex, NULL, 16);
                s += 2;
            }
        }
        if (write(master, &c, 1) != 1) return;
    }
}

static bool wait_exit(int wanted) {
    double end = now_ms() + WAIT_MS;
    int status;
    while (now_ms() < end) {
        pump(20);
        if (waitpid(child, &status, WNOHANG) != child) continue;
        child = 0;
        while (pump(0) && output_len < OUTPUT_MAX) {
            struct pollfd p = {.fd = master, .events = POLLIN};
            if (poll(&p, 1, 20) <= 0) break;
        }
        int got = WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
        if (got != wanted) fprintf(stderr, "pty: exit status %d instead of %d\n", got, wanted);
        return got == wanted;
    }
    return false;
}

static bool send_signal(const char *name) {
    static const struct {
        const char *name;
        int number;
    } signals[] = {{"INT", SIGINT},   {"TERM", SIGTERM}, {"KILL", SIGKILL},
                   {"STOP", SIGSTOP}, {"CONT", SIGCONT}, {"WINCH", SIGWINCH}};
    for (size_t i = 0; i < sizeof signals / sizeof *signals; i++)
        if (strcmp(signals[i].name, name) == 0) return kill(child, signals[i].number) == 0;
    return false;
}

static bool step(char *line) {
    char *argument = line + strcspn(line, " ");
    if (*argument) *argument++ = '\0';
    if (strcmp(line, "expect") == 0) return expect(argument);
    if (strcmp(line, "absent") == 0) {
        pump(100);
        return strstr(output + matched, argument) == NULL;
    }
    if (strcmp(line, "send") == 0) return send_text(argument), true;
    if (strcmp(line, "signal") == 0) return send_signal(argument);
    if (strcmp(line, "resize") == 0) {
        struct winsize size = {0};
        size.ws_row = (unsigned short)strtol(argument, &argument, 10);
        size.ws_col = (unsigned short)strtol(argument, NULL, 10);
        return ioctl(master, TIOCSWINSZ, &size) == 0;
    }
    if (strcmp(line, "sleep") == 0) {
        double end = now_ms() + atof(argument);
        while (now_ms() < end) pump(10);
        return true;
    }
    if (strcmp(line, "exit") == 0) return wait_exit(atoi(argument));
    fprintf(stderr, "pty: unknown step '%s'\n", line);
    return false;
}

int main(int argc, char **argv) {
    if (argc < 3) {
        fprintf(stderr, "usage: pty SCRIPT PROGRAM [ARGS]\n");
        return 2;
    }
    FILE *script = fopen(argv[1], "r");
    struct winsize size = {.ws_row = 24, .ws_col = 80};
    if (!script) {
        perror("pty");
        return 2;
    }
    if ((child = forkpty(&master, NULL, NULL, &size)) < 0) {
        perror("pty: no pseudo-terminals here (is /dev/pts mounted?)");
        return 77;
    }
    if (child == 0) {
        setenv("TERM", "xterm", 1);
        execvp(argv[2], argv + 2);
        _exit(127);
    }
    char line[4096], copy[4096];
    int number = 0, status = 0;
    while (status == 0 && fgets(line, sizeof line, script)) {
        number++;
        line[strcspn(line, "\n")] = '\0';
        if (line[0] == '\0' || line[0] == '#') continue;
        strcpy(copy, line);
        if (step(line)) continue;
        fprintf(stderr, "pty: %s:%d: failed: %s\n--- output\n%s\n---\n", argv[1], number, copy,
                output);
        status = 1;
    }
    if (child > 0) {
        kill(child, SIGKILL);
        waitpid(child, NULL, 0);
    }
    fclose(script);
    return status;
}

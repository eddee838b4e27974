/*
 * What can the terminal show?
 *
 * kitty's image protocol is known by the environment; sixel by asking: the
 * answer to "ESC [ c" (primary device attributes) lists 4 when the terminal
 * draws sixels.  It is asked once, only when the program is in the foreground
 * of a terminal, and waited for at most a fifth of a second.  HWB_PLOT names a
 * kind and ends the search; tmux and screen get text, they pass no images on.
 */
#define _GNU_SOURCE /* strcasestr */
#include "bind_i.h"
#include "bind_plot.h"

#include <fcntl.h>
#include <poll.h>
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <termios.h>
#include <unistd.h>

enum { ANSWER_MS = 200 };

static bool has(const char *variable, const char *part) {
    const char *value = getenv(variable);
    return value && strcasestr(value, part);
}

/* LC_ALL overrides LC_CTYPE overrides LANG. */
static bool is_utf8(void) {
    static const char *const names[] = {"LC_ALL", "LC_CTYPE", "LANG"};
    for (int i = 0; i < 3; i++) {
        const char *value = getenv(names[i]);
        if (value && *value) return strcasestr(value, "utf-8") || strcasestr(value, "utf8");
    }
    return false;
}

/* "ESC [ ? 62 ; 4 ; 22 c": is one of the numbers 4? */
static bool lists_sixel(const char *s) {
    const char *p = strstr(s, "\033[?");
    for (p = p ? p + 3 : NULL; p && *p && *p != 'c'; p++) {
        if (atoi(p) == 4) return true;
        p += strcspn(p, ";c");
        if (*p != ';') break;
    }
    return false;
}

static bool ask_sixel(void) {
    int fd = open("/dev/tty", O_RDWR | O_NOCTTY | O_CLOEXEC);
    struct termios old, raw;
    bool yes = false;
    if (fd < 0) return false;
    if (tcgetpgrp(fd) == getpgrp() && tcgetattr(fd, &old) == 0) {
        raw = old;
        raw.c_lflag &= ~(tcflag_t)(ICANON | ECHO);
        tcsetattr(fd, TCSANOW, &raw);
        char answer[128];
        size_t n = 0;
        struct pollfd wait = {.fd = fd, .events = POLLIN};
        bool asked = write(fd, "\033[c", 3) == 3;
        while (asked && n < sizeof answer - 1 && poll(&wait, 1, ANSWER_MS) > 0) {
            ssize_t got = read(fd, answer + n, 1);
            if (got <= 0 || answer[n++] == 'c') break;
        }
        answer[n] = 0;
        yes = lists_sixel(answer);
        tcsetattr(fd, TCSANOW, &old);
    }
    close(fd);
    return yes;
}

static const char *kind_of(bool tty) {
    const char *wanted = getenv("HWB_PLOT"), *text = is_utf8() ? "braille" : "ascii";
    static const char *const kinds[] = {"kitty", "sixel", "braille", "ascii"};
    for (int i = 0; wanted && i < 4; i++)
        if (!strcmp(wanted, kinds[i])) return kinds[i];
    if (!tty || getenv("TMUX") || has("TERM", "screen") || has("TERM", "tmux")) return text;
    if (getenv("KITTY_WINDOW_ID") || has("TERM", "kitty") || has("TERM", "ghostty")) return "kitty";
    static int sixel = -1;
    if (sixel < 0) sixel = !has("TERM", "dumb") && ask_sixel();
    return sixel ? "sixel" : text;
}

int hwb_lua_plot_terminal(lua_State *L) {
    bool tty = isatty(STDOUT_FILENO);
    struct winsize size = {0};
    if (!tty || ioctl(STDOUT_FILENO, TIOCGWINSZ, &size) != 0) size = (struct winsize){0};
    const char *no_color = getenv("NO_COLOR");
    lua_createtable(L, 0, 6);
    hwb__lset_string(L, "kind", kind_of(tty));
    hwb__lset_boolean(L, "tty", tty);
    hwb__lset_boolean(L, "color", tty && !(no_color && *no_color) && !has("TERM", "dumb"));
    hwb__lset_integer(L, "cols", size.ws_col ? size.ws_col : 80);
    hwb__lset_integer(L, "rows", size.ws_row ? size.ws_row : 24);
    hwb__lset_integer(L, "width", size.ws_xpixel); /* pixels; 0 = not told */
    return 1;
}

/*
 * progress.c: how far long calls are, on stderr.
 *
 *     epoch 2/5 > eigs 12/50  24 %  1.3/s  ETA 0:29 | lambda 141.2 +- 0.3
 *
 * Calls may nest; each `what` is one task, the last one is shown in full.  On
 * a terminal one line is redrawn at most ten times a second; elsewhere a plain
 * line appears every 10 % or 30 s.  Nothing is shown in a task's first second.
 */
#include "program.h"

#include <stdlib.h>
#include <string.h>
#include <sys/ioctl.h>
#include <unistd.h>

#include "../lua/bind/bind.h"

enum { MAX_TASKS = 6 };

typedef struct task {
    char what[48];
    double started, shown;
    int64_t first, done, total; /* first: done when it was first heard of */
    int tenth, silent;          /* silent: tasks inside that ended since it was last heard of */
} task;

static task tasks[MAX_TASKS];
static int depth;
static bool terminal, quiet, drawn;

void progress_clear(void) {
    if (!drawn) return;
    fputs("\r\033[K", stderr);
    fflush(stderr);
    drawn = false;
}

static int columns(void) {
    struct winsize size;
    if (ioctl(STDERR_FILENO, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) return size.ws_col;
    return 80;
}

static void duration(char *buf, size_t size, double seconds) {
    if (seconds > 360000) seconds = 360000;
    long s = (long)(seconds + 0.5);
    if (s >= 3600) snprintf(buf, size, "%ld:%02ld:%02ld", s / 3600, s / 60 % 60, s % 60);
    else snprintf(buf, size, "%ld:%02ld", s / 60, s % 60);
}

static void compose(char *line, size_t size, const task *t, const char *note) {
    size_t n = 0;
    for (const task *outer = tasks; outer < t; outer++)
        n += (size_t)snprintf(line + n, size - n, "%s %lld/%lld > ", outer->what,
                              (long long)outer->done, (long long)outer->total);
    double elapsed = hwb_seconds() - t->started, rate = (double)(t->done - t->first) / elapsed;
    n += (size_t)snprintf(line + n, size - n, "%s %lld", t->what, (long long)t->done);
    if (t->total > 0) {
        char eta[24] = "?";
        if (rate > 0) duration(eta, sizeof eta, (double)(t->total - t->done) / rate);
        n += (size_t)snprintf(line + n, size - n, "/%lld  %d %%  %.3g/s  ETA %s",
                              (long long)t->total, (int)(100 * t->done / t->total), rate, eta);
    } else n += (size_t)snprintf(line + n, size - n, "  %.3g/s", rate);
    if (note && *note) snprintf(line + n, size - n, " | %.200s", note);
}

/* The task called `what`: an open one (those inside it have ended), or a new one. */
static task *find_task(const char *what, int64_t done, double now) {
    for (int i = 0; i < depth; i++) {
        if (strncmp(tasks[i].what, what, sizeof tasks[i].what - 1) != 0) continue;
        depth = i + 1;
        if (done >= tasks[i].done) return &tasks[i];
        depth = i; /* it started again */
    }
    /* a task that another one ends: of unknown length, or stopped before its time,
     * which shows when several tasks inside it ended without a word from it */
    while (depth > 0 && (tasks[depth - 1].total <= 0 || tasks[depth - 1].silent >= 3)) depth--;
    if (depth == MAX_TASKS) depth--;
    task *t = &tasks[depth++];
    *t = (task){.started = now, .shown = now, .first = done};
    snprintf(t->what, sizeof t->what, "%s", what);
    return t;
}

static void show(void *user, const char *what, int64_t done, int64_t total, const char *note) {
    (void)user;
    if (quiet) return;
    double now = hwb_seconds();
    task *t = find_task(what, done, now);
    t->silent = 0;
    t->done = done;
    t->total = total;
    char line[1024];
    int tenth = total > 0 ? (int)(10 * done / total) : 0;
    bool finished = total > 0 && done >= total;
    bool due = terminal ? now - t->shown >= 0.1 : tenth > t->tenth || now - t->shown >= 30;
    if (now - t->started >= 1 && due && !(terminal && finished)) {
        compose(line, sizeof line, t, note);
        if (terminal) fprintf(stderr, "\r%.*s\033[K", columns() - 1, line);
        else fprintf(stderr, "%s\n", line);
        fflush(stderr);
        drawn = terminal;
        t->shown = now;
        t->tenth = tenth;
    }
    if (finished) {
        progress_clear();
        depth = (int)(t - tasks);
        for (int i = 0; i < depth; i++) tasks[i].silent++;
    }
}

void progress_install(lua_State *L, bool be_quiet) {
    const char *term = getenv("TERM");
    terminal = isatty(STDERR_FILENO) && term && strcmp(term, "dumb") != 0;
    quiet = be_quiet;
    hwb_set_progress(hwb_lua_ctx(L), show, NULL);
}

int progress_lua(lua_State *L) {
    const char *what = luaL_checkstring(L, 1);
    int64_t done = luaL_checkinteger(L, 2), total = luaL_optinteger(L, 3, 0);
    hwb_progress(hwb_lua_ctx(L), what, done, total, luaL_optstring(L, 4, NULL));
    return 0;
}

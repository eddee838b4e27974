/*
 * log.c: where the engine's remarks go.  The engine itself never writes to a
 * terminal; the program installs a sink before it starts any thread.
 */
#include "base/base.h"

#include <stdio.h>

static hwb_log_fn sink;
static void *sink_user;

void hwb_set_log(hwb_log_fn fn, void *user) {
    sink = fn;
    sink_user = user;
}

void hwb_note(hwb_log_level level, const char *fmt, ...) {
    if (!sink) return;
    char text[2048];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    if (n >= 0) sink(sink_user, level, text);
}

/*
 * access.c: the question "may this file be opened?", put to the program before
 * a reader or writer touches a path; and whether what is written is kept.
 */
#include "base/base.h"

static hwb_access_fn ask;
static void *ask_user;
static bool discard;

void hwb_set_access(hwb_access_fn fn, void *user) {
    ask = fn;
    ask_user = user;
}

hwb_status hwb_check_access(hwb_ctx *ctx, const char *path, bool write) {
    return ask ? ask(ask_user, ctx, path, write) : HWB_OK;
}

void hwb_set_discard(bool on) {
    discard = on;
}

bool hwb_discards(void) {
    return discard;
}

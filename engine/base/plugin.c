/*
 * plugin.c: shared libraries found at run time.
 *
 * A plug-in is looked for in each folder of $HWB_BACKEND_PATH (colon-separated)
 * when that is set, else in <folder of the program>/../lib/hwb and in the folder of
 * the program.  Only absolute folders are searched, so the working directory never
 * decides which code is loaded.  Plug-ins are never unloaded: their libraries keep threads and
 * exit handlers.
 */
#include "base/base.h"

#include <dlfcn.h>
#include <limits.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

typedef struct search {
    const char *file, *symbol;
    hwb_plugin_take_fn take;
    void *user;
    bool found;
    char refused[1024]; /* "path: reason" of the first file that would not do */
    char folders[1024]; /* those searched, comma-separated */
} search;

/* dlerror names the file itself, mostly. */
static void refuse(search *s, const char *path, const char *reason) {
    if (s->refused[0]) return;
    if (strncmp(reason, path, strlen(path)) == 0)
        snprintf(s->refused, sizeof(s->refused), "%.500s", reason);
    else snprintf(s->refused, sizeof(s->refused), "%.500s: %.500s", path, reason);
}

static void load(search *s, const char *path) {
    void *lib = dlopen(path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) {
        const char *reason = dlerror();
        refuse(s, path, reason ? reason : "does not load");
        return;
    }
    void *entry = dlsym(lib, s->symbol);
    char none[128];
    snprintf(none, sizeof none, "has no %s", s->symbol);
    const char *reason = entry ? s->take(s->user, entry) : none;
    if (reason) refuse(s, path, reason);
    else s->found = true;
}

static void look_in(search *s, const char *folder, size_t length) {
    if (s->found || length == 0 || folder[0] != '/') return;
    char path[PATH_MAX];
    int n = snprintf(path, sizeof(path), "%.*s/%s", (int)length, folder, s->file);
    if (n < 0 || (size_t)n >= sizeof(path)) return;
    size_t used = strlen(s->folders);
    snprintf(s->folders + used, sizeof(s->folders) - used, "%s%.*s", used ? ", " : "", (int)length,
             folder);
    if (access(path, F_OK) == 0) load(s, path);
}

static void look_beside_program(search *s) {
    char program[PATH_MAX], folder[PATH_MAX + 16];
    ssize_t n = readlink("/proc/self/exe", program, sizeof(program) - 1);
    if (n <= 0) return;
    program[n] = 0;
    char *slash = strrchr(program, '/');
    if (!slash) return;
    *slash = 0;
    snprintf(folder, sizeof(folder), "%s/../lib/hwb", program);
    look_in(s, folder, strlen(folder));
    look_in(s, program, strlen(program));
}

hwb_status hwb_plugin_find(hwb_ctx *ctx, const char *file, const char *symbol,
                           hwb_plugin_take_fn take, void *user) {
    search s = {.file = file, .symbol = symbol, .take = take, .user = user};
    const char *path = getenv("HWB_BACKEND_PATH");
    while (path && *path) {
        size_t n = strcspn(path, ":");
        look_in(&s, path, n);
        path += n + (path[n] == ':');
    }
    if (!getenv("HWB_BACKEND_PATH")) look_beside_program(&s);
    if (s.found) return HWB_OK;
    if (s.refused[0]) return hwb_fail(ctx, HWB_EDEVICE, "%s", s.refused);
    return hwb_fail(ctx, HWB_EDEVICE, "no %s in %s", file,
                    s.folders[0] ? s.folders : "HWB_BACKEND_PATH, which names no absolute folder");
}

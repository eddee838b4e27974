/*
 * sandbox.c: what a recipe may touch, for hwb.sys.
 *
 * Paths are compared after links are resolved, so that "../" and symbolic
 * links lead nowhere new.  A file that does not exist yet counts as its
 * nearest existing folder plus the rest.  --untrusted adds limits on
 * instructions, Lua heap, engine bytes and wall time, and a Landlock ruleset.
 */
#define _GNU_SOURCE /* O_PATH */
#include "program.h"

#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <linux/landlock.h>
#include <signal.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/resource.h>
#include <sys/stat.h>
#include <sys/syscall.h>
#include <unistd.h>

#include "../lua/bind/bind.h"

typedef struct path_list {
    char **path;
    int count;
} path_list;

static path_list readable, writable;
static bool guarding;

/* ---- paths ------------------------------------------------------------------------ */

/* The real path of a file that may not exist yet; false when it cannot be told. */
static bool resolve(const char *path, char out[PATH_MAX]) {
    if (realpath(path, out)) return true;
    char head[PATH_MAX], real[PATH_MAX];
    if (snprintf(head, sizeof head, "%s%s", path[0] == '/' ? "" : "./", path) >= PATH_MAX)
        return false;
    struct stat info;
    if (lstat(head, &info) == 0) return false; /* a link to nowhere */
    for (char *slash = strrchr(head, '/'); slash; slash = strrchr(head, '/')) {
        *slash = '\0';
        const char *tail = path + strlen(path) - strlen(slash + 1);
        if (strstr(slash + 1, "..")) return false;
        if (!realpath(*head ? head : "/", real)) {
            if (errno != ENOENT) return false;
            continue;
        }
        /* everything of `path` behind `head` */
        tail = path + (path[0] == '/' ? strlen(head) : strlen(head) > 1 ? strlen(head) - 2 : 0);
        while (*tail == '/') tail++;
        if (strstr(tail, "..")) return false;
        return snprintf(out, PATH_MAX, "%s/%s", strcmp(real, "/") ? real : "", tail) < PATH_MAX;
    }
    return false;
}

static bool is_below(const char *path, const path_list *list) {
    for (int i = 0; i < list->count; i++) {
        size_t n = strlen(list->path[i]);
        if (n == 1) return true; /* "/" */
        if (strncmp(path, list->path[i], n) == 0 && (path[n] == '/' || path[n] == '\0'))
            return true;
    }
    return false;
}

static bool allowed(const char *path, bool write) {
    char real[PATH_MAX];
    if (!guarding) return true;
    if (!resolve(path, real)) return false;
    return is_below(real, &writable) || (!write && is_below(real, &readable));
}

static int sandbox_permit(lua_State *L) {
    char real[PATH_MAX];
    path_list *list = lua_toboolean(L, 2) ? &writable : &readable;
    if (!resolve(luaL_checkstring(L, 1), real)) return 0;
    char **more = realloc(list->path, ((size_t)list->count + 1) * sizeof *more);
    if (!more) return luaL_error(L, "out of memory");
    list->path = more;
    list->path[list->count] = strdup(real);
    if (list->path[list->count]) list->count++;
    return 0;
}

static int sandbox_allowed(lua_State *L) {
    lua_pushboolean(L, allowed(luaL_checkstring(L, 1), lua_toboolean(L, 2)));
    return 1;
}

/* Asked by the engine before it opens a file. */
static hwb_status guard(void *user, hwb_ctx *ctx, const char *path, bool write) {
    (void)user;
    if (allowed(path, write)) return HWB_OK;
    const char *mode = write ? "write" : "read";
    return hwb_fail(ctx, HWB_EPERM,
                    "the recipe wants to %s %s; rerun with --allow-%s=%s to allow it", mode, path,
                    mode, path);
}

static int sandbox_guard(lua_State *L) {
    guarding = lua_toboolean(L, 1);
    hwb_set_access(guarding ? guard : NULL, NULL);
    return 0;
}

/* ---- limits ------------------------------------------------------------------------- */

static struct {
    lua_Alloc inner;
    void *inner_user;
    size_t used, cap;
    int64_t instructions;
} limits;

enum { HOOK_STEP = 100000, GRACE_SECONDS = 5 };

static void *limited_alloc(void *user, void *p, size_t old, size_t size) {
    size_t before = p ? old : 0; /* without p, `old` is a type tag */
    (void)user;
    if (size > before && limits.used + (size - before) > limits.cap) return NULL;
    void *q = limits.inner(limits.inner_user, p, old, size);
    if (q || size == 0) limits.used += size - before;
    return q;
}

static volatile sig_atomic_t time_is_up;

/* A spent budget is raised again at every instruction, so that no pcall outlives it. */
static void count_hook(lua_State *L, lua_Debug *ar) {
    (void)ar;
    limits.instructions -= lua_gethookcount(L);
    if (limits.instructions > 0 && !time_is_up) return;
    lua_sethook(L, count_hook, LUA_MASKCOUNT, 1);
    hwb_lua_push_error(L, HWB_EPERM,
                       time_is_up ? "the untrusted recipe used up its time"
                                  : "the untrusted recipe used up its instructions");
    lua_error(L);
}

static void on_alarm(int number) {
    (void)number;
    if (time_is_up) {
        static const char text[] = "\nhwb: the untrusted recipe did not stop in time\n";
        ssize_t ignored = write(STDERR_FILENO, text, sizeof text - 1);
        (void)ignored;
        _exit(7);
    }
    time_is_up = 1;
    hwb_interrupt(); /* stops a long engine call; the hook says why */
    alarm(GRACE_SECONDS);
}

/* limit(seconds, instructions, lua heap MiB, engine MiB) */
static int sandbox_limit(lua_State *L) {
    double seconds = luaL_checknumber(L, 1);
    limits.instructions = (int64_t)luaL_checknumber(L, 2);
    limits.inner = lua_getallocf(L, &limits.inner_user);
    limits.used = (size_t)lua_gc(L, LUA_GCCOUNT) * 1024;
    limits.cap = limits.used + (size_t)(luaL_checknumber(L, 3) * 1048576);
    lua_setallocf(L, limited_alloc, NULL);
    hwb_memory_set_limit(hwb_lua_ctx(L), (size_t)(luaL_checknumber(L, 4) * 1048576));
    struct rlimit files = {(rlim_t)8 << 30, (rlim_t)8 << 30};
    setrlimit(RLIMIT_FSIZE, &files);
    struct sigaction action = {.sa_handler = on_alarm};
    sigemptyset(&action.sa_mask);
    sigaction(SIGALRM, &action, NULL);
    alarm(seconds < 1 ? 1 : (unsigned)seconds);
    int step = limits.instructions < HOOK_STEP ? (int)limits.instructions : HOOK_STEP;
    lua_sethook(L, count_hook, LUA_MASKCOUNT, step > 0 ? step : 1);
    return 0;
}

/* unlimit(): the recipe has ended; what follows is the program's own work */
static int sandbox_unlimit(lua_State *L) {
    if (!limits.inner) return 0;
    limits.cap = SIZE_MAX;
    hwb_memory_set_limit(hwb_lua_ctx(L), 0);
    lua_sethook(L, NULL, 0, 0);
    hwb_interrupt_clear();
    alarm(0);
    return 0;
}

static int sandbox_time_is_up(lua_State *L) {
    lua_pushboolean(L, time_is_up != 0);
    return 1;
}

/* ---- the fence: Landlock --------------------------------------------------------------- */

enum {
    FENCE_READ = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_READ_DIR,
    FENCE_WRITE = LANDLOCK_ACCESS_FS_WRITE_FILE | LANDLOCK_ACCESS_FS_MAKE_REG |
                  LANDLOCK_ACCESS_FS_MAKE_DIR | LANDLOCK_ACCESS_FS_MAKE_SYM |
                  LANDLOCK_ACCESS_FS_REMOVE_FILE | LANDLOCK_ACCESS_FS_REMOVE_DIR,
    FENCE_RUN = LANDLOCK_ACCESS_FS_EXECUTE,
    FENCE_FILE = LANDLOCK_ACCESS_FS_READ_FILE | LANDLOCK_ACCESS_FS_WRITE_FILE |
                 LANDLOCK_ACCESS_FS_EXECUTE, /* rights that a plain file can have */
};

static bool fence_add(int ruleset, const char *path, __u64 access) {
    struct stat info;
    struct landlock_path_beneath_attr rule = {.parent_fd = open(path, O_PATH | O_CLOEXEC)};
    if (rule.parent_fd < 0) return true; /* what is not there needs no rule */
    bool is_dir = fstat(rule.parent_fd, &info) == 0 && S_ISDIR(info.st_mode);
    rule.allowed_access = is_dir ? access : access & FENCE_FILE;
    bool ok = syscall(SYS_landlock_add_rule, ruleset, LANDLOCK_RULE_PATH_BENEATH, &rule, 0) == 0;
    close(rule.parent_fd);
    return ok;
}

static bool fence_add_list(lua_State *L, int at, int ruleset, __u64 access) {
    bool ok = true;
    for (lua_Integer i = 1; ok && lua_rawgeti(L, at, i) == LUA_TSTRING; i++) {
        ok = fence_add(ruleset, lua_tostring(L, -1), access);
        lua_pop(L, 1);
    }
    return ok;
}

/* What the driver of GPUs opens again and again. */
static bool fence_add_gpus(int ruleset) {
    enum { MOST = 16 };
    char path[32];
    bool ok = fence_add(ruleset, "/dev/nvidiactl", FENCE_READ | FENCE_WRITE) &&
              fence_add(ruleset, "/dev/nvidia-uvm", FENCE_READ | FENCE_WRITE);
    for (int i = 0; ok && i < MOST; i++) {
        snprintf(path, sizeof path, "/dev/nvidia%d", i);
        ok = fence_add(ruleset, path, FENCE_READ | FENCE_WRITE);
    }
    return ok;
}

/* fence(readable paths, writable paths, may start programs) -> true, or nil and why not */
static int sandbox_fence(lua_State *L) {
    luaL_checktype(L, 1, LUA_TTABLE);
    luaL_checktype(L, 2, LUA_TTABLE);
    /* what the libraries themselves read while they work */
    static const char *const system_paths[] = {
        "/lib", "/lib64", "/usr", "/etc/fonts", "/etc/ld.so.cache", "/proc", "/sys", "/dev"};
    bool run = lua_toboolean(L, 3);
    struct landlock_ruleset_attr attr = {.handled_access_fs = FENCE_READ | FENCE_WRITE | FENCE_RUN};
    int ruleset = (int)syscall(SYS_landlock_create_ruleset, &attr, sizeof attr, 0);
    bool ok = ruleset >= 0;
    for (size_t i = 0; ok && i < sizeof system_paths / sizeof *system_paths; i++)
        ok = fence_add(ruleset, system_paths[i], FENCE_READ | (run ? FENCE_RUN : 0));
    ok = ok && fence_add_gpus(ruleset) &&
         fence_add(ruleset, "/dev/null", FENCE_READ | FENCE_WRITE) &&
         fence_add_list(L, 1, ruleset, FENCE_READ | (run ? FENCE_RUN : 0)) &&
         fence_add_list(L, 2, ruleset, FENCE_READ | FENCE_WRITE) &&
         prctl(PR_SET_NO_NEW_PRIVS, 1, 0, 0, 0) == 0 &&
         syscall(SYS_landlock_restrict_self, ruleset, 0) == 0;
    int code = errno;
    if (ruleset >= 0) close(ruleset);
    if (ok) {
        lua_pushboolean(L, 1);
        return 1;
    }
    lua_pushnil(L);
    lua_pushfstring(L, "Landlock: %s", strerror(code));
    return 2;
}

/* landlock() -> version of the kernel's interface, or nil */
static int sandbox_landlock(lua_State *L) {
    long version = syscall(SYS_landlock_create_ruleset, NULL, 0, LANDLOCK_CREATE_RULESET_VERSION);
    if (version < 0) lua_pushnil(L);
    else lua_pushinteger(L, version);
    return 1;
}

void sys_add_sandbox(lua_State *L) {
    static const luaL_Reg functions[] = {{"permit", sandbox_permit},
                                         {"allowed", sandbox_allowed},
                                         {"guard", sandbox_guard},
                                         {"limit", sandbox_limit},
                                         {"unlimit", sandbox_unlimit},
                                         {"time_is_up", sandbox_time_is_up},
                                         {"fence", sandbox_fence},
                                         {"landlock", sandbox_landlock},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

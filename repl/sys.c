/*
 * sys.c: the Lua module hwb.sys, what the program's Lua side needs from the
 * system.  Functions that meet the outside world return nil, message on
 * failure.  Recipes never see this module.
 */
#include "program.h"

#include <errno.h>
#include <limits.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>
#include <sys/ioctl.h>
#include <sys/random.h>
#include <unistd.h>

#include "../lua/bind/bind.h"

static int sys_sha256(lua_State *L) {
    size_t n;
    const char *data = luaL_checklstring(L, 1, &n);
    char hex[65];
    sha256_hex(data, n, hex);
    lua_pushstring(L, hex);
    return 1;
}

/* random_hex(n): n hex digits from the system */
static int sys_random_hex(lua_State *L) {
    unsigned char bytes[32];
    lua_Integer n = luaL_checkinteger(L, 1);
    luaL_argcheck(L, n >= 1 && n <= 64, 1, "1..64 digits");
    if (getrandom(bytes, sizeof bytes, 0) != (ssize_t)sizeof bytes) memset(bytes, 0, sizeof bytes);
    char hex[65];
    for (int i = 0; i < 32; i++) snprintf(hex + 2 * i, 3, "%02x", bytes[i]);
    lua_pushlstring(L, hex, (size_t)n);
    return 1;
}

static int sys_seconds(lua_State *L) {
    lua_pushnumber(L, hwb_seconds());
    return 1;
}

/* now() -> the time in UTC, "2026-01-31T23:59:59.123456Z" */
static int sys_now(lua_State *L) {
    struct timespec t;
    struct tm tm;
    char date[32];
    clock_gettime(CLOCK_REALTIME, &t);
    gmtime_r(&t.tv_sec, &tm);
    strftime(date, sizeof date, "%Y-%m-%dT%H:%M:%S", &tm);
    lua_pushfstring(L, "%s.", date);
    snprintf(date, sizeof date, "%06ldZ", t.tv_nsec / 1000);
    lua_pushstring(L, date);
    lua_concat(L, 2);
    return 1;
}

static int sys_isatty(lua_State *L) {
    lua_pushboolean(L, isatty((int)luaL_checkinteger(L, 1)));
    return 1;
}

/* columns() -> width of the terminal, 80 elsewhere */
static int sys_columns(lua_State *L) {
    struct winsize size;
    int n = 80;
    for (int fd = 1; fd <= 2; fd++)
        if (ioctl(fd, TIOCGWINSZ, &size) == 0 && size.ws_col > 20) {
            n = size.ws_col;
            break;
        }
    lua_pushinteger(L, n);
    return 1;
}

static int sys_hostname(lua_State *L) {
    char name[256] = "unknown";
    gethostname(name, sizeof name - 1);
    lua_pushstring(L, name);
    return 1;
}

static int sys_pid(lua_State *L) {
    lua_pushinteger(L, getpid());
    return 1;
}

/* alive(pid): does such a process exist? */
static int sys_alive(lua_State *L) {
    lua_pushboolean(L, kill((pid_t)luaL_checkinteger(L, 1), 0) == 0 || errno == EPERM);
    return 1;
}

static int sys_cwd(lua_State *L) {
    char path[PATH_MAX];
    if (!getcwd(path, sizeof path)) {
        lua_pushnil(L);
        lua_pushstring(L, strerror(errno));
        return 2;
    }
    lua_pushstring(L, path);
    return 1;
}

static int sys_setenv(lua_State *L) {
    setenv(luaL_checkstring(L, 1), luaL_checkstring(L, 2), 1);
    return 0;
}

/* clear_line(): removes a half-drawn progress line before text goes out */
static int sys_clear_line(lua_State *L) {
    (void)L;
    progress_clear();
    return 0;
}

/* raise(code, message): a failure with an exit status of its own, e.g. "EPERM" */
static int sys_raise(lua_State *L) {
    const char *code = luaL_checkstring(L, 1), *message = luaL_checkstring(L, 2);
    hwb_status status = HWB_EINTERNAL;
#define XX(name, value, exit_code, text)                                                           \
    if (strcmp(code, #name) == 0) status = HWB_##name;
    HWB_STATUS_MAP(XX)
#undef XX
    hwb_lua_push_error(L, status, message);
    return lua_error(L);
}

/* terminated(): did SIGTERM ask for the end? */
static int sys_terminated(lua_State *L) {
    lua_pushboolean(L, interrupt_terminated());
    return 1;
}

/* hold(on): with true a signal waits until asked for; did one come? */
static int sys_hold(lua_State *L) {
    lua_pushboolean(L, interrupt_hold(lua_toboolean(L, 1)));
    return 1;
}

/* interrupt_reset(): after an interrupt was dealt with */
static int sys_interrupt_reset(lua_State *L) {
    interrupt_begin(L);
    return 0;
}

static int sys_nearest(lua_State *L) {
    enum { MOST = 2048 };
    int n = 0;
    luaL_checktype(L, 2, LUA_TTABLE);
    const char **words = lua_newuserdatauv(L, MOST * sizeof *words, 0);
    for (; n < MOST && lua_rawgeti(L, 2, n + 1) == LUA_TSTRING; n++) {
        words[n] = lua_tostring(L, -1); /* stays valid: the table holds it */
        lua_pop(L, 1);
    }
    lua_pushstring(L, nearest_word(luaL_checkstring(L, 1), words, n));
    return 1;
}

int luaopen_hwb_sys(lua_State *L) {
    static const luaL_Reg functions[] = {{"sha256", sys_sha256},
                                         {"random_hex", sys_random_hex},
                                         {"seconds", sys_seconds},
                                         {"now", sys_now},
                                         {"isatty", sys_isatty},
                                         {"columns", sys_columns},
                                         {"hostname", sys_hostname},
                                         {"pid", sys_pid},
                                         {"alive", sys_alive},
                                         {"cwd", sys_cwd},
                                         {"setenv", sys_setenv},
                                         {"clear_line", sys_clear_line},
                                         {"raise", sys_raise},
                                         {"attempt", state_attempt},
                                         {"interrupt_reset", sys_interrupt_reset},
                                         {"terminated", sys_terminated},
                                         {"hold", sys_hold},
                                         {"failed", ranks_lua_failed},
                                         {"nearest", sys_nearest},
                                         {NULL, NULL}};
    luaL_newlib(L, functions);
    sys_add_files(L);
    sys_add_processes(L);
    sys_add_facts(L);
    sys_add_sandbox(L);
    return 1;
}

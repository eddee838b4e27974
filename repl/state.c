/*
 * state.c: the Lua state of the program.
 *
 * Lua files are found below HOME/lua: $HWB_HOME, or the source tree for a
 * binary in <tree>/<build>/bin, or ../share/hwb for an installed one.  Folders
 * on $HWB_PATH come after it.
 */
#include "program.h"

#include <limits.h>
#include <lualib.h>
#include <omp.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lua/bind/bind.h"

/* ---- where the Lua files are -------------------------------------------------------- */

static bool holds_lua(const char *dir) {
    char path[PATH_MAX + 64];
    snprintf(path, sizeof path, "%s/lua/hwb", dir);
    return access(path, R_OK) == 0;
}

char *state_find_home(void) {
    const char *forced = getenv("HWB_HOME");
    if (forced && *forced) return strdup(forced);
    char exe[PATH_MAX], dir[PATH_MAX + 32];
    ssize_t n = readlink("/proc/self/exe", exe, sizeof exe - 1);
    if (n < 0) return NULL;
    exe[n] = '\0';
    char *slash = strrchr(exe, '/');
    if (slash) *slash = '\0';
    static const char *const places[] = {"../..", "../share/hwb"};
    for (size_t i = 0; i < sizeof places / sizeof places[0]; i++) {
        snprintf(dir, sizeof dir, "%s/%s", exe, places[i]);
        if (holds_lua(dir)) return realpath(dir, NULL);
    }
    return NULL;
}

/* package.path: HOME/lua, then $HWB_PATH, then what Lua had. */
static void set_package_path(lua_State *L, const char *home) {
    luaL_Buffer b;
    lua_getglobal(L, "package");
    luaL_buffinit(L, &b);
    lua_pushfstring(L, "%s/lua/?.lua;%s/lua/?/init.lua", home, home);
    luaL_addvalue(&b);
    const char *extra = getenv("HWB_PATH");
    while (extra && *extra) {
        size_t n = strcspn(extra, ":");
        luaL_addstring(&b, ";");
        luaL_addlstring(&b, extra, n);
        luaL_addstring(&b, "/?.lua;");
        luaL_addlstring(&b, extra, n);
        luaL_addstring(&b, "/?/init.lua");
        extra += n + (extra[n] == ':');
    }
    luaL_addstring(&b, ";");
    lua_getfield(L, -2, "path");
    luaL_addvalue(&b);
    luaL_pushresult(&b);
    lua_setfield(L, -2, "path");
    lua_pop(L, 1);
}

/* ---- errors ----------------------------------------------------------------------------- */

/* Is the value at `at` a failure of hwb.errors.attempt, raised again? */
static bool has_traceback(lua_State *L, int at) {
    if (!lua_istable(L, at)) return false;
    lua_pushliteral(L, "traceback");
    bool has = lua_rawget(L, at) == LUA_TSTRING;
    lua_pop(L, 1);
    return has;
}

/* Message handler: keeps values with .code, adds a traceback.  Leaves the
 * table {error=, traceback=} that state_report reads. */
static int with_traceback(lua_State *L) {
    if (has_traceback(L, 1)) return 1;
    lua_createtable(L, 0, 2);
    lua_pushvalue(L, 1);
    lua_setfield(L, -2, "error");
    luaL_traceback(L, L, NULL, 1);
    lua_setfield(L, -2, "traceback");
    return 1;
}

int state_call(lua_State *L, int n_args, int n_results) {
    int base = lua_gettop(L) - n_args;
    lua_pushcfunction(L, with_traceback);
    lua_insert(L, base);
    interrupt_begin(L);
    int status = lua_pcall(L, n_args, n_results, base);
    interrupt_end(L);
    lua_remove(L, base);
    progress_clear();
    return status == LUA_OK ? 0 : state_report(L);
}

int state_attempt(lua_State *L) {
    luaL_checkany(L, 1);
    lua_pushcfunction(L, with_traceback);
    lua_insert(L, 1);
    int status = lua_pcall(L, lua_gettop(L) - 2, 0, 1);
    if (status == LUA_OK) return 0;
    interrupt_arrived(L);
    if (has_traceback(L, lua_gettop(L))) return 1;
    lua_createtable(L, 0, 2); /* no message handler ran: memory is out */
    lua_insert(L, -2);
    lua_setfield(L, -2, "error");
    lua_pushliteral(L, "");
    lua_setfield(L, -2, "traceback");
    return 1;
}

/* The exit status that an error value asks for: .exit, else 1. */
static int exit_status_of(lua_State *L, int at) {
    int status = 1;
    if (lua_istable(L, at)) {
        lua_getfield(L, at, "exit");
        if (lua_isinteger(L, -1)) status = (int)lua_tointeger(L, -1);
        lua_pop(L, 1);
    }
    if (status == 130 && interrupt_terminated()) status = 143;
    return status;
}

int state_report(lua_State *L) {
    int status =
        lua_type(L, -1) == LUA_TSTRING && strstr(lua_tostring(L, -1), "not enough memory") ? 5 : 1;
    if (lua_istable(L, -1)) {
        lua_getfield(L, -1, "error");
        status = exit_status_of(L, lua_gettop(L));
        lua_pop(L, 1);
    }
    progress_clear();
    fflush(stdout);
    /* hwb.errors.show(value): in Lua, where trimming text is easy */
    lua_getglobal(L, "require");
    lua_pushliteral(L, "hwb.errors");
    if (lua_pcall(L, 1, 1, 0) == LUA_OK) {
        lua_getfield(L, -1, "show");
        lua_pushvalue(L, -3);
        if (lua_pcall(L, 1, 0, 0) == LUA_OK) {
            lua_pop(L, 2);
            return status;
        }
    }
    fprintf(stderr, "hwb: %s\n", luaL_tolstring(L, -1, NULL));
    lua_settop(L, 0);
    return status;
}

/* ---- opening ------------------------------------------------------------------------------ */

/* hwb.<field> = C function */
static void set_function(lua_State *L, const char *field, lua_CFunction f) {
    lua_pushcfunction(L, f);
    lua_setfield(L, -2, field);
}

/* assert(v, message, code): as Lua's, but the `nil, message, code` of a function
 * that meets the outside world keeps its code, and so its exit status. */
static int checked_assert(lua_State *L) {
    luaL_checkany(L, 1);
    if (lua_toboolean(L, 1)) return lua_gettop(L);
    if (lua_type(L, 2) == LUA_TSTRING && lua_type(L, 3) == LUA_TSTRING) {
        const char *code = lua_tostring(L, 3);
#define XX(name, value, exit_code, text)                                                           \
    if (strcmp(code, #name) == 0) {                                                                \
        hwb_lua_push_error(L, HWB_##name, lua_tostring(L, 2));                                     \
        return lua_error(L);                                                                       \
    }
        HWB_STATUS_MAP(XX)
#undef XX
    }
    if (lua_isnone(L, 2)) return luaL_error(L, "assertion failed!");
    lua_settop(L, 2);
    return lua_error(L);
}

static int open_libraries(lua_State *L) {
    const char *home = lua_touserdata(L, 1);
    luaL_openlibs(L);
    set_package_path(L, home);
    luaL_requiref(L, "hwb", luaopen_hwb, 1);
    lua_pushliteral(L, HWB_VERSION);
    lua_setfield(L, -2, "version");
    set_function(L, "progress", progress_lua);
    luaL_requiref(L, "hwb.sys", luaopen_hwb_sys, 0);
    lua_pushstring(L, home);
    lua_setfield(L, -2, "home");
    lua_pushcfunction(L, checked_assert);
    lua_setglobal(L, "assert");
    interrupt_install(L);
    return 0;
}

/* Is there a file of settings?  See lua/hwb/config.lua. */
static bool has_config(void) {
    char path[PATH_MAX];
    const char *config = getenv("XDG_CONFIG_HOME"), *home = getenv("HOME");
    if (access("hwb.lua", R_OK) == 0) return true;
    if (config && *config) snprintf(path, sizeof path, "%s/hwb/config.lua", config);
    else snprintf(path, sizeof path, "%s/.config/hwb/config.lua", home ? home : "");
    return access(path, R_OK) == 0;
}

/* Variables from options, so that every layer finds the same settings. */
static void export_options(const options *o) {
    static const char *const exported[][2] = {
        {"comm", "HWB_COMM"},      {"data", "HWB_DATA"}, {"deterministic", "HWB_DETERMINISTIC"},
        {"device", "HWB_DEVICE"},  {"math", "HWB_MATH"}, {"seed", "HWB_SEED"},
        {"threads", "HWB_THREADS"}};
    for (size_t i = 0; i < sizeof exported / sizeof exported[0]; i++) {
        const char *value = options_value(o, exported[i][0]);
        if (value) setenv(exported[i][1], value, 1);
    }
}

static int require_module(lua_State *L, const char *module) {
    lua_getglobal(L, "require");
    lua_pushstring(L, module);
    return state_call(L, 1, 0);
}

static const char *setting(const char *variable) {
    const char *value = getenv(variable);
    return value && *value ? value : NULL;
}

static int apply_threads(lua_State *L) {
    const char *threads = setting("HWB_THREADS");
    if (!threads) return 0;
    char *end;
    long n = strtol(threads, &end, 10);
    if (*end || n < 1 || n > 4096) {
        fprintf(stderr, "hwb: --threads: '%s' is not a number from 1 to 4096\n", threads);
        return 2;
    }
    omp_set_num_threads((int)n);
    hwb_set_threads(hwb_lua_ctx(L), (int)n);
    return 0;
}

static void log_line(void *user, hwb_log_level level, const char *text) {
    const program *p = user;
    if (p->quiet || (level == HWB_LOG_DEBUG && p->verbose < 2) ||
        (level == HWB_LOG_INFO && p->verbose < 1))
        return;
    progress_clear();
    fprintf(stderr, "%s%s\n", level == HWB_LOG_WARN ? "warning: " : "", text);
}

int state_open(program *p) {
    if (p->L) return 0;
    char *home = state_find_home();
    if (!home) {
        fprintf(stderr, "hwb: the folder with lua/hwb is not where it should be; set HWB_HOME\n");
        return 1;
    }
    p->L = luaL_newstate();
    int failed = !p->L;
    if (p->L) {
        lua_pushcfunction(p->L, open_libraries);
        lua_pushlightuserdata(p->L, home);
        failed = lua_pcall(p->L, 1, 0, 0);
    }
    free(home);
    if (failed) {
        fprintf(stderr, "hwb: cannot start: %s\n", p->L ? lua_tostring(p->L, -1) : "out of memory");
        return 1;
    }
    export_options(&p->options);
    int status = ranks_open(p);
    if (status != 0) return status;
    progress_install(p->L, p->quiet);
    hwb_set_log(log_line, p);
    status = has_config() ? require_module(p->L, "hwb.config") : 0;
    if (status == 0) status = apply_threads(p->L);
    if (status == 0 && (setting("HWB_SEED") || setting("HWB_DEVICE") || setting("HWB_MATH") ||
                        setting("HWB_DETERMINISTIC")))
        status = require_module(p->L, "hwb.settings");
    return status;
}

void state_close(program *p) {
    if (!p->L) return;
    lua_close(p->L);
    hwb_set_log(NULL, NULL);
    p->L = NULL;
}

/* ---- subcommands in Lua --------------------------------------------------------------------- */

/* {name = value or true, ...}; options that repeat are lists under their name. */
static void push_options(lua_State *L, const options *o) {
    static const char *const lists[] = {"set", "allow-read", "allow-write", "allow-env", "l", "e"};
    lua_newtable(L);
    for (size_t i = 0; i < sizeof lists / sizeof lists[0]; i++) {
        lua_newtable(L);
        lua_setfield(L, -2, lists[i]);
    }
    for (int i = 0; i < o->use_count; i++) {
        const option_row *row = o->uses[i].row;
        char letter[2] = {row->letter, '\0'};
        const char *name = row->name ? row->name : letter;
        lua_getfield(L, -1, name);
        if (lua_istable(L, -1)) {
            lua_pushstring(L, o->uses[i].value);
            lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
            lua_pop(L, 1);
            continue;
        }
        lua_pop(L, 1);
        if (o->uses[i].value) lua_pushstring(L, o->uses[i].value);
        else lua_pushboolean(L, 1);
        lua_setfield(L, -2, name);
    }
    lua_pushinteger(L, options_count(o, "verbose"));
    lua_setfield(L, -2, "verbosity");
}

static void push_words(lua_State *L, const char *const *words, int n) {
    lua_createtable(L, n, 0);
    for (int i = 0; i < n; i++) {
        lua_pushstring(L, words[i]);
        lua_rawseti(L, -2, i + 1);
    }
}

/* Protected: main(options, rest, argv), a Lua error is a bug or the user's. */
static int call_command(lua_State *L) {
    const program *p = lua_touserdata(L, 1);
    lua_getglobal(L, "require");
    lua_pushvalue(L, 2);
    lua_call(L, 1, 1);
    push_options(L, &p->options);
    push_words(L, p->options.rest, p->options.rest_count);
    push_words(L, (const char *const *)p->argv, p->argc);
    lua_call(L, 3, 1);
    return 1;
}

int state_run_command(program *p, const char *module) {
    int status = state_open(p);
    if (status != 0) return status;
    lua_pushcfunction(p->L, call_command);
    lua_pushlightuserdata(p->L, p);
    lua_pushstring(p->L, module);
    status = state_call(p->L, 2, 1);
    if (status != 0) return status;
    status = (int)luaL_optinteger(p->L, -1, 0);
    lua_pop(p->L, 1);
    return status;
}

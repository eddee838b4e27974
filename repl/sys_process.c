/*
 * sys_process.c: other programs, for hwb.sys (ctest, git, editors, pagers).
 * No shell is involved: a program gets exactly the words of its list.
 */
#include "program.h"

#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <sys/wait.h>
#include <unistd.h>

/* The list at `at` as a NULL-ended argv (userdata on the stack, borrowed strings). */
static char **check_argv(lua_State *L, int at) {
    luaL_checktype(L, at, LUA_TTABLE);
    lua_Integer n = (lua_Integer)lua_rawlen(L, at);
    luaL_argcheck(L, n > 0, at, "needs a program");
    char **argv = lua_newuserdatauv(L, ((size_t)n + 1) * sizeof *argv, 0);
    for (lua_Integer i = 1; i <= n; i++) {
        if (lua_rawgeti(L, at, i) != LUA_TSTRING) luaL_argerror(L, at, "needs strings");
        argv[i - 1] = (char *)lua_tostring(L, -1);
        lua_pop(L, 1);
    }
    argv[n] = NULL;
    return argv;
}

/* Runs in the child. */
static void become(char **argv, int stdout_fd, bool silence) {
    signal(SIGPIPE, SIG_DFL);
    if (stdout_fd >= 0) dup2(stdout_fd, STDOUT_FILENO);
    if (silence) {
        FILE *null = fopen("/dev/null", "w");
        if (null) dup2(fileno(null), STDERR_FILENO);
    }
    execvp(argv[0], argv);
    _exit(127);
}

/* Waits; the child gets the terminal's signals itself. */
static int wait_for(pid_t pid) {
    int status;
    while (waitpid(pid, &status, 0) < 0)
        if (errno != EINTR) return 127;
    return WIFEXITED(status) ? WEXITSTATUS(status) : 128 + WTERMSIG(status);
}

/* spawn{program, word, ...} -> exit status (127: could not start) */
static int process_spawn(lua_State *L) {
    char **argv = check_argv(L, 1);
    fflush(NULL);
    pid_t pid = fork();
    if (pid < 0) return luaL_error(L, "fork: %s", strerror(errno));
    if (pid == 0) become(argv, -1, false);
    lua_pushinteger(L, wait_for(pid));
    return 1;
}

/* capture{program, word, ...} -> its stdout, exit status; stderr is dropped */
static int process_capture(lua_State *L) {
    char **argv = check_argv(L, 1);
    int ends[2];
    fflush(NULL);
    if (pipe(ends) != 0) return luaL_error(L, "pipe: %s", strerror(errno));
    pid_t pid = fork();
    if (pid == 0) {
        close(ends[0]);
        become(argv, ends[1], true);
    }
    close(ends[1]);
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (;;) {
        ssize_t got = pid > 0 ? read(ends[0], luaL_prepbuffer(&b), LUAL_BUFFERSIZE) : 0;
        if (got < 0 && errno == EINTR) continue;
        if (got <= 0) break;
        luaL_addsize(&b, (size_t)got);
    }
    close(ends[0]);
    luaL_pushresult(&b);
    lua_pushinteger(L, pid > 0 ? wait_for(pid) : 127);
    return 2;
}

void sys_add_processes(lua_State *L) {
    static const luaL_Reg functions[] = {
        {"spawn", process_spawn}, {"capture", process_capture}, {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

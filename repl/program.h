/*
 * program: what the parts of the program hwb share.
 *
 *   main.c       argv -> subcommand
 *   state.c      the Lua state: libraries, module path, calls with tracebacks
 *   interrupt.c  Ctrl-C and SIGTERM
 *   progress.c   the line with rate and ETA on stderr
 *   ranks.c      one of several processes (mpirun)
 *   sys*.c       the Lua module hwb.sys: files, processes, terminal, hashes
 *   repl.c       the session
 * Subcommands that are no more than logic are Lua: lua/hwb/cmd/<name>.lua.
 */
#ifndef HWB_REPL_PROGRAM_H
#define HWB_REPL_PROGRAM_H

#include <lua.h>
#include <lauxlib.h>

#include "base/base.h"
#include "options.h"

typedef struct program {
    options options;
    const char *name; /* argv[0] */
    int argc;
    char **argv;
    lua_State *L;
    bool quiet, json;
    int verbose;
} program;

/* ---- state.c ------------------------------------------------------------------- */

/* Opens Lua, hwb and the modules of the program; 0 or an exit status after a
 * message on stderr. */
int state_open(program *p);
void state_close(program *p);
/* Calls the function below `n_args` arguments; on failure prints the error and
 * leaves nothing, else leaves `n_results` values.  Returns the exit status. */
int state_call(lua_State *L, int n_args, int n_results);
/* attempt(f, ...) for Lua: nil, or {error=, traceback=} when f raised. */
int state_attempt(lua_State *L);
/* Prints an error value with its trimmed traceback; returns its exit status.
 * Pops the value. */
int state_report(lua_State *L);
/* require(module)(options, rest): runs a subcommand written in Lua. */
int state_run_command(program *p, const char *module);
/* The folder that holds lua/hwb (malloc'd), or NULL. */
char *state_find_home(void);

/* ---- interrupt.c ----------------------------------------------------------------- */

/* Handlers of SIGINT and SIGTERM, and coroutine functions that keep track of
 * the running thread. */
void interrupt_install(lua_State *L);
/* Between interrupt_begin and interrupt_end Ctrl-C stops the Lua code. */
void interrupt_begin(lua_State *L);
void interrupt_end(lua_State *L);
/* The error of an interrupt was caught where it was meant to go: no more of it. */
void interrupt_arrived(lua_State *L);
/* As interrupt_end, but a press that was not dealt with is kept for the prompt. */
void interrupt_pause(lua_State *L);
/* Did Ctrl-C arrive while a line was being typed?  Forgets it. */
bool interrupt_at_prompt(void);
/* In a handler: sends a signal that came to another thread to the first; true if so. */
bool interrupt_forward(int number);
bool interrupt_terminated(void); /* SIGTERM arrived: exit 143 */
/* While held, the first signal only makes this return true. */
bool interrupt_hold(bool on);

/* ---- progress.c -------------------------------------------------------------------- */

void progress_install(lua_State *L, bool quiet);
/* Removes a half-drawn line before other text goes to the terminal. */
void progress_clear(void);
/* hwb.progress(what, done, total, note) for Lua */
int progress_lua(lua_State *L);

/* ---- ranks.c --------------------------------------------------------------------------- */

/* Joins the other processes if there are any; 0 or an exit status after a message. */
int ranks_open(program *p);
/* Ends together with them; the exit status that this process then has. */
int ranks_close(program *p, int status);
int ranks_lua_failed(lua_State *L); /* failed(message, code) for Lua */

/* ---- sys.c, sys_file.c, sys_process.c, facts.c, sandbox.c --------------------------- */

int luaopen_hwb_sys(lua_State *L);
void sys_add_files(lua_State *L); /* add functions to the table on top */
void sys_add_processes(lua_State *L);
void sys_add_facts(lua_State *L);
void sys_add_sandbox(lua_State *L);

/* Lowercase hex SHA-256 of bytes. */
void sha256_hex(const void *data, size_t n, char out[65]);

/* ---- repl.c ---------------------------------------------------------------------------- */

int repl_main(program *p);

#endif

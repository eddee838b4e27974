/*
 * interrupt.c: Ctrl-C and SIGTERM.
 *
 * The first signal sets the engine's flag, which stops it between operations,
 * and a hook on the Lua thread that runs, which raises "interrupted" at the next
 * instruction.  (A hook that is always there would halve the interpreter's
 * speed.)  The running thread is known because coroutine.resume and .wrap are
 * replaced by versions that note it.  A second press tells what a third will
 * do: leave at once with 130.
 *
 * A pcall may catch the error to clean up, and has GRACE_SECONDS to do so.  If it
 * then goes on instead of passing the error along, the error is raised again at
 * every instruction, which no loop around a pcall outlives, until interrupt_begin,
 * _end or _arrived says that it has come to its end.
 *
 * Code whose steps must not be torn holds the first signal back (interrupt_hold)
 * and asks for it where it can stop; the second press is not held.
 */
#include "program.h"

#include <pthread.h>
#include <signal.h>
#include <string.h>
#include <time.h>
#include <unistd.h>

#include "../lua/bind/bind.h"

#define GRACE_SECONDS 0.5
enum { GRACE_STEP = 100, EVERY_EVENT = LUA_MASKCALL | LUA_MASKRET | LUA_MASKLINE | LUA_MASKCOUNT };

static lua_State *volatile running; /* NULL: nothing to stop */
static lua_State *main_thread;
static pthread_t first_thread;
static volatile sig_atomic_t presses, terminated;
static volatile sig_atomic_t held, held_from; /* presses when the hold began */
static volatile sig_atomic_t pending, raised; /* an interrupt on its way, and how often raised */
static double grace_ends;                     /* monotonic clock */

/* The hook that ours took the place of: a profiler's, or the sandbox's budget. */
static struct {
    lua_Hook hook;
    int mask, count;
} other;

static void on_hook(lua_State *L, lua_Debug *ar);

static void arm(lua_State *L, int mask, int count) {
    lua_Hook now = lua_gethook(L);
    if (now != on_hook) {
        other.hook = now;
        other.mask = lua_gethookmask(L);
        other.count = lua_gethookcount(L);
    }
    lua_sethook(L, on_hook, mask, count);
}

static void disarm(lua_State *L) {
    if (lua_gethook(L) == on_hook) lua_sethook(L, other.hook, other.mask, other.count);
}

/* The thread is to see the interrupt that is on its way. */
static void arm_pending(lua_State *L) {
    if (!pending) return;
    if (raised == 0) arm(L, EVERY_EVENT, 1);
    else arm(L, LUA_MASKCOUNT, raised == 1 ? GRACE_STEP : 1);
}

static void on_hook(lua_State *L, lua_Debug *ar) {
    (void)ar;
    if (!pending) { /* a thread that was not there when the interrupt was dealt with */
        disarm(L);
        return;
    }
    struct timespec t;
    clock_gettime(CLOCK_MONOTONIC, &t);
    double now = (double)t.tv_sec + 1e-9 * (double)t.tv_nsec;
    if (raised == 1 && now < grace_ends) return;
    bool by_engine = raised == 0 && !hwb_interrupted(); /* its error is what runs now */
    hwb_interrupt_clear();
    if (raised == 0) grace_ends = now + GRACE_SECONDS;
    if (raised < 2) raised++;
    arm_pending(L);
    arm_pending(main_thread);
    if (by_engine) return;
    hwb_lua_push_error(L, HWB_EINTR, "interrupted");
    lua_error(L);
}

static void forget(lua_State *L) {
    pending = raised = 0;
    hwb_interrupt_clear();
    disarm(L);
    disarm(main_thread);
}

static void say(const char *text) {
    ssize_t ignored = write(STDERR_FILENO, text, strlen(text));
    (void)ignored;
}

/* The kernel may pick a worker thread; hooks and waits belong to the first one. */
bool interrupt_forward(int number) {
    if (pthread_equal(pthread_self(), first_thread)) return false;
    pthread_kill(first_thread, number);
    return true;
}

static void on_signal(int number) {
    if (interrupt_forward(number)) return;
    if (number == SIGTERM) terminated = 1;
    presses++;
    if (presses >= 3) {
        say("\nhwb: left at once\n");
        _exit(terminated ? 143 : 130);
    }
    if (presses == 2) say("\nhwb: stopping; press Ctrl-C again to leave at once\n");
    if (held && presses == held_from + 1) return;
    hwb_interrupt();
    lua_State *L = running;
    if (!L) return;
    if (pending) grace_ends = 0; /* pressed again: no more patience */
    pending = 1;
    arm(L, EVERY_EVENT, 1);
    if (L != main_thread) arm(main_thread, EVERY_EVENT, 1);
}

/* ---- coroutines that note the running thread -------------------------------------- */

/* Moves n arguments to co, resumes it and moves results or error back.
 * Returns the number of values on L, or -1 with the error on top. */
static int resume(lua_State *L, lua_State *co, int n) {
    if (!lua_checkstack(co, n)) {
        lua_pushliteral(L, "too many arguments to resume");
        return -1;
    }
    lua_xmove(L, co, n);
    int results;
    lua_State *before = running;
    if (before) running = co;
    arm_pending(co);
    int status = lua_resume(co, L, n, &results);
    if (before) running = before;
    arm_pending(L);
    if (status != LUA_OK && status != LUA_YIELD) {
        lua_xmove(co, L, 1);
        return -1;
    }
    if (!lua_checkstack(L, results + 1)) {
        lua_pop(co, results);
        lua_pushliteral(L, "too many results to resume");
        return -1;
    }
    lua_xmove(co, L, results);
    return results;
}

static int coroutine_resume(lua_State *L) {
    lua_State *co = lua_tothread(L, 1);
    luaL_argexpected(L, co, 1, "coroutine");
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0) {
        lua_pushboolean(L, 0);
        lua_pushliteral(L, "cannot resume dead coroutine");
        return 2;
    }
    int results = resume(L, co, lua_gettop(L) - 1);
    lua_pushboolean(L, results >= 0);
    if (results < 0) results = 1;
    lua_insert(L, -(results + 1));
    return results + 1;
}

static int wrapped(lua_State *L) {
    lua_State *co = lua_tothread(L, lua_upvalueindex(1));
    if (lua_status(co) == LUA_OK && lua_gettop(co) == 0)
        return luaL_error(L, "cannot resume dead coroutine");
    int results = resume(L, co, lua_gettop(L));
    if (results >= 0) return results;
    int status = lua_status(co);
    if (status != LUA_OK && status != LUA_YIELD) { /* close pending variables, as coroutine.wrap */
        lua_xmove(L, co, 1);
        lua_resetthread(co);
        lua_xmove(co, L, 1);
    }
    if (lua_type(L, -1) == LUA_TSTRING) {
        luaL_where(L, 1);
        lua_insert(L, -2);
        lua_concat(L, 2);
    }
    return lua_error(L);
}

static int coroutine_wrap(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_State *co = lua_newthread(L);
    lua_pushvalue(L, 1);
    lua_xmove(L, co, 1);
    lua_pushcclosure(L, wrapped, 1);
    return 1;
}

/* ---- for the rest of the program ------------------------------------------------------ */

void interrupt_install(lua_State *L) {
    main_thread = L;
    first_thread = pthread_self();
    lua_getglobal(L, "coroutine");
    lua_pushcfunction(L, coroutine_resume);
    lua_setfield(L, -2, "resume");
    lua_pushcfunction(L, coroutine_wrap);
    lua_setfield(L, -2, "wrap");
    lua_pop(L, 1);
    struct sigaction action = {.sa_handler = on_signal}; /* no SA_RESTART: reads return */
    sigemptyset(&action.sa_mask);
    sigaction(SIGINT, &action, NULL);
    sigaction(SIGTERM, &action, NULL);
    signal(SIGPIPE, SIG_IGN);
    signal(SIGXFSZ, SIG_IGN); /* a file beyond ulimit -f: write fails with EFBIG */
}

bool interrupt_hold(bool on) {
    if (on && !held) held_from = presses;
    held = on;
    return presses > held_from;
}

void interrupt_begin(lua_State *L) {
    presses = held = held_from = 0;
    forget(L);
    running = L;
}

void interrupt_arrived(lua_State *L) {
    forget(L);
}

void interrupt_pause(lua_State *L) {
    running = NULL;
    held = 0;
    pending = raised = 0;
    disarm(L);
}

void interrupt_end(lua_State *L) {
    interrupt_pause(L);
    hwb_interrupt_clear();
    presses = 0;
}

bool interrupt_at_prompt(void) {
    bool was = presses > 0; /* SIGTERM counts: the session looks for it */
    presses = 0;
    hwb_interrupt_clear();
    return was;
}

bool interrupt_terminated(void) {
    return terminated != 0;
}

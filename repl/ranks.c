/*
 * ranks.c: the program as one of several processes.
 *
 *     mpirun -np 8 hwb run recipe.lua
 *
 * `hwb run` joins the other processes when a launcher started it (its variables
 * are in the environment) or when --comm says so.  Rank 0 is the one that the
 * user sees: the others write nothing to stdout or to run folders, show no
 * progress, and hand their failures to rank 0, which names the rank.  A failing
 * rank says so to all; those that do not answer within PATIENCE are killed.
 */
#include "program.h"

#include <omp.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>

#include "../lua/bind/bind.h"
#include "comm/comm.h"

static const double PATIENCE = 5; /* seconds */

/* Where exchanges do not match, each side tells of the other (engine/comm/exchange.c). */
static const char APART[] = "the ranks have come apart";

/* What this rank has to say of its end: set where errors are shown. */
static hwb_comm_fate own;

/* ---- the beginning ------------------------------------------------------------------- */

/* Did a launcher start several processes?  Open MPI, MPICH and others, Slurm with PMIx. */
static bool launched(char *by, size_t size) {
    static const char *const counts[] = {"OMPI_COMM_WORLD_SIZE", "PMI_SIZE"};
    for (size_t i = 0; i < sizeof counts / sizeof *counts; i++) {
        const char *n = getenv(counts[i]);
        if (!n) continue;
        snprintf(by, size, "%s=%.20s", counts[i], n);
        return atoi(n) > 1;
    }
    snprintf(by, size, "PMIX_RANK");
    return getenv("PMIX_RANK") != NULL;
}

/* Several processes on one machine share its cores, unless the user or the launcher
 * (by binding each to some of them) has said how. */
static void share_cores(hwb_ctx *ctx, hwb_comm_place here) {
    int cores = omp_get_num_procs();
    if (getenv("HWB_THREADS") || getenv("OMP_NUM_THREADS") || here.local_size < 2 ||
        cores < sysconf(_SC_NPROCESSORS_ONLN))
        return;
    int each = cores / here.local_size > 1 ? cores / here.local_size : 1;
    omp_set_num_threads(each);
    hwb_set_threads(ctx, each);
}

/* Files, stdout and Lua's io.stderr lead nowhere; what C libraries say on stderr stays. */
static void be_silent(program *p) {
    p->quiet = true;
    hwb_set_discard(true);
    if (!freopen("/dev/null", "w", stdout)) return;
    lua_getglobal(p->L, "io");
    lua_getfield(p->L, -1, "open");
    lua_pushliteral(p->L, "/dev/null");
    lua_pushliteral(p->L, "w");
    if (lua_pcall(p->L, 2, 1, 0) == LUA_OK) lua_setfield(p->L, -2, "stderr");
    lua_settop(p->L, 0);
}

/* By the launcher's word, before the ranks know each other. */
static bool is_first(void) {
    static const char *const names[] = {"OMPI_COMM_WORLD_RANK", "PMI_RANK", "PMIX_RANK"};
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        if (getenv(names[i])) return atoi(getenv(names[i])) == 0;
    return true;
}

static int refuse(const char *way, const char *by, const char *why) {
    if (!is_first()) return hwb_status_exit_code(HWB_EDEVICE);
    if (strcmp(way, "auto") == 0)
        fprintf(stderr, "hwb: started as one of several processes (%s), but %s\n", by, why);
    else fprintf(stderr, "hwb: --comm %s: %s\n", way, why);
    fprintf(stderr, "hwb: Debian has MPI in libopenmpi-dev and openmpi-bin (build hwb again); "
                    "--comm self runs each process alone\n");
    return hwb_status_exit_code(HWB_EDEVICE);
}

int ranks_open(program *p) {
    hwb_ctx *ctx = hwb_lua_ctx(p->L);
    const char *way = getenv("HWB_COMM");
    char by[64] = "";
    if (p->options.command != CMD_RUN) return 0;
    if (!way || !*way) way = "auto";
    bool several = launched(by, sizeof by);
    if (strcmp(way, "self") == 0 || (strcmp(way, "auto") == 0 && !several)) return 0;
    if (strcmp(way, "auto") != 0 && strcmp(way, "mpi") != 0) {
        fprintf(stderr, "hwb: --comm: '%s' is none of auto, self, mpi\n", way);
        return 2;
    }
    /* Behind the fence Open MPI could not remove the files of its shared memory; System V
     * shared memory has none. */
    if (options_value(&p->options, "untrusted")) setenv("OMPI_MCA_shmem", "sysv", 0);
    if (hwb_comm_open(ctx, "mpi") != HWB_OK) return refuse(way, by, hwb_message(ctx));
    hwb_comm_place here = hwb_comm_where(ctx);
    share_cores(ctx, here);
    if (here.rank > 0) be_silent(p);
    return 0;
}

/* ---- the end --------------------------------------------------------------------------- */

/* Rank 0, after its own message: what the others died of, where that is something else. */
static void show_others(int size, const hwb_comm_fate *fates) {
    for (int r = 1; r < size; r++) {
        const hwb_comm_fate *f = &fates[r];
        char line[sizeof f->message + 32];
        snprintf(line, sizeof line, "rank %d: %s", r, f->message);
        bool same = strcmp(f->message, own.message) == 0 || strcmp(line, own.message) == 0 ||
                    (strstr(f->message, APART) && strstr(own.message, APART));
        if (!f->known) fprintf(stderr, "hwb: rank %d does not answer and is killed\n", r);
        else if (f->exit_code && !f->passed && !same) fprintf(stderr, "hwb: %s\n", line);
    }
}

int ranks_close(program *p, int status) {
    hwb_ctx *ctx = p->L ? hwb_lua_ctx(p->L) : NULL;
    if (!ctx || hwb_comm_where(ctx).size < 2) return status;
    hwb_comm_place here = hwb_comm_where(ctx);
    hwb_comm_fate *fates = calloc((size_t)here.size, sizeof *fates);
    if (!fates) return status;
    if (status != 0 && !own.message[0])
        snprintf(own.message, sizeof own.message, "ended with exit status %d", status);
    own.passed = hwb_comm_passed(ctx) != 0;
    own.exit_code = own.passed ? hwb_comm_passed(ctx) : status;
    if (own.exit_code && own.status == HWB_OK) own.status = HWB_EPEER;
    fflush(stdout);
    hwb_comm_end(ctx, &own, PATIENCE, fates);
    status = own.exit_code;
    for (int r = 0; r < here.size; r++) {
        if (status == 0) status = fates[r].known ? fates[r].exit_code : 8;
        /* stopped together, by a SIGTERM that only some of them were sent */
        if (status == 130 && fates[r].known && fates[r].exit_code == 143) status = 143;
    }
    if (here.rank == 0) show_others(here.size, fates);
    else if (own.exit_code && !own.passed && !fates[0].known)
        fprintf(stderr, "hwb: rank %d: %s\n", here.rank, own.message);
    free(fates);
    hwb_comm_close(ctx, status);
    return status;
}

/* failed(message, code): what the user is told of the end; true where another rank tells */
int ranks_lua_failed(lua_State *L) {
    const char *message = luaL_checkstring(L, 1), *code = luaL_optstring(L, 2, "");
    hwb_status status = HWB_OK;
#define XX(name, value, exit_code, text)                                                           \
    if (strcmp(code, #name) == 0) status = HWB_##name;
    HWB_STATUS_MAP(XX)
#undef XX
    own.status = status;
    snprintf(own.message, sizeof own.message, "%s", message);
    lua_pushboolean(L, hwb_comm_where(hwb_lua_ctx(L)).rank > 0);
    return 1;
}

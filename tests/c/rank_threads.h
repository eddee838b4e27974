/*
 * rank_threads.h: ranks for tests, on a transport of threads: rank r is a thread with a
 * context of its own, messages are copies in a queue a pair.
 *
 *     static void body(rank_run *run) { run->status = hwb_comm_sum(run->ctx, ...); }
 *     run_ranks(&world, runs, 3, body, number);     -- then look at runs[r]
 */
#ifndef HWB_RANK_THREADS_H
#define HWB_RANK_THREADS_H

#include "testing.h"
#include "comm/comm.h"

#include <pthread.h>

enum { MAX_RANKS = 5, QUEUE = 64 };

/* ---- a transport of threads ------------------------------------------------------------ */

typedef struct letter {
    void *bytes;
    size_t size;
} letter;

typedef struct queue {
    letter at[QUEUE];
    int first, count;
} queue;

typedef struct world {
    pthread_mutex_t lock;
    int size;
    queue mail[MAX_RANKS][MAX_RANKS]; /* [from][to] */
    char notice[MAX_RANKS][HWB_TRANSPORT_NOTICE];
    bool noticed[MAX_RANKS];
    bool refuse; /* every start fails */
    hwb_close how[MAX_RANKS];
    int close_code[MAX_RANKS];
} world;

typedef struct end_point {
    world *w;
    int rank;
    hwb_parcel wanted[MAX_RANKS];
    int n_wanted;
    bool seen[MAX_RANKS];
} end_point;

static int thread_open(void **state, void *argument, hwb_comm_place *place, char *why) {
    end_point *e = argument;
    if (!e->w) {
        snprintf(why, HWB_TRANSPORT_TEXT, "nobody is there");
        return 1;
    }
    *state = e;
    *place = (hwb_comm_place){e->rank, e->w->size, e->rank, e->w->size};
    return 0;
}

static const char *thread_library(void) {
    return "threads";
}

static int thread_start(void *state, int count, const hwb_parcel *messages, char *why) {
    end_point *e = state;
    if (e->w->refuse) {
        snprintf(why, HWB_TRANSPORT_TEXT, "the cable is cut");
        return 1;
    }
    pthread_mutex_lock(&e->w->lock);
    for (int i = 0; i < count; i++) {
        const hwb_parcel *m = &messages[i];
        if (m->receive) {
            e->wanted[e->n_wanted++] = *m;
            continue;
        }
        queue *q = &e->w->mail[e->rank][m->peer];
        letter *l = &q->at[(q->first + q->count++) % QUEUE];
        l->bytes = malloc(m->size);
        l->size = m->size;
        memcpy(l->bytes, m->bytes, m->size);
    }
    pthread_mutex_unlock(&e->w->lock);
    return 0;
}

static int thread_test(void *state, bool *done, char *why) {
    end_point *e = state;
    int left = 0, bad = 0;
    pthread_mutex_lock(&e->w->lock);
    for (int i = 0; i < e->n_wanted; i++) {
        queue *q = &e->w->mail[e->wanted[i].peer][e->rank];
        if (q->count == 0) {
            e->wanted[left++] = e->wanted[i];
            continue;
        }
        letter *l = &q->at[q->first];
        if (l->size > e->wanted[i].size) bad = 1;
        else memcpy(e->wanted[i].bytes, l->bytes, l->size);
        free(l->bytes);
        q->first = (q->first + 1) % QUEUE;
        q->count--;
    }
    e->n_wanted = left;
    pthread_mutex_unlock(&e->w->lock);
    if (bad) snprintf(why, HWB_TRANSPORT_TEXT, "a message was too long");
    *done = left == 0;
    return bad;
}

static int thread_notify(void *state, const void *bytes, size_t size, char *why) {
    end_point *e = state;
    (void)why;
    pthread_mutex_lock(&e->w->lock);
    memcpy(e->w->notice[e->rank], bytes, size);
    e->w->noticed[e->rank] = true;
    pthread_mutex_unlock(&e->w->lock);
    return 0;
}

static int thread_noticed(void *state, int *from, void *bytes, char *why) {
    end_point *e = state;
    (void)why;
    *from = -1;
    pthread_mutex_lock(&e->w->lock);
    for (int r = 0; r < e->w->size && *from < 0; r++) {
        if (r == e->rank || e->seen[r] || !e->w->noticed[r]) continue;
        e->seen[r] = true;
        *from = r;
        memcpy(bytes, e->w->notice[r], HWB_TRANSPORT_NOTICE);
    }
    pthread_mutex_unlock(&e->w->lock);
    return 0;
}

static void thread_close(void *state, hwb_close how, int exit_code) {
    end_point *e = state;
    e->w->how[e->rank] = how;
    e->w->close_code[e->rank] = exit_code;
}

static const hwb_transport THREADS = {
    .abi = HWB_TRANSPORT_ABI,
    .name = "threads",
    .open = thread_open,
    .library = thread_library,
    .start = thread_start,
    .test = thread_test,
    .notify = thread_notify,
    .noticed = thread_noticed,
    .close = thread_close,
};

/* ---- ranks as threads ---------------------------------------------------------------------- */

/* Results are checked after the threads are gone: cmocka knows only the first thread. */
typedef struct rank_run {
    end_point e;
    pthread_t thread;
    hwb_ctx *ctx;
    void (*body)(struct rank_run *run);
    hwb_status status;
    char message[256];
    double values[8];
    void *buffer;
    hwb_comm_fate fates[MAX_RANKS];
    int number;
} rank_run;

static inline void *rank_main(void *arg) {
    rank_run *run = arg;
    if (hwb_ctx_new(&run->ctx) != HWB_OK) return NULL;
    run->status = hwb_comm_open_over(run->ctx, &THREADS, &run->e);
    if (run->status == HWB_OK) run->body(run);
    snprintf(run->message, sizeof run->message, "%.255s", hwb_message(run->ctx));
    hwb_ctx_free(run->ctx);
    return NULL;
}

static inline void run_ranks(world *w, rank_run *runs, int size, void (*body)(rank_run *),
                             int number) {
    memset(w, 0, sizeof *w);
    memset(runs, 0, (size_t)size * sizeof *runs);
    pthread_mutex_init(&w->lock, NULL);
    w->size = size;
    for (int r = 0; r < size; r++) {
        runs[r].e = (end_point){.w = w, .rank = r};
        runs[r].body = body;
        runs[r].number = number;
        assert_int_equal(pthread_create(&runs[r].thread, NULL, rank_main, &runs[r]), 0);
    }
    for (int r = 0; r < size; r++) pthread_join(runs[r].thread, NULL);
    for (int a = 0; a < size; a++)
        for (int b = 0; b < size; b++)
            for (queue *q = &w->mail[a][b]; q->count > 0; q->count--) {
                free(q->at[q->first].bytes);
                q->first = (q->first + 1) % QUEUE;
            }
    pthread_mutex_destroy(&w->lock);
}

#endif

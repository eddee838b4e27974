/*
 * loader.c: batches made ahead of time by background threads.
 *
 *     issue ──► worker: collect ──► slot[ticket % ahead] ──► hwb_loader_next
 *
 * Workers draw tickets 0, 1, 2, … ; a ticket is a range of positions in the
 * epoch's order, and its batch goes to its own slot, so batches leave in order
 * whoever made them.  At most `ahead` tickets are open.  All fields below
 * `lock` are guarded by it, but for `order`, which changes only while no
 * ticket is in work.
 *
 * Interrupts are the consumer's matter: it stops waiting and the batch stays
 * for the next call.  Workers finish what they have begun.
 */
#include "data/data_i.h"

#include <pthread.h>
#include <errno.h>
#include <signal.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MAX_WORKERS = 64, MAX_AHEAD = 1024, POLL_MS = 50 };

typedef struct slot {
    bool ready;
    hwb_status status;
    hwb_tensor *x, *y;
    int64_t n;
    char *message; /* of a failure */
} slot;

typedef struct worker {
    pthread_t thread;
    hwb_ctx *ctx;
    hwb_loader *loader;
} worker;

struct hwb_loader {
    hwb_dataset *ds;
    hwb_loader_options options;
    worker *workers;
    int running; /* threads */

    pthread_mutex_t lock;
    pthread_cond_t work, done; /* something to do; something was done */
    int64_t *order;            /* NULL = 0, 1, 2, … */
    int64_t epoch, position;   /* of the consumer */
    int64_t end;               /* of the positions handed out in this epoch */
    int64_t issued, issue_at;  /* tickets drawn, the position of the next */
    int64_t taken;             /* tickets consumed */
    int busy;
    bool paused, stop;
    slot *slots;
};

hwb_loader_options hwb_loader_defaults(void) {
    return (hwb_loader_options){.batch = 128, .workers = 2};
}

/* ---- one batch ---------------------------------------------------------------------- */

static hwb_status make_batch(hwb_ctx *ctx, const hwb_loader *l, int64_t epoch, int64_t at,
                             int64_t n, bool interruptible, hwb_tensor **x, hwb_tensor **y) {
    const hwb_loader_options *o = &l->options;
    hwb__augment augment = {o->seed, epoch, o->crop, o->cutout, o->flip, o->resized};
    bool changes = o->crop || o->cutout || o->flip || o->resized;
    return hwb__dataset_collect(ctx, l->ds, changes ? &augment : NULL,
                                l->order ? l->order + at : NULL, at, n, interruptible, x, y);
}

/* The part of the batch at..at+n-1 that this loader gives. */
static void part_of(const hwb_loader *l, int64_t *at, int64_t *n) {
    int64_t parts = l->options.parts, r = l->options.part;
    if (parts <= 1) return;
    int64_t each = *n / parts, more = *n % parts;
    *at += r * each + (r < more ? r : more);
    *n = each + (r < more);
}

static int64_t batch_at(const hwb_loader *l, int64_t at) {
    return l->end - at < l->options.batch ? l->end - at : l->options.batch;
}

static void clear_slot(slot *s) {
    hwb_tensor_release(s->x);
    hwb_tensor_release(s->y);
    free(s->message);
    *s = (slot){0};
}

/* ---- threads ---------------------------------------------------------------------------- */

static bool may_issue(const hwb_loader *l) {
    return !l->paused && l->issue_at < l->end && l->issued - l->taken < l->options.ahead;
}

/* Called and returns with the lock held. */
static void work_once(hwb_loader *l, hwb_ctx *ctx) {
    int64_t at = l->issue_at, n = batch_at(l, at), ticket = l->issued++, epoch = l->epoch;
    l->issue_at += n;
    l->busy++;
    pthread_mutex_unlock(&l->lock);
    slot made = {.ready = true, .n = n};
    part_of(l, &at, &n);
    made.status = make_batch(ctx, l, epoch, at, n, false, &made.x, &made.y);
    if (made.status != HWB_OK) made.message = strdup(hwb_message(ctx));
    pthread_mutex_lock(&l->lock);
    l->busy--;
    l->slots[ticket % l->options.ahead] = made;
    pthread_cond_broadcast(&l->done);
}

static void *worker_main(void *arg) {
    worker *w = arg;
    hwb_loader *l = w->loader;
    pthread_mutex_lock(&l->lock);
    while (!l->stop) {
        if (may_issue(l)) work_once(l, w->ctx);
        else pthread_cond_wait(&l->work, &l->lock);
    }
    pthread_mutex_unlock(&l->lock);
    return NULL;
}

/* Signals go to the program's own threads. */
static int start_thread(worker *w) {
    sigset_t all, old;
    sigfillset(&all);
    pthread_sigmask(SIG_SETMASK, &all, &old);
    int code = pthread_create(&w->thread, NULL, worker_main, w);
    pthread_sigmask(SIG_SETMASK, &old, NULL);
    return code;
}

/* As many as the system gives; none is fine too. */
static hwb_status start_workers(hwb_ctx *ctx, hwb_loader *l) {
    l->workers = calloc((size_t)l->options.workers + 1, sizeof *l->workers);
    if (!l->workers) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a loader");
    for (int i = 0; i < l->options.workers; i++) {
        worker *w = &l->workers[i];
        w->loader = l;
        HWB_TRY(hwb_ctx_fork(ctx, &w->ctx));
        if (start_thread(w) != 0) {
            hwb_ctx_free(w->ctx);
            hwb_note(HWB_LOG_WARN, "loader: %d of %d threads", i, l->options.workers);
            break;
        }
        l->running++;
    }
    return HWB_OK;
}

/* Called with the lock held: no ticket is in work or ready afterwards. */
static void quiesce(hwb_loader *l) {
    l->paused = true;
    while (l->busy > 0) pthread_cond_wait(&l->done, &l->lock);
    for (int i = 0; i < l->options.ahead; i++) clear_slot(&l->slots[i]);
    l->issued = l->taken = 0;
}

/* ---- life ---------------------------------------------------------------------------------- */

static hwb_status check_options(hwb_ctx *ctx, const hwb_dataset *ds, hwb_loader_options *o) {
    const hwb_shape *s = &ds->sample;
    char text[HWB_SHAPE_TEXT];
    if (o->batch < 1 || o->batch > INT32_MAX)
        return hwb_fail(ctx, HWB_EARG, "loader: a batch of %lld", (long long)o->batch);
    if (o->workers < 0 || o->workers > MAX_WORKERS || o->ahead < 0 || o->ahead > MAX_AHEAD)
        return hwb_fail(ctx, HWB_EARG, "loader: %d workers, %d batches ahead", o->workers,
                        o->ahead);
    if (o->crop < 0 || o->cutout < 0)
        return hwb_fail(ctx, HWB_EARG, "loader: a crop or cutout below 0");
    if (o->parts < 0 || o->part < 0 || o->part >= (o->parts > 1 ? o->parts : 1))
        return hwb_fail(ctx, HWB_EARG, "loader: part %d of %d", o->part, o->parts);
    bool changes = o->crop || o->cutout || o->flip || o->resized;
    if (o->resized && !ds->fetch_part)
        return hwb_fail(ctx, HWB_EARG, "loader: %s has no images to take random parts of",
                        ds->kind);
    if (changes && (s->ndim != 3 || !hwb_dtype_is_float(ds->dtype) || o->crop > s->dim[1] ||
                    o->crop > s->dim[2] || o->cutout > 2 * s->dim[1]))
        return hwb_fail(ctx, HWB_ESHAPE, "loader: crop %lld, cutout %lld do not suit samples of %s",
                        (long long)o->crop, (long long)o->cutout, hwb_shape_text(s, text));
    if (o->ahead == 0) o->ahead = o->workers > 0 ? 2 * o->workers : 1;
    return HWB_OK;
}

static hwb_status start_epoch(hwb_ctx *ctx, hwb_loader *l, int64_t epoch, int64_t position);

hwb_status hwb_loader_new(hwb_ctx *ctx, hwb_loader **out, hwb_dataset *ds,
                          const hwb_loader_options *options) {
    hwb_loader_options o = *options;
    HWB_TRY(check_options(ctx, ds, &o));
    hwb_loader *l = calloc(1, sizeof *l);
    slot *slots = calloc((size_t)o.ahead, sizeof *slots);
    if (!l || !slots) {
        free(l);
        free(slots);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a loader");
    }
    l->ds = hwb_dataset_retain(ds);
    l->options = o;
    l->slots = slots;
    pthread_mutex_init(&l->lock, NULL);
    pthread_condattr_t monotonic;
    pthread_condattr_init(&monotonic);
    pthread_condattr_setclock(&monotonic, CLOCK_MONOTONIC);
    pthread_cond_init(&l->work, NULL);
    pthread_cond_init(&l->done, &monotonic);
    pthread_condattr_destroy(&monotonic);
    hwb_status status = start_epoch(ctx, l, 0, 0);
    if (status == HWB_OK) status = start_workers(ctx, l);
    if (status != HWB_OK) {
        hwb_loader_free(l);
        return status;
    }
    *out = l;
    return HWB_OK;
}

void hwb_loader_free(hwb_loader *l) {
    if (!l) return;
    pthread_mutex_lock(&l->lock);
    l->stop = true;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    for (int i = 0; i < l->running; i++) {
        pthread_join(l->workers[i].thread, NULL);
        hwb_ctx_free(l->workers[i].ctx);
    }
    for (int i = 0; i < l->options.ahead; i++) clear_slot(&l->slots[i]);
    pthread_mutex_destroy(&l->lock);
    pthread_cond_destroy(&l->work);
    pthread_cond_destroy(&l->done);
    hwb_dataset_release(l->ds);
    free(l->order);
    free(l->slots);
    free(l->workers);
    free(l);
}

/* ---- position ---------------------------------------------------------------------------------- */

/* The order of an epoch, keyed by (seed, epoch). */
static hwb_status make_order(hwb_ctx *ctx, const hwb_loader *l, int64_t epoch, int64_t **out) {
    *out = NULL;
    if (!l->options.shuffle) return HWB_OK;
    int64_t n = l->ds->count;
    int64_t *order = malloc((size_t)(n ? n : 1) * sizeof *order);
    if (!order) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a permutation");
    hwb_rng rng = {l->options.seed, hwb_rng_stream("shuffle", (uint64_t)epoch, 0)};
    hwb_rng_permutation(rng, n, order);
    *out = order;
    return HWB_OK;
}

static int64_t end_of(const hwb_loader *l, int64_t position) {
    int64_t left = l->ds->count - position;
    return l->options.drop_last ? position + left / l->options.batch * l->options.batch
                                : l->ds->count;
}

static hwb_status start_epoch(hwb_ctx *ctx, hwb_loader *l, int64_t epoch, int64_t position) {
    int64_t *order = NULL;
    HWB_TRY(make_order(ctx, l, epoch, &order));
    pthread_mutex_lock(&l->lock);
    quiesce(l);
    free(l->order);
    l->order = order;
    l->epoch = epoch;
    l->position = l->issue_at = position;
    l->end = end_of(l, position);
    l->paused = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
    return HWB_OK;
}

void hwb_loader_tell(const hwb_loader *l, int64_t *epoch, int64_t *position) {
    *epoch = l->epoch;
    *position = l->position;
}

hwb_status hwb_loader_seek(hwb_ctx *ctx, hwb_loader *l, int64_t epoch, int64_t position) {
    if (epoch < 0 || position < 0 || position > l->ds->count)
        return hwb_fail(ctx, HWB_EARG, "loader: epoch %lld, sample %lld of %lld", (long long)epoch,
                        (long long)position, (long long)l->ds->count);
    return start_epoch(ctx, l, epoch, position);
}

/* Batches made already, by the old options, go back. */
static void reissue(hwb_loader *l, const hwb_loader_options *options) {
    pthread_mutex_lock(&l->lock);
    quiesce(l);
    l->options = *options;
    l->issue_at = l->position;
    l->end = end_of(l, l->position);
    l->paused = false;
    pthread_cond_broadcast(&l->work);
    pthread_mutex_unlock(&l->lock);
}

hwb_status hwb_loader_set_batch(hwb_ctx *ctx, hwb_loader *l, int64_t batch) {
    hwb_loader_options o = l->options;
    if (batch < 1 || batch > INT32_MAX)
        return hwb_fail(ctx, HWB_EARG, "loader: a batch of %lld", (long long)batch);
    o.batch = batch;
    if (batch != l->options.batch) reissue(l, &o);
    return HWB_OK;
}

hwb_status hwb_loader_set_part(hwb_ctx *ctx, hwb_loader *l, int part, int parts) {
    hwb_loader_options o = l->options;
    o.part = part;
    o.parts = parts;
    HWB_TRY(check_options(ctx, l->ds, &o));
    if (part != l->options.part || parts != l->options.parts) reissue(l, &o);
    return HWB_OK;
}

hwb_dataset *hwb_loader_dataset(const hwb_loader *l) {
    return l->ds;
}

hwb_loader_options hwb_loader_get_options(const hwb_loader *l) {
    return l->options;
}

int64_t hwb_loader_batches(const hwb_loader *l) {
    int64_t n = l->ds->count, b = l->options.batch;
    return l->options.drop_last ? n / b : (n + b - 1) / b;
}

/* ---- the consumer -------------------------------------------------------------------------------- */

static hwb_status wait_ready(hwb_ctx *ctx, hwb_loader *l, const slot *s) {
    while (!s->ready) {
        HWB_TRY(hwb_check_interrupt(ctx));
        struct timespec until;
        clock_gettime(CLOCK_MONOTONIC, &until);
        until.tv_nsec += POLL_MS * 1000000L;
        if (until.tv_nsec >= 1000000000L) {
            until.tv_nsec -= 1000000000L;
            until.tv_sec++;
        }
        pthread_cond_timedwait(&l->done, &l->lock, &until);
    }
    return HWB_OK;
}

/* Called with the lock held.  A failed batch stays and fails again. */
static hwb_status take_slot(hwb_ctx *ctx, hwb_loader *l, hwb_tensor **x, hwb_tensor **y) {
    slot *s = &l->slots[l->taken % l->options.ahead];
    HWB_TRY(wait_ready(ctx, l, s));
    if (s->status != HWB_OK)
        return hwb_fail(ctx, s->status, "%s", s->message ? s->message : hwb_status_text(s->status));
    *x = s->x;
    *y = s->y;
    l->position += s->n;
    l->taken++;
    *s = (slot){0};
    pthread_cond_broadcast(&l->work);
    return HWB_OK;
}

hwb_status hwb_loader_next(hwb_ctx *ctx, hwb_loader *l, hwb_tensor **x, hwb_tensor **y) {
    HWB_TRY(hwb_check_interrupt(ctx));
    if (l->position >= l->end) {
        HWB_TRY(start_epoch(ctx, l, l->epoch + 1, 0));
        *x = *y = NULL;
        return HWB_OK;
    }
    if (l->running == 0) {
        int64_t at = l->position, whole = batch_at(l, at), n = whole;
        part_of(l, &at, &n);
        HWB_TRY(make_batch(ctx, l, l->epoch, at, n, true, x, y));
        l->position += whole;
        return HWB_OK;
    }
    pthread_mutex_lock(&l->lock);
    hwb_status status = take_slot(ctx, l, x, y);
    pthread_mutex_unlock(&l->lock);
    return status;
}

/*
 * exchange.c: sums, broadcasts and barriers out of messages between pairs.
 *
 * A sum of n numbers over P ranks goes piece by piece, P chunks a piece.  Rank r
 * is responsible for chunk r:
 *
 *     round 0   everybody sends chunk p of its numbers to rank p (for all p)
 *               rank r adds the P chunks it has now, in the order of the ranks
 *     round 1   everybody sends its sum to all others
 *
 * so each rank sends and receives 2 (P-1)/P of the data, which is the least
 * possible, and each element is added up at one place, in one order.  A sum of
 * a few numbers is done by everybody in the same order: one round.
 */
#include "comm/comm_i.h"

#include <sched.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { SUM = 1, BROADCAST };
static const double LAST_MESSAGES = 0.5; /* seconds */

/* ---- one exchange ------------------------------------------------------------------- */

void hwb__comm_pause(int64_t tries) {
    struct timespec nap = {.tv_nsec = tries < 4000 ? 50000 : 500000};
    if (tries < 500) sched_yield();
    else nanosleep(&nap, NULL);
}

static unsigned char *slot(unsigned char *slots, int rank) {
    return slots + (size_t)rank * HWB__COMM_SLOT;
}

static unsigned char *payload(unsigned char *slots, int rank) {
    return slot(slots, rank) + sizeof(hwb__comm_header);
}

static hwb_status broken(hwb_ctx *ctx, hwb__comm *c, const char *why) {
    c->broken = true;
    return hwb_fail(ctx, HWB_EPEER, "communication between the ranks failed: %s", why);
}

/* A rank that took part and failed right afterwards has sent its messages: they get
 * some time to arrive, so that all ranks see this exchange alike. */
static hwb_status wait(hwb_ctx *ctx, hwb__comm *c) {
    char why[HWB_TRANSPORT_TEXT] = "";
    double failed = 0;
    for (int64_t tries = 0;; tries++) {
        bool done = false;
        if (c->transport->test(c->state, &done, why) != 0) return broken(ctx, c, why);
        if (done) return HWB_OK;
        hwb_status st = hwb__comm_notices(ctx, c);
        if (st != HWB_OK && failed == 0) failed = hwb_seconds();
        bool lost = st != HWB_OK && hwb_seconds() - failed > LAST_MESSAGES;
        if (!lost) st = hwb_check_interrupt(ctx);
        if (lost) c->passed = c->failed;
        if (st != HWB_OK) {
            c->broken = true;
            return st;
        }
        hwb__comm_pause(tries);
    }
}

static hwb_status exchange(hwb_ctx *ctx, hwb__comm *c, int count) {
    char why[HWB_TRANSPORT_TEXT] = "";
    if (c->transport->start(c->state, count, c->messages, why) != 0) return broken(ctx, c, why);
    return wait(ctx, c);
}

static const char *describe(const hwb__comm_header *h, char text[96]) {
    if (h->kind == BROADCAST) snprintf(text, 96, "a broadcast of %lld bytes", (long long)h->n);
    else if (h->n == 0) snprintf(text, 96, "a barrier");
    else
        snprintf(text, 96, "a sum of %lld %s", (long long)h->n,
                 hwb_dtype_name((hwb_dtype)h->dtype));
    return text;
}

static hwb_status check_header(hwb_ctx *ctx, hwb__comm *c, int from, const hwb__comm_header *mine) {
    hwb__comm_header got;
    char a[96], b[96];
    memcpy(&got, slot(c->in, from), sizeof got);
    if (memcmp(&got, mine, sizeof got) == 0) return HWB_OK;
    c->broken = true;
    bool same_call = got.call == mine->call && got.n == mine->n && got.kind == mine->kind;
    if (same_call && got.mark != mine->mark)
        return hwb_fail(ctx, HWB_EPEER,
                        "the ranks have come apart: call %lld, %s, is of other weights, vectors or "
                        "operators on rank %d than on rank %d",
                        (long long)mine->call, describe(mine, a), from, c->place.rank);
    return hwb_fail(ctx, HWB_EPEER,
                    "the ranks have come apart: call %lld of rank %d is %s, call %lld of rank %d "
                    "is %s; all ranks must do the same",
                    (long long)mine->call, c->place.rank, describe(mine, a), (long long)got.call,
                    from, describe(&got, b));
}

/* ---- sums ------------------------------------------------------------------------------ */

/* The chunk of a rank within a piece of n numbers. */
static void chunk_of(const hwb__comm *c, int rank, int64_t n, bool small, int64_t *first,
                     int64_t *count) {
    *first = 0;
    *count = n;
    if (!small) hwb_comm_part((hwb_comm_place){rank, c->place.size, 0, 1}, n, first, count);
}

/* The messages of a round: a slot of `out` to each other rank, its own or the first for
 * all, and one of `in` from each. */
static int to_everybody(hwb__comm *c, bool shared) {
    int m = 0;
    for (int p = 0; p < c->place.size; p++) {
        if (p == c->place.rank) continue;
        c->messages[m++] = (hwb_parcel){p, true, slot(c->in, p), HWB__COMM_SLOT};
        c->messages[m++] = (hwb_parcel){p, false, slot(c->out, shared ? 0 : p),
                                        sizeof(hwb__comm_header) + c->bytes[shared ? 0 : p]};
    }
    return m;
}

/* total[n] (+)= values[n] */
static void add_up(double *restrict total, const void *values, hwb_dtype dtype, int64_t n,
                   bool set) {
    if (dtype == HWB_F64) {
        const double *v = values;
        for (int64_t i = 0; i < n; i++) total[i] = set ? v[i] : total[i] + v[i];
    } else {
        const float *v = values;
        for (int64_t i = 0; i < n; i++) total[i] = set ? (double)v[i] : total[i] + (double)v[i];
    }
}

static void store(void *values, const double *total, hwb_dtype dtype, int64_t n) {
    if (dtype == HWB_F64) memcpy(values, total, (size_t)n * sizeof *total);
    else
        for (int64_t i = 0; i < n; i++) ((float *)values)[i] = (float)total[i];
}

static hwb_status receive_all(hwb_ctx *ctx, hwb__comm *c, int messages, const hwb__comm_header *h) {
    HWB_TRY(exchange(ctx, c, messages));
    for (int p = 0; p < c->place.size; p++)
        if (p != c->place.rank) HWB_TRY(check_header(ctx, c, p, h));
    return HWB_OK;
}

/* Round 0: my chunk of `data` becomes its sum. */
static hwb_status scatter_sum(hwb_ctx *ctx, hwb__comm *c, hwb__comm_header *h, int64_t n,
                              char *data, bool small) {
    size_t each = hwb_dtype_size((hwb_dtype)h->dtype);
    int64_t first, count;
    for (int p = 0; p < (small ? 1 : c->place.size); p++) {
        chunk_of(c, p, n, small, &first, &count);
        c->bytes[p] = (size_t)count * each;
        memcpy(slot(c->out, p), h, sizeof *h);
        memcpy(payload(c->out, p), data + (size_t)first * each, c->bytes[p]);
    }
    HWB_TRY(receive_all(ctx, c, to_everybody(c, small), h));
    chunk_of(c, c->place.rank, n, small, &first, &count);
    char *mine = data + (size_t)first * each;
    for (int p = 0; p < c->place.size; p++)
        add_up(c->total, p == c->place.rank ? mine : (char *)payload(c->in, p), (hwb_dtype)h->dtype,
               count, p == 0);
    store(mine, c->total, (hwb_dtype)h->dtype, count);
    return HWB_OK;
}

/* Round 1: everybody's chunk to everybody. */
static hwb_status gather(hwb_ctx *ctx, hwb__comm *c, hwb__comm_header *h, int64_t n, char *data) {
    size_t each = hwb_dtype_size((hwb_dtype)h->dtype);
    int64_t first, count;
    h->round = 1;
    chunk_of(c, c->place.rank, n, false, &first, &count);
    c->bytes[0] = (size_t)count * each;
    memcpy(slot(c->out, 0), h, sizeof *h);
    memcpy(payload(c->out, 0), data + (size_t)first * each, c->bytes[0]);
    HWB_TRY(receive_all(ctx, c, to_everybody(c, true), h));
    for (int p = 0; p < c->place.size; p++) {
        chunk_of(c, p, n, false, &first, &count);
        if (p != c->place.rank)
            memcpy(data + (size_t)first * each, payload(c->in, p), (size_t)count * each);
    }
    return HWB_OK;
}

static hwb_status sum_pieces(hwb_ctx *ctx, hwb__comm *c, hwb_dtype dtype, int64_t n, char *data) {
    size_t each = hwb_dtype_size(dtype);
    bool small = (size_t)n * each <= HWB__COMM_SMALL;
    int64_t piece = HWB__COMM_CHUNK / (int64_t)each * c->place.size, at = 0;
    hwb__comm_header h = {
        .call = c->calls, .n = n, .mark = c->mark, .kind = SUM, .dtype = (int32_t)dtype};
    do {
        int64_t len = n - at < piece ? n - at : piece;
        h.round = 0;
        HWB_TRY(scatter_sum(ctx, c, &h, len, data + (size_t)at * each, small));
        if (!small) HWB_TRY(gather(ctx, c, &h, len, data + (size_t)at * each));
        at += len;
        h.piece++;
    } while (at < n);
    return HWB_OK;
}

/* ---- broadcasts ---------------------------------------------------------------------------- */

static hwb_status broadcast_pieces(hwb_ctx *ctx, hwb__comm *c, int root, size_t bytes, char *data) {
    hwb__comm_header h = {
        .call = c->calls, .n = (int64_t)bytes, .mark = c->mark, .kind = BROADCAST};
    for (size_t at = 0; at < bytes; at += HWB__COMM_CHUNK, h.piece++) {
        size_t len = bytes - at < HWB__COMM_CHUNK ? bytes - at : HWB__COMM_CHUNK;
        int m = 0;
        if (c->place.rank != root) {
            c->messages[m++] = (hwb_parcel){root, true, slot(c->in, root), HWB__COMM_SLOT};
            HWB_TRY(exchange(ctx, c, m));
            HWB_TRY(check_header(ctx, c, root, &h));
            memcpy(data + at, payload(c->in, root), len);
            continue;
        }
        memcpy(slot(c->out, 0), &h, sizeof h);
        memcpy(payload(c->out, 0), data + at, len);
        for (int p = 0; p < c->place.size; p++)
            if (p != root)
                c->messages[m++] = (hwb_parcel){p, false, slot(c->out, 0), sizeof h + len};
        HWB_TRY(exchange(ctx, c, m));
    }
    return HWB_OK;
}

/* ---- marks ---------------------------------------------------------------------------------- */

void hwb_comm_mark(hwb_ctx *ctx, uint64_t mark) {
    hwb__comm *c = hwb__comm_of(ctx);
    if (c) c->mark = mark;
}

/* FNV-1a, on words. */
static uint64_t mix(uint64_t mark, uint64_t word) {
    return (mark ^ word) * 0x100000001b3u;
}

uint64_t hwb_comm_mark_of(uint64_t mark, const char *text, const hwb_tensor *t, int64_t samples) {
    for (; text && *text; text++) mark = mix(mark, (unsigned char)*text);
    int64_t n = t ? hwb_tensor_numel(t) : 0, step = samples && n > samples ? n / samples : 1;
    for (int64_t i = 0; i < n; i += step) {
        double v = hwb_tensor_get(t, i);
        uint64_t word;
        memcpy(&word, &v, sizeof word);
        mark = mix(mark, word);
    }
    return mark ? mark : 1;
}

/* ---- calls ------------------------------------------------------------------------------------ */

static hwb_status begin(hwb_ctx *ctx, hwb__comm *c, size_t bytes) {
    hwb_status st = hwb__comm_notices(ctx, c);
    if (st != HWB_OK) c->passed = c->failed;
    HWB_TRY(st);
    HWB_TRY(hwb_check_interrupt(ctx));
    if (c->broken || c->ended)
        return hwb_fail(ctx, HWB_EPEER,
                        c->ended ? "an exchange after this rank's end"
                                 : "the ranks cannot go on: an earlier exchange was left");
    c->calls++;
    c->stats.calls++;
    c->stats.bytes += (int64_t)bytes;
    return HWB_OK;
}

static hwb_status going_on(hwb_ctx *ctx) {
    hwb__comm *c = hwb__comm_of(ctx);
    hwb_status st = hwb__comm_notices(ctx, c);
    if (st != HWB_OK) c->passed = c->failed;
    HWB_TRY(st);
    return hwb_check_interrupt(ctx);
}

/* Ranks that have come apart are found out here too: few numbers go first. */
static hwb_status device_sum(hwb_ctx *ctx, hwb__comm *c, hwb_dtype dtype, int64_t n, void *data,
                             bool there) {
    double count = (double)n;
    HWB_TRY(sum_pieces(ctx, c, HWB_F64, 1, (char *)&count));
    if (count != (double)n * c->place.size)
        return broken(ctx, c, "sums of different lengths on the device");
    hwb_status st = (there ? c->device->sum_there : c->device->sum)(ctx, c->device_comm, dtype, n,
                                                                    data, going_on);
    c->broken = c->broken || st != HWB_OK;
    return st;
}

bool hwb_comm_reaches(const hwb_ctx *ctx, const void *device_state) {
    const hwb__comm *c = hwb__comm_of(ctx);
    return c && c->device && c->device->sum_there && c->device_state == device_state;
}

hwb_status hwb_comm_sum_there(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, void *data) {
    hwb__comm *c = hwb__comm_of(ctx);
    double began = hwb_seconds();
    if (!c || !c->device || !c->device->sum_there)
        return hwb_fail(ctx, HWB_EDEVICE, "no network of a device is attached");
    HWB_TRY(begin(ctx, c, (size_t)n * hwb_dtype_size(dtype)));
    hwb_status st = device_sum(ctx, c, dtype, n, data, true);
    c->stats.seconds += hwb_seconds() - began;
    c->mark = 0;
    return st;
}

hwb_status hwb_comm_sum(hwb_ctx *ctx, hwb_dtype dtype, int64_t n, void *data) {
    hwb__comm *c = hwb__comm_of(ctx);
    double began = hwb_seconds();
    if (n < 0 || (dtype != HWB_F32 && dtype != HWB_F64))
        return hwb_fail(ctx, HWB_EARG, "a sum over ranks of %lld numbers of %s", (long long)n,
                        hwb_dtype_name(dtype));
    if (!c) return HWB_OK;
    HWB_TRY(begin(ctx, c, (size_t)n * hwb_dtype_size(dtype)));
    bool device = c->device && (size_t)n * hwb_dtype_size(dtype) >= HWB__COMM_DEVICE;
    hwb_status st =
        device ? device_sum(ctx, c, dtype, n, data, false) : sum_pieces(ctx, c, dtype, n, data);
    c->stats.seconds += hwb_seconds() - began;
    c->mark = 0;
    return st;
}

hwb_status hwb_comm_sum_tensor(hwb_ctx *ctx, hwb_tensor *t) {
    if (!hwb_tensor_is_contiguous(t))
        return hwb_fail(ctx, HWB_EARG, "a sum over ranks wants a dense tensor");
    HWB_TRY(hwb_comm_sum(ctx, hwb_tensor_dtype(t), hwb_tensor_numel(t), hwb_tensor_data(t)));
    hwb_tensor_touch(t);
    return HWB_OK;
}

hwb_status hwb_comm_broadcast(hwb_ctx *ctx, int root, size_t bytes, void *data) {
    hwb__comm *c = hwb__comm_of(ctx);
    double began = hwb_seconds();
    if (root < 0 || root >= hwb_comm_where(ctx).size)
        return hwb_fail(ctx, HWB_EARG, "a broadcast from rank %d of %d", root,
                        hwb_comm_where(ctx).size);
    if (!c) return HWB_OK;
    HWB_TRY(begin(ctx, c, bytes));
    hwb_status st = broadcast_pieces(ctx, c, root, bytes, data);
    c->stats.seconds += hwb_seconds() - began;
    c->mark = 0;
    return st;
}

hwb_status hwb_comm_barrier(hwb_ctx *ctx) {
    double none = 0;
    return hwb_comm_sum(ctx, HWB_F64, 0, &none);
}

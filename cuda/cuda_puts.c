/*
 * cuda_puts.c: small copies to the device, gathered.
 *
 * A training step brings a hundred tensors up, most of a few hundred bytes; a call and
 * a transfer each would take longer than the bytes do.  Small ones are therefore only
 * noted, their bytes kept in pinned memory, until something is enqueued that could read
 * them; then all go up in one copy,
 *
 *     [bytes of the 1st, 2nd, ... (16-byte steps)] [table of {to, from, words}]
 *
 * into memory of the same layout on the device, from where one kernel puts them where
 * they belong.  The pinned memory is used from its beginning again after every wait for
 * the stream.
 */
#include "cuda_group_i.h"

#include <stdlib.h>
#include <string.h>

enum { ROOM = 4 << 20, MOST = 256 << 10, PUTS = 512, BLOCKS_EACH = 8 };

typedef struct put {
    uint64_t to, from, words; /* device address, offset, count of 4 bytes */
} put;

struct hwb__cuda_puts {
    char *pinned, *device; /* ROOM bytes each */
    size_t begin, used;    /* of this batch; bytes taken */
    int n;
    put list[PUTS];
    cudaKernel_t f;
};

#define PUTS_PARAMS                                                                                \
    {                                                                                              \
        void *base;                                                                                \
        i64 table;                                                                                 \
    }

static const char SPREAD[] =
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"
    "const u64 *e = (const u64 *)((const char *)p.base + p.table) + 3 * (u64)blockIdx.y;\n"
    "u32 *to = (u32 *)e[0]; const u32 *from = (const u32 *)((const char *)p.base + e[1]);\n"
    "for (u64 i = blockIdx.x * 256 + threadIdx.x; i < e[2]; i += gridDim.x * 256) to[i] = "
    "from[i];\n"
    "}\n";

static hwb_status make(hwb_ctx *ctx, hwb__cuda *s, struct hwb__cuda_puts *q) {
    hwb__cuda_text t = {0};
    HWB_CUDA_TRY(ctx, cudaMallocHost((void **)&q->pinned, ROOM));
    if (!(q->device = hwb__cuda_mem_alloc(ctx, s, ROOM))) return HWB_ENOMEM;
    hwb__cuda_say(&t, "typedef struct %s params;\n%s", HWB__CUDA_TEXT(PUTS_PARAMS), SPREAD);
    hwb_status st = hwb__cuda_function(ctx, s, &q->f, "spread", &t);
    free(t.at);
    return st;
}

void hwb__cuda_puts_free(hwb__cuda *s) {
    if (!s->puts) return;
    if (s->puts->pinned) cudaFreeHost(s->puts->pinned);
    hwb__cuda_mem_free(s, s->puts->device);
    free(s->puts);
    s->puts = NULL;
}

static hwb_status puts_of(hwb_ctx *ctx, hwb__cuda *s) {
    if (s->puts) return HWB_OK;
    if (!(s->puts = calloc(1, sizeof(*s->puts)))) return hwb__cuda_oom(ctx);
    hwb_status st = make(ctx, s, s->puts);
    if (st != HWB_OK) hwb__cuda_puts_free(s);
    return st;
}

/* ---- sending ------------------------------------------------------------------------ */

static hwb_status spread(hwb_ctx *ctx, hwb__cuda *s, struct hwb__cuda_puts *q) {
    const size_t table = q->used, bytes = (size_t)q->n * sizeof(put);
    struct PUTS_PARAMS p = {q->device, (i64)table};
    memcpy(q->pinned + table, q->list, bytes);
    q->used += bytes;
    HWB_CUDA_TRY(ctx, cudaMemcpyAsync(q->device + q->begin, q->pinned + q->begin,
                                      q->used - q->begin, cudaMemcpyHostToDevice, s->stream));
    return hwb__cuda_launch(ctx, s, q->f, (hwb__cuda_grid){BLOCKS_EACH, (unsigned)q->n}, &p);
}

hwb_status hwb__cuda_puts_send(hwb_ctx *ctx, hwb__cuda *s) {
    struct hwb__cuda_puts *q = s->puts;
    if (!q || q->n == 0) return HWB_OK;
    hwb_status st;
    if (q->n > 1) st = spread(ctx, s, q);
    else
        st = hwb__cuda_check(ctx,
                             cudaMemcpyAsync((void *)(uintptr_t)q->list[0].to,
                                             q->pinned + q->list[0].from, 4 * q->list[0].words,
                                             cudaMemcpyHostToDevice, s->stream),
                             "cudaMemcpyAsync");
    q->n = 0;
    q->begin = q->used = (q->used + 15) / 16 * 16;
    return st;
}

/* The stream has been waited for, with nothing noted. */
void hwb__cuda_puts_done(hwb__cuda *s) {
    if (s->puts && s->puts->n == 0) s->puts->begin = s->puts->used = 0;
}

/* ---- noting ---------------------------------------------------------------------------- */

static bool overlaps(const put *a, uint64_t to, size_t bytes) {
    return a->to < to + bytes && to < a->to + 4 * a->words;
}

/* Memory that is given back needs nothing any more. */
void hwb__cuda_puts_forget(hwb__cuda *s, const void *p, size_t bytes) {
    struct hwb__cuda_puts *q = s->puts;
    int kept = 0;
    for (int i = 0; q && i < q->n; i++)
        if (!overlaps(&q->list[i], (uintptr_t)p, bytes)) q->list[kept++] = q->list[i];
    if (q) q->n = kept;
}

/* Room for `bytes`, the table included; the table is PUTS long at most. */
static bool has_room(const struct hwb__cuda_puts *q, size_t bytes) {
    return q->n < PUTS && q->used + bytes + 16 + (size_t)(q->n + 1) * sizeof(put) <= ROOM;
}

hwb_status hwb__cuda_puts_note(hwb_ctx *ctx, hwb__cuda *s, void *dst, const void *host,
                               size_t bytes, bool *noted) {
    *noted = bytes <= MOST && bytes % 4 == 0 && (uintptr_t)dst % 4 == 0;
    if (*noted) HWB_TRY(puts_of(ctx, s));
    struct hwb__cuda_puts *q = s->puts;
    if (!q) return HWB_OK;
    bool meets = false;
    for (int i = 0; i < q->n && !meets; i++) meets = overlaps(&q->list[i], (uintptr_t)dst, bytes);
    if (meets || (*noted && !has_room(q, bytes))) HWB_TRY(hwb__cuda_puts_send(ctx, s));
    if (!*noted) return HWB_OK;
    if (!has_room(q, bytes)) {
        HWB_CUDA_TRY(ctx, cudaStreamSynchronize(s->stream));
        hwb__cuda_puts_done(s);
    }
    memcpy(q->pinned + q->used, host, bytes);
    q->list[q->n++] = (put){(uintptr_t)dst, q->used, bytes / 4};
    q->used += (bytes + 15) / 16 * 16;
    return HWB_OK;
}

/*
 * copy.c: copies between any strides and dtypes.
 *
 * The walk is sorted so that dst is written as it lies in memory.  Three cases
 * by what src does along dst's fastest axis:
 *
 *   steps by 1   rows: memcpy or a vectorised conversion
 *   anything     and another axis of src steps by 1: a transposition, done in
 *                tiles through a small buffer
 *   anything     rows of strided elements
 */
#include "tensor/tensor_i.h"

#include <string.h>

enum { TILE_MAX = 2048, CHUNK = 16384 }; /* elements */

typedef struct copier {
    hwb__nest nest;                /* a = dst, b = src */
    hwb__convert_fn convert, move; /* move: between elements of dst's dtype */
    char *dst;
    const char *src;
    int64_t dst_size, src_size; /* bytes of an element */
    bool same;                  /* dtypes are equal: rows may be memcpy'd */
    int64_t chunks, group;      /* copy_rows: chunks of a row, (row, chunk)s of a unit */
    int64_t tile_p, tile_q;     /* copy_tiles: lengths of a tile */
} copier;

static void copy_row(const copier *c, int64_t to, int64_t ds, int64_t from, int64_t ss, int64_t n) {
    char *dst = c->dst + to * c->dst_size;
    const char *src = c->src + from * c->src_size;
    if (c->same && ds == 1 && ss == 1) memcpy(dst, src, (size_t)(n * c->dst_size));
    else c->convert(dst, ds, src, ss, n);
}

/* One unit of work: `group` chunks. */
static void copy_chunks(const void *job, int64_t unit) {
    const copier *c = job;
    const hwb__nest *nest = &c->nest;
    int last = nest->ndim - 1;
    int64_t n = nest->dim[last], total = nest->rows * c->chunks;
    int64_t end = (unit + 1) * c->group < total ? (unit + 1) * c->group : total;
    for (int64_t at = unit * c->group; at < end; at++) {
        int64_t to, from, first = at % c->chunks * CHUNK;
        int64_t count = n - first < CHUNK ? n - first : CHUNK;
        hwb__nest_seek(nest, at / c->chunks, &to, &from);
        copy_row(c, to + first * nest->a[last], nest->a[last], from + first * nest->b[last],
                 nest->b[last], count);
    }
}

/* All rows; a long row is cut into chunks so that one row can feed all threads,
 * short rows go in groups. */
static void copy_rows(copier *c, int threads) {
    int64_t n = c->nest.dim[c->nest.ndim - 1];
    c->chunks = (n + CHUNK - 1) / CHUNK;
    c->group = (CHUNK + n - 1) / n;
    hwb__for(threads, (c->nest.rows * c->chunks + c->group - 1) / c->group, copy_chunks, c);
}

/* One tile of np x nq, through a buffer buf[nq][np]: each cache line of src is
 * read whole, once, and each of dst written whole, whatever the strides (a
 * stride of 4096 bytes would otherwise keep hitting one cache set). */
static void copy_tile(const copier *c, int64_t to, int64_t from, int64_t np, int64_t nq) {
    const hwb__nest *nest = &c->nest;
    int q = nest->ndim - 1, p = q - 1;
    int64_t size = c->dst_size;
    _Alignas(64) char buf[TILE_MAX * 8];
    const char *src = c->src + from * c->src_size;
    if (nest->b[q] == np) c->convert(buf, 1, src, 1, np * nq);
    else
        for (int64_t j = 0; j < nq; j++)
            c->convert(buf + j * np * size, 1, src + j * nest->b[q] * c->src_size, 1, np);
    char *dst = c->dst + to * size;
    if (nq >= np)
        for (int64_t i = 0; i < np; i++)
            c->move(dst + i * nest->a[p] * size, nest->a[q], buf + i * size, np, nq);
    else
        for (int64_t j = 0; j < nq; j++)
            c->move(dst + j * nest->a[q] * size, nest->a[p], buf + j * np * size, 1, np);
}

/* One unit of work: the tiles of tile_p steps along p. */
static void copy_tile_row(const void *job, int64_t unit) {
    const copier *c = job;
    const hwb__nest *nest = &c->nest;
    int q = nest->ndim - 1, p = q - 1;
    int64_t tiles = (nest->dim[p] + c->tile_p - 1) / c->tile_p;
    int64_t i = unit % tiles * c->tile_p, to, from;
    int64_t np = nest->dim[p] - i < c->tile_p ? nest->dim[p] - i : c->tile_p;
    hwb__nest_seek(nest, unit / tiles * nest->dim[p] + i, &to, &from);
    for (int64_t j = 0; j < nest->dim[q]; j += c->tile_q) {
        int64_t nq = nest->dim[q] - j < c->tile_q ? nest->dim[q] - j : c->tile_q;
        copy_tile(c, to + j * nest->a[q], from + j * nest->b[q], np, nq);
    }
}

/* dst's fastest axis q is the last, src's p is the one before it, with step 1.
 * A float32 cache line holds 16 elements; thin matrices (3 channels) get long
 * tiles instead.  No tile has more than TILE_MAX elements. */
static void copy_tiles(copier *c, int threads) {
    const hwb__nest *nest = &c->nest;
    int q = nest->ndim - 1, p = q - 1;
    c->tile_p = nest->dim[q] < 16 ? TILE_MAX / 16 : 16;
    c->tile_q = nest->dim[p] < 16 ? TILE_MAX / 16 : 64;
    int64_t tiles = (nest->dim[p] + c->tile_p - 1) / c->tile_p;
    hwb__for(threads, nest->rows / nest->dim[p] * tiles, copy_tile_row, c);
}

/* Bring the axis along which src steps by 1 next to the last; false if none. */
static bool make_transposition(hwb__nest *nest) {
    int last = nest->ndim - 1;
    if (last < 1 || nest->b[last] <= 1) return false;
    for (int i = 0; i < last; i++) {
        if (nest->b[i] != 1) continue;
        int64_t dim = nest->dim[i], a = nest->a[i], b = nest->b[i];
        for (int j = i; j < last - 1; j++) {
            nest->dim[j] = nest->dim[j + 1];
            nest->a[j] = nest->a[j + 1];
            nest->b[j] = nest->b[j + 1];
        }
        nest->dim[last - 1] = dim;
        nest->a[last - 1] = a;
        nest->b[last - 1] = b;
        return true;
    }
    return false;
}

/* dst[...] = src[...] of equal shapes, without overlap; src_strides may hold
 * broadcast zeros. */
static void copy_strided(const hwb_ctx *ctx, const hwb_tensor *dst, const hwb_tensor *src,
                         const int64_t *src_strides) {
    if (dst->numel == 0) return;
    copier c = {
        .nest = hwb__nest_make(&dst->shape, dst->strides, src_strides),
        .convert = hwb__converter(dst->dtype, src->dtype),
        .move = hwb__converter(dst->dtype, dst->dtype),
        .dst = hwb_tensor_data(dst),
        .src = hwb_tensor_data(src),
        .dst_size = (int64_t)hwb_dtype_size(dst->dtype),
        .src_size = (int64_t)hwb_dtype_size(src->dtype),
        .same = dst->dtype == src->dtype,
    };
    int threads = dst->numel >= HWB__PARALLEL_MIN ? hwb_threads(ctx) : 1;
    hwb__nest_sort(&c.nest);
    if (make_transposition(&c.nest)) copy_tiles(&c, threads);
    else copy_rows(&c, threads);
}

/* ---- public --------------------------------------------------------------------- */

hwb_status hwb_tensor_clone(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *t) {
    hwb_tensor *copy = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &copy, t->dtype, t->shape));
    copy_strided(ctx, copy, t, t->strides);
    *out = copy;
    return HWB_OK;
}

hwb_status hwb_tensor_contiguous(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t) {
    if (!t->contiguous) return hwb_tensor_clone(ctx, out, t);
    *out = hwb_tensor_retain(t);
    return HWB_OK;
}

hwb_status hwb_tensor_to(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *t, hwb_dtype dtype) {
    if (t->dtype == dtype) {
        *out = hwb_tensor_retain(t);
        return HWB_OK;
    }
    hwb_tensor *copy = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &copy, dtype, t->shape));
    copy_strided(ctx, copy, t, t->strides);
    *out = copy;
    return HWB_OK;
}

/* First and last byte that a view with elements can touch. */
static void view_range(const hwb_tensor *t, const char **first, const char **last) {
    int64_t span = 0;
    for (int i = 0; i < t->shape.ndim; i++) span += (t->shape.dim[i] - 1) * t->strides[i];
    int64_t size = (int64_t)hwb_dtype_size(t->dtype);
    *first = t->data;
    *last = t->data + span * size + size - 1;
}

static bool may_overlap(const hwb_tensor *a, const hwb_tensor *b) {
    if (a->numel == 0 || b->numel == 0) return false;
    const char *first_a, *last_a, *first_b, *last_b;
    view_range(a, &first_a, &last_a);
    view_range(b, &first_b, &last_b);
    return (uintptr_t)first_a <= (uintptr_t)last_b && (uintptr_t)first_b <= (uintptr_t)last_a;
}

hwb_status hwb_tensor_copy(hwb_ctx *ctx, hwb_tensor *dst, const hwb_tensor *src) {
    HWB_TRY(hwb__tensor_writable(ctx, dst));
    hwb_tensor *wide = NULL;
    hwb_status status = hwb_tensor_expand(ctx, &wide, (hwb_tensor *)(uintptr_t)src, dst->shape);
    if (status != HWB_OK) {
        char from[HWB_SHAPE_TEXT], to[HWB_SHAPE_TEXT];
        return hwb_fail(ctx, status, "copy of shape %s into shape %s does not fit",
                        hwb_shape_text(&src->shape, from), hwb_shape_text(&dst->shape, to));
    }
    hwb_tensor *apart = NULL; /* what is read must not be overwritten first */
    if (may_overlap(dst, src)) HWB_GOTO(done, status, hwb_tensor_clone(ctx, &apart, wide));
    const hwb_tensor *from = apart ? apart : wide;
    copy_strided(ctx, dst, from, from->strides);
    hwb_tensor_touch(dst);
done:
    hwb_tensor_release(apart);
    hwb_tensor_release(wide);
    return status;
}

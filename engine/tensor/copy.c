/*
 * copy.c: copies between any strides and dtypes.
 *
 * The walk is sorted so that dst is written as it lies in memory.  Three cases
 * by what src does along dst's fastest axis:
 *
 *   steps by 1   rows: memcpy or a vectorised conversion
 *   anything     and another axis of src steps by 1: a transposition, done in
 *                tiles of TILE x TILE so that both sides stay in the L1 cache
 *   anything     rows of strided elements
 */
#include "tensor/tensor_i.h"

#include <string.h>

enum { TILE = 64, CHUNK = 16384 };

typedef struct copier {
    hwb__nest nest; /* a = dst, b = src */
    hwb__convert_fn convert;
    char *dst;
    const char *src;
    int64_t dst_size, src_size; /* bytes of an element */
    bool same;                  /* dtypes are equal: rows may be memcpy'd */
} copier;

static void copy_row(const copier *c, int64_t to, int64_t ds, int64_t from, int64_t ss, int64_t n) {
    char *dst = c->dst + to * c->dst_size;
    const char *src = c->src + from * c->src_size;
    if (c->same && ds == 1 && ss == 1) memcpy(dst, src, (size_t)(n * c->dst_size));
    else c->convert(dst, ds, src, ss, n);
}

/* All rows; a long row is cut into chunks so that one row can feed all threads. */
static void copy_rows(const copier *c, int threads) {
    const hwb__nest *nest = &c->nest;
    int last = nest->ndim - 1;
    int64_t n = nest->dim[last];
    int64_t chunks = n > CHUNK ? (n + CHUNK - 1) / CHUNK : 1;
    int64_t units = nest->rows * chunks;
    int64_t group = n < CHUNK ? (CHUNK + n - 1) / n : 1; /* short rows go in groups */
    int64_t groups = (units + group - 1) / group;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t g = 0; g < groups; g++) {
        int64_t end = (g + 1) * group < units ? (g + 1) * group : units;
        for (int64_t unit = g * group; unit < end; unit++) {
            int64_t to, from, first = unit % chunks * CHUNK;
            int64_t count = chunks == 1 ? n : n - first < CHUNK ? n - first : CHUNK;
            hwb__nest_seek(nest, unit / chunks, &to, &from);
            copy_row(c, to + first * nest->a[last], nest->a[last], from + first * nest->b[last],
                     nest->b[last], count);
        }
    }
}

/* One tile: axes `p` and `q` of lengths np and nq; the inner loop takes the
 * longer, so that thin matrices (3 channels) do not become 3-element rows. */
static void copy_tile(const copier *c, int64_t to, int64_t from, int p, int64_t np, int q,
                      int64_t nq) {
    const hwb__nest *nest = &c->nest;
    if (nq < np) {
        int axis = p;
        p = q;
        q = axis;
        int64_t n = np;
        np = nq;
        nq = n;
    }
    for (int64_t i = 0; i < np; i++)
        copy_row(c, to + i * nest->a[p], nest->a[q], from + i * nest->b[p], nest->b[q], nq);
}

/* dst's fastest axis is the last, src's is the one before it. */
static void copy_tiles(const copier *c, int threads) {
    const hwb__nest *nest = &c->nest;
    int q = nest->ndim - 1, p = q - 1;
    int64_t tiles_p = (nest->dim[p] + TILE - 1) / TILE, tiles_q = (nest->dim[q] + TILE - 1) / TILE;
    int64_t units = nest->rows / nest->dim[p] * tiles_p;
#pragma omp parallel for num_threads(threads) schedule(static) if (threads > 1)
    for (int64_t unit = 0; unit < units; unit++) {
        int64_t i = unit % tiles_p * TILE, to, from;
        int64_t np = nest->dim[p] - i < TILE ? nest->dim[p] - i : TILE;
        hwb__nest_seek(nest, unit / tiles_p * nest->dim[p] + i, &to, &from);
        for (int64_t tile = 0; tile < tiles_q; tile++) {
            int64_t j = tile * TILE, nq = nest->dim[q] - j < TILE ? nest->dim[q] - j : TILE;
            copy_tile(c, to + j * nest->a[q], from + j * nest->b[q], p, np, q, nq);
        }
    }
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
        .dst = dst->data,
        .src = src->data,
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

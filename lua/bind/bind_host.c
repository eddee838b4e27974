/*
 * bind_host.c: operations that read values and so want concrete tensors: sort,
 * topk, cumsum, nonzero, triangles, and the symmetric eigenproblem.  Computed
 * on the host in double.
 */
#include "bind_tensor_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* Lines of a tensor along one axis: element k of line (o, i) is o*n*inner + k*inner + i. */
typedef struct lines {
    int64_t outer, n, inner;
} lines;

static lines lines_of(const hwb_shape *s, int axis) {
    lines l = {1, s->dim[axis], 1};
    for (int i = 0; i < axis; i++) l.outer *= s->dim[i];
    for (int i = axis + 1; i < s->ndim; i++) l.inner *= s->dim[i];
    return l;
}

static int axis_or_last(lua_State *L, int arg, const hwb_shape *s, const char *name) {
    if (s->ndim == 0) luaL_error(L, "%s: a scalar has no dims", name);
    return lua_isnoneornil(L, arg) ? s->ndim - 1 : hwb__lcheck_axis(L, arg, s->ndim);
}

/* ---- sorting ----------------------------------------------------------------------------- */

typedef struct entry {
    double value;
    int64_t index;
} entry;

/* NaN counts as the largest; equal values keep their order. */
static int by_value(const void *pa, const void *pb) {
    const entry *a = pa, *b = pb;
    bool na = isnan(a->value), nb = isnan(b->value);
    if (na != nb) return na - nb;
    if (!na && a->value != b->value) return a->value < b->value ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

static int by_value_down(const void *pa, const void *pb) {
    const entry *a = pa, *b = pb;
    bool na = isnan(a->value), nb = isnan(b->value);
    if (na != nb) return nb - na;
    if (!na && a->value != b->value) return a->value > b->value ? -1 : 1;
    return (a->index > b->index) - (a->index < b->index);
}

/* Sorted lines, the first `keep` of each: values, 1-based indices. */
static int sort_lines(lua_State *L, int axis, int64_t keep, bool down) {
    const hwb_tensor *x = hwb__lcheck_tensor(L, 1);
    hwb_shape s = *hwb_tensor_shape(x);
    lines l = lines_of(&s, axis);
    entry *line = lua_newuserdatauv(L, (size_t)(l.n + 1) * sizeof *line, 0);
    s.dim[axis] = keep;
    hwb_tensor *values = hwb__lpush_new(L, hwb_tensor_dtype(x), s);
    hwb_tensor *places = hwb__lpush_new(L, HWB_I64, s);
    int64_t *index = hwb_tensor_data(places);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            for (int64_t k = 0; k < l.n; k++)
                line[k] = (entry){hwb_tensor_get(x, (o * l.n + k) * l.inner + i), k};
            qsort(line, (size_t)l.n, sizeof *line, down ? by_value_down : by_value);
            for (int64_t k = 0; k < keep; k++) {
                hwb_tensor_set(values, (o * keep + k) * l.inner + i, line[k].value);
                index[(o * keep + k) * l.inner + i] = line[k].index + 1;
            }
        }
    return 2;
}

/* sort([dim], {descending=false}) -> values, indices */
static int host_sort(lua_State *L) {
    static const char *const known[] = {"descending", NULL};
    const hwb_shape *s = hwb_tensor_shape(hwb__lcheck_tensor(L, 1));
    int options = lua_istable(L, 2) ? 2 : 3;
    hwb__lcheck_options(L, options, known);
    bool down = hwb__lopt_boolean(L, options, "descending", false);
    int axis = axis_or_last(L, options == 2 ? 4 : 2, s, "sort");
    return sort_lines(L, axis, s->dim[axis], down);
}

/* topk(k[, dim], {largest=true}) -> values, indices */
static int host_topk(lua_State *L) {
    static const char *const known[] = {"largest", NULL};
    const hwb_shape *s = hwb_tensor_shape(hwb__lcheck_tensor(L, 1));
    lua_Integer k = luaL_checkinteger(L, 2);
    int options = lua_istable(L, 3) ? 3 : 4;
    hwb__lcheck_options(L, options, known);
    bool down = hwb__lopt_boolean(L, options, "largest", true);
    int axis = axis_or_last(L, options == 3 ? 5 : 3, s, "topk");
    if (k < 0 || k > s->dim[axis])
        return luaL_error(L, "topk: %I of %I elements", (LUAI_UACINT)k, (LUAI_UACINT)s->dim[axis]);
    return sort_lines(L, axis, k, down);
}

/* ---- sums along a line, places ------------------------------------------------------------ */

static int host_cumsum(lua_State *L) {
    const hwb_tensor *x = hwb__lcheck_tensor(L, 1);
    const hwb_shape *s = hwb_tensor_shape(x);
    int axis = axis_or_last(L, 2, s, "cumsum");
    lines l = lines_of(s, axis);
    bool real = hwb_dtype_is_float(hwb_tensor_dtype(x));
    hwb_tensor *y = hwb__lpush_new(L, real ? hwb_tensor_dtype(x) : HWB_I64, *s);
    for (int64_t o = 0; o < l.outer; o++)
        for (int64_t i = 0; i < l.inner; i++) {
            double sum = 0;
            int64_t whole = 0;
            for (int64_t k = 0; k < l.n; k++) {
                int64_t at = (o * l.n + k) * l.inner + i;
                if (real) hwb_tensor_set(y, at, sum += hwb_tensor_get(x, at));
                else ((int64_t *)hwb_tensor_data(y))[at] = whole += hwb_tensor_get_int(x, at);
            }
        }
    return 1;
}

/* nonzero() -> [n, dims] int64: the 1-based index of every element that is not 0 */
static int host_nonzero(lua_State *L) {
    const hwb_tensor *x = hwb__lcheck_tensor(L, 1);
    const hwb_shape *s = hwb_tensor_shape(x);
    hwb_shape r = {.ndim = 2, .dim = {0, s->ndim}};
    for (int64_t i = 0; i < hwb_tensor_numel(x); i++) r.dim[0] += hwb_tensor_get(x, i) != 0;
    int64_t *out = hwb_tensor_data(hwb__lpush_new(L, HWB_I64, r));
    for (int64_t i = 0; i < hwb_tensor_numel(x); i++) {
        if (hwb_tensor_get(x, i) == 0) continue;
        int64_t rest = i;
        for (int d = s->ndim - 1; d >= 0; d--) {
            out[d] = rest % s->dim[d] + 1;
            rest /= s->dim[d];
        }
        out += s->ndim;
    }
    return 1;
}

/* ---- matrices --------------------------------------------------------------------------------- */

/* The part of a matrix on one side of its k-th diagonal, zero elsewhere. */
static int triangle(lua_State *L, bool upper) {
    hwb_tensor *x = hwb__lcheck_tensor(L, 1), *y;
    const hwb_shape *s = hwb_tensor_shape(x);
    lua_Integer k = luaL_optinteger(L, 2, 0);
    luaL_argcheck(L, s->ndim >= 2, 1, "wants at least two dims");
    int64_t rows = s->dim[s->ndim - 2], cols = s->dim[s->ndim - 1];
    if (k > cols) k = cols; /* further out is the same */
    if (k < -rows) k = -rows;
    hwb__lcheck(L, hwb_tensor_clone(hwb_lua_ctx(L), &y, x));
    hwb__lpush(L, y);
    for (int64_t i = 0; i < hwb_tensor_numel(y); i++) {
        int64_t below = i % cols - i / cols % rows - k;
        if (upper ? below < 0 : below > 0) hwb_tensor_set(y, i, 0.0);
    }
    return 1;
}

static int host_triu(lua_State *L) {
    return triangle(L, true);
}
static int host_tril(lua_State *L) {
    return triangle(L, false);
}

/* diag: a matrix of a vector, or the vector of a matrix */
static int host_diag(lua_State *L) {
    const hwb_tensor *x = hwb__lcheck_tensor(L, 1);
    const hwb_shape *s = hwb_tensor_shape(x);
    luaL_argcheck(L, s->ndim == 1 || s->ndim == 2, 1, "wants a vector or a matrix");
    int64_t n = s->ndim == 1 || s->dim[0] < s->dim[1] ? s->dim[0] : s->dim[1];
    hwb_shape r = {.ndim = 3 - s->ndim, .dim = {n, n}};
    hwb_tensor *y = hwb__lpush_new(L, hwb_tensor_dtype(x), r);
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), y, 0.0));
    for (int64_t i = 0; i < n; i++)
        if (s->ndim == 1) hwb_tensor_set(y, i * n + i, hwb_tensor_get(x, i));
        else hwb_tensor_set(y, i, hwb_tensor_get(x, i * s->dim[1] + i));
    return 1;
}

extern void dsyev_(const char *jobz, const char *uplo, const int *n, double *a, const int *lda,
                   double *w, double *work, const int *lwork, int *info);

/* eigh(a[n,n]) -> values[n] ascending, vectors[n,n] in columns; the lower triangle is read */
static int host_eigh(lua_State *L) {
    hwb_tensor *x = hwb__lcheck_tensor(L, 1), *a;
    hwb_ctx *ctx = hwb_lua_ctx(L);
    const hwb_shape *s = hwb_tensor_shape(x);
    char text[HWB_SHAPE_TEXT];
    if (s->ndim != 2 || s->dim[0] != s->dim[1] || s->dim[0] > 20000)
        return luaL_error(L, "eigh: [%s] is not a square matrix", hwb_shape_text(s, text));
    if (!hwb_dtype_is_float(hwb_tensor_dtype(x)) || !hwb_tensor_all_finite(x))
        return luaL_error(L, "eigh: wants finite float32 or float64 values");
    hwb_dtype dtype = hwb_tensor_dtype(x);
    int n = (int)s->dim[0], work_size = 34 * n + 1, info = 0;
    hwb_tensor *w = hwb__lpush_new(L, HWB_F64, (hwb_shape){.ndim = 1, .dim = {n}});
    hwb_tensor *v = hwb__lpush_new(L, HWB_F64, *s);
    double *work = lua_newuserdatauv(L, (size_t)work_size * sizeof *work, 0);
    hwb__lcheck(L, hwb_tensor_copy(ctx, v, x));
    /* row-major lower = column-major upper; vectors come back as rows */
    if (n > 0)
        dsyev_("V", "U", &n, hwb_tensor_data(v), &n, hwb_tensor_data(w), work, &work_size, &info);
    if (info != 0) return luaL_error(L, "eigh: no convergence (%d)", info);
    hwb__lcheck(L, hwb_tensor_to(ctx, &a, w, dtype));
    hwb__lpush(L, a);
    hwb__lcheck(L, hwb_tensor_permute(ctx, &a, v, (int[]){1, 0}));
    hwb__lpush(L, a);
    hwb__lcheck(L, hwb_tensor_to(ctx, &x, a, dtype));
    hwb__lpush(L, x);
    lua_remove(L, -2);
    return 2;
}

void hwb__lopen_host(lua_State *L) {
    static const luaL_Reg operations[] = {
        {"sort", host_sort}, {"topk", host_topk}, {"cumsum", host_cumsum},
        {"triu", host_triu}, {"tril", host_tril}, {"nonzero", host_nonzero},
        {"diag", host_diag}, {"eigh", host_eigh}, {NULL, NULL}};
    hwb__lset_methods(L, operations);
    luaL_setfuncs(L, operations, 0);
}

/*
 * cpu_index.c: rows picked by an index.  With the axes before attrs.axis as o and
 * those behind it as one row of `width` elements,
 *
 *   GATHER       y[o,i,:] = x[o,index[i],:]
 *   SCATTER_ADD  x[o,r,:] = sum over i with index[i] = r of u[o,i,:]
 *
 * The scatter sorts the updates by target (a counting sort, stable), so that each
 * row is one sum in double, independent of the others and of the threads.
 */
#include "backend/cpu/cpu_i.h"

#include <string.h>

typedef struct index_kernel {
    hwb__cpu_kernel base;
    hwb_op op;
    hwb_dtype dtype, index_dtype;
    size_t size;
    int64_t outer, rows, width, picks; /* rows of the table, elements a row, indices */
    int axis;
    bool parallel;
} index_kernel;

static int64_t pick(const index_kernel *k, const void *index, int64_t i) {
    return k->index_dtype == HWB_I32 ? ((const int32_t *)index)[i] : ((const int64_t *)index)[i];
}

static hwb_status check_index(hwb_ctx *ctx, const index_kernel *k, const void *index) {
    for (int64_t i = 0; i < k->picks; i++) {
        int64_t r = pick(k, index, i);
        if (r < 0 || r >= k->rows)
            return hwb_fail(
                ctx, HWB_EARG,
                "%s: index %lld at place %lld, but dim %d has %lld rows (all counted from 1)",
                hwb_op_name(k->op), (long long)r + 1, (long long)i + 1, k->axis + 1,
                (long long)k->rows);
    }
    return HWB_OK;
}

static hwb_status gather_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                             const uint64_t *versions, void *const *out) {
    const index_kernel *k = (const index_kernel *)kernel;
    const char *x = in[0];
    char *y = out[0];
    size_t row = (size_t)k->width * k->size;
    (void)versions;
    HWB_TRY(check_index(ctx, k, in[1]));
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t u = 0; u < k->outer * k->picks; u++) {
        int64_t r = u / k->picks * k->rows + pick(k, in[1], u % k->picks);
        memcpy(y + (size_t)u * row, x + (size_t)r * row, row);
    }
    return HWB_OK;
}

/* to[0..n) = sum of `count` update rows, those of order[], from column j on */
static void sum_updates(const index_kernel *k, char *to, const char *u, const int64_t *order,
                        int64_t count, int64_t j, int64_t n) {
    double acc[256] = {0};
    for (int64_t i = 0; i < count; i++) {
        int64_t at = order[i] * k->width + j;
        if (k->dtype == HWB_F32) {
            const float *row = (const float *)(const void *)u + at;
            for (int64_t c = 0; c < n; c++) acc[c] += (double)row[c];
        } else {
            const double *row = (const double *)(const void *)u + at;
            for (int64_t c = 0; c < n; c++) acc[c] += row[c];
        }
    }
    if (k->dtype == HWB_F32)
        for (int64_t c = 0; c < n; c++) ((float *)(void *)to)[j + c] = (float)acc[c];
    else memcpy((double *)(void *)to + j, acc, (size_t)n * sizeof(double));
}

static hwb_status scatter_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                              const uint64_t *versions, void *const *out) {
    const index_kernel *k = (const index_kernel *)kernel;
    size_t row = (size_t)k->width * k->size;
    int64_t *start = kernel->state->scratch, *order = start + k->rows + 1;
    (void)versions;
    HWB_TRY(check_index(ctx, k, in[1]));
    memset(start, 0, (size_t)(k->rows + 1) * sizeof *start);
    for (int64_t i = 0; i < k->picks; i++) start[pick(k, in[1], i) + 1]++;
    for (int64_t r = 0; r < k->rows; r++) start[r + 1] += start[r];
    for (int64_t i = 0; i < k->picks; i++) order[start[pick(k, in[1], i)]++] = i;
        /* start[r] is now where row r ends */
#pragma omp parallel for schedule(static) if (k->parallel)
    for (int64_t t = 0; t < k->outer * k->rows; t++) {
        int64_t o = t / k->rows, r = t % k->rows, from = r ? start[r - 1] : 0;
        char *to = (char *)out[0] + (size_t)t * row;
        const char *u = (const char *)in[0] + (size_t)(o * k->picks) * row;
        if (from == start[r]) {
            memset(to, 0, row);
            continue;
        }
        for (int64_t j = 0; j < k->width; j += 256)
            sum_updates(k, to, u, order + from, start[r] - from, j,
                        k->width - j < 256 ? k->width - j : 256);
    }
    return HWB_OK;
}

/* ---- prepare ------------------------------------------------------------- */

bool hwb__cpu_index_supports(const hwb_kdesc *desc) {
    hwb_dtype t = desc->in[0].dtype;
    if (desc->op == HWB_OP_SCATTER_ADD && !hwb_dtype_is_float(t)) return false;
    return hwb_shape_numel(&desc->in[0].shape) > 0 && hwb_shape_numel(&desc->out[0].shape) > 0 &&
           hwb_shape_numel(&desc->in[1].shape) > 0;
}

static void index_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

hwb_status hwb__cpu_index_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                  const hwb_kdesc *desc) {
    hwb__cpu_kernel *base;
    bool gather = desc->op == HWB_OP_GATHER;
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(index_kernel),
                                gather ? "rows" : "sorted rows"));
    index_kernel *k = (index_kernel *)base;
    const hwb_shape *table = gather ? &desc->in[0].shape : &desc->out[0].shape;
    base->run = gather ? gather_run : scatter_run;
    base->free = index_free;
    k->op = desc->op;
    k->dtype = desc->in[0].dtype;
    k->index_dtype = desc->in[1].dtype;
    k->size = hwb_dtype_size(k->dtype);
    k->axis = desc->attrs.axis;
    k->outer = k->width = 1;
    for (int d = 0; d < k->axis; d++) k->outer *= table->dim[d];
    for (int d = k->axis + 1; d < table->ndim; d++) k->width *= table->dim[d];
    k->rows = table->dim[k->axis];
    k->picks = hwb_shape_numel(&desc->in[1].shape);
    k->parallel = base->threads > 1 && hwb_shape_numel(&desc->out[0].shape) >= HWB_CPU_SERIAL;
    if (!gather) {
        size_t bytes = (size_t)(k->rows + 1 + k->picks) * sizeof(int64_t);
        hwb_status status = hwb__cpu_reserve(ctx, state, bytes);
        if (status != HWB_OK) {
            index_free(base);
            return status;
        }
    }
    *out = base;
    return HWB_OK;
}

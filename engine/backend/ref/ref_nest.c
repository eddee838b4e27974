/*
 * ref_nest.c: walks over several strided operands at once; see ref_i.h.
 */
#include "backend/ref/ref_i.h"

void hwb__ref_strides(const hwb_shape *shape, hwb__ref_stride out) {
    int64_t s = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        out[i] = shape->dim[i] == 1 ? 0 : s;
        s *= shape->dim[i];
    }
}

/* Axis a of the nest continues into axis i of `stride` for every operand. */
static bool joins(const hwb__ref_nest *nest, int a, const hwb__ref_stride *stride, int i,
                  int64_t dim) {
    for (int j = 0; j < nest->n_op; j++)
        if (nest->stride[j][a] != stride[j][i] * dim) return false;
    return true;
}

void hwb__ref_nest_make(hwb__ref_nest *nest, const hwb_shape *space, int n_op,
                        const hwb__ref_stride *stride, int64_t chunk) {
    int n = 0; /* axes so far */
    nest->n_op = n_op;
    for (int i = 0; i < space->ndim; i++) {
        int64_t d = space->dim[i];
        if (d == 1) continue;
        bool join = n > 0 && joins(nest, n - 1, stride, i, d);
        if (!join) nest->dim[n++] = 1;
        nest->dim[n - 1] *= d;
        for (int j = 0; j < n_op; j++) nest->stride[j][n - 1] = stride[j][i];
    }
    if (n == 0) {
        nest->dim[n++] = 1;
        for (int j = 0; j < n_op; j++) nest->stride[j][0] = 0;
    }
    nest->ndim = n;
    nest->len = nest->dim[n - 1];
    nest->chunk = chunk;
    nest->chunks = (nest->len + chunk - 1) / chunk;
    nest->rows = nest->chunks;
    for (int i = 0; i < n - 1; i++) nest->rows *= nest->dim[i];
    for (int j = 0; j < n_op; j++) nest->step[j] = nest->stride[j][n - 1];
}

int64_t hwb__ref_nest_seek(const hwb__ref_nest *nest, int64_t row, int64_t *offset) {
    int64_t start = row % nest->chunks * nest->chunk, outer = row / nest->chunks;
    for (int j = 0; j < nest->n_op; j++) offset[j] = start * nest->step[j];
    for (int i = nest->ndim - 2; i >= 0; i--) {
        int64_t at = outer % nest->dim[i];
        outer /= nest->dim[i];
        for (int j = 0; j < nest->n_op; j++) offset[j] += at * nest->stride[j][i];
    }
    return nest->len - start < nest->chunk ? nest->len - start : nest->chunk;
}

/*
 * nest.c: the loop nest under every strided walk.
 *
 * A pair of strided arrays of one shape becomes the shortest list of loops
 * that visits the same element pairs: an axis of length 1 is no loop, and axes
 * i, i+1 with stride[i] = stride[i+1] * dim[i+1] in both arrays are one loop.
 */
#include "tensor/tensor_i.h"

/* Join neighbours that step as one and count the rows. */
static void nest_join(hwb__nest *nest) {
    int n = 0;
    for (int i = 1; i < nest->ndim; i++) {
        int64_t d = nest->dim[i];
        if (nest->a[n] == nest->a[i] * d && nest->b[n] == nest->b[i] * d) {
            nest->dim[n] *= d;
        } else {
            n++;
            nest->dim[n] = d;
        }
        nest->a[n] = nest->a[i];
        nest->b[n] = nest->b[i];
    }
    nest->ndim = n + 1;
    nest->rows = 1;
    for (int i = 0; i < n; i++) nest->rows *= nest->dim[i];
}

hwb__nest hwb__nest_make(const hwb_shape *shape, const int64_t *a, const int64_t *b) {
    hwb__nest nest = {0};
    for (int i = 0; i < shape->ndim; i++) {
        if (shape->dim[i] == 1) continue;
        nest.dim[nest.ndim] = shape->dim[i];
        nest.a[nest.ndim] = a[i];
        nest.b[nest.ndim++] = b[i];
    }
    if (nest.ndim == 0) {
        nest.ndim = 1;
        nest.dim[0] = nest.a[0] = nest.b[0] = 1;
    }
    nest_join(&nest);
    return nest;
}

void hwb__nest_sort(hwb__nest *nest) {
    for (int i = 1; i < nest->ndim; i++) { /* insertion sort: stable, tiny */
        int64_t dim = nest->dim[i], a = nest->a[i], b = nest->b[i];
        int j = i;
        for (; j > 0 && nest->a[j - 1] < a; j--) {
            nest->dim[j] = nest->dim[j - 1];
            nest->a[j] = nest->a[j - 1];
            nest->b[j] = nest->b[j - 1];
        }
        nest->dim[j] = dim;
        nest->a[j] = a;
        nest->b[j] = b;
    }
    nest_join(nest);
}

void hwb__nest_seek(const hwb__nest *nest, int64_t row, int64_t *a, int64_t *b) {
    int64_t at_a = 0, at_b = 0;
    for (int i = nest->ndim - 2; i >= 0; i--) {
        int64_t index = row % nest->dim[i];
        row /= nest->dim[i];
        at_a += index * nest->a[i];
        at_b += index * nest->b[i];
    }
    *a = at_a;
    *b = at_b;
}

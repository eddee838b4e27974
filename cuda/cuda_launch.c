/*
 * cuda_launch.c: grids, strides and walks: the arithmetic around a launch, which
 * needs no device.
 */
#include "cuda_i.h"

#include <string.h>

enum { MAX_GRID_Y = 65535 };

hwb__cuda_grid hwb__cuda_grid_for(int64_t n, int sms) {
    int64_t blocks = n / HWB__CUDA_BLOCK + (n % HWB__CUDA_BLOCK != 0);
    int64_t most = (int64_t)(sms > 0 ? sms : 1) * HWB__CUDA_WAVES;
    if (blocks > most) blocks = most;
    return (hwb__cuda_grid){blocks > 0 ? (unsigned)blocks : 1, 1};
}

hwb_status hwb__cuda_launch(hwb_ctx *ctx, hwb__cuda *s, cudaKernel_t f, hwb__cuda_grid grid,
                            const void *params) {
    if (grid.x == 0 || grid.x > INT32_MAX || grid.y == 0 || grid.y > MAX_GRID_Y)
        return hwb__cuda_fail(ctx, HWB_EINTERNAL, "cuda: a grid of %u x %u blocks", grid.x, grid.y);
    void *args[] = {(void *)(uintptr_t)params};
    dim3 g = {grid.x, grid.y, 1}, b = {HWB__CUDA_BLOCK, 1, 1};
    HWB_CUDA_TRY(ctx, cudaLaunchKernel((const void *)f, g, b, args, 0, s->stream));
    return HWB_OK;
}

/* ---- shapes ---------------------------------------------------------------------- */

int64_t hwb__cuda_numel(const hwb_shape *s) {
    int64_t n = 1;
    for (int i = 0; i < s->ndim; i++) n *= s->dim[i];
    return n;
}

size_t hwb__cuda_size(hwb_dtype dtype) {
    static const uint8_t bytes[HWB_DTYPE_COUNT] = {
#define XX(name, ctype, size, text) [HWB_##name] = size,
        HWB_DTYPE_MAP(XX)
#undef XX
    };
    return bytes[dtype];
}

bool hwb__cuda_is_float(hwb_dtype dtype) {
    return dtype == HWB_F32 || dtype == HWB_F64;
}

size_t hwb__cuda_bytes(const hwb_vdesc *v) {
    return (size_t)hwb__cuda_numel(&v->shape) * hwb__cuda_size(v->dtype);
}

const char *hwb__cuda_type(hwb_dtype dtype) {
    static const char *const names[HWB_DTYPE_COUNT] = {"float", "double", "int", "i64", "u8", "u8"};
    return names[dtype];
}

/* The margin leaves room for one stride of a grid beyond the last element. */
bool hwb__cuda_narrow(int n, const hwb_vdesc *const *v) {
    for (int i = 0; i < n; i++)
        if (hwb__cuda_numel(&v[i]->shape) > INT32_MAX - (1 << 26)) return false;
    return true;
}

void hwb__cuda_strides(const hwb_shape *shape, hwb__cuda_stride out) {
    int64_t s = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        out[i] = shape->dim[i] == 1 ? 0 : s;
        s *= shape->dim[i];
    }
}

static bool joins(const hwb__cuda_walk *w, const hwb__cuda_stride *stride, int i, int64_t dim) {
    for (int j = 0; j < w->n_op; j++)
        if (w->stride[j][w->ndim - 1] != stride[j][i] * dim) return false;
    return true;
}

void hwb__cuda_walk_make(hwb__cuda_walk *w, const hwb_shape *space, int n_op,
                         const hwb__cuda_stride *stride, const int *tag) {
    memset(w, 0, sizeof(*w));
    w->n_op = n_op;
    for (int i = 0; i < space->ndim; i++) {
        int64_t d = space->dim[i];
        int t = tag ? tag[i] : 0;
        if (d == 1) continue;
        if (w->ndim == 0 || w->tag[w->ndim - 1] != t || !joins(w, stride, i, d)) {
            w->tag[w->ndim] = t;
            w->dim[w->ndim++] = 1;
        }
        w->dim[w->ndim - 1] *= d;
        for (int j = 0; j < n_op; j++) w->stride[j][w->ndim - 1] = stride[j][i];
    }
}

bool hwb__cuda_walk_steps(const hwb__cuda_walk *w, int operand) {
    return w->ndim > 0 && w->stride[operand][w->ndim - 1] != 0;
}

void hwb__cuda_walk_pack(hwb__cuda_walk *w, int v) {
    const int last = w->ndim - 1;
    if (v == 1) return;
    w->dim[last] /= v;
    for (int j = 0; j < w->n_op; j++) w->stride[j][last] *= v;
}

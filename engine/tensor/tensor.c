/*
 * tensor.c: life of tensors and storages, and the facts about them.
 *
 *      hwb_tensor (view) ──┐
 *      hwb_tensor (view) ──┴──> storage ──> bytes of hwb_alloc, or wrapped memory
 *
 * Both counts are atomic.  The small structs are plain malloc; the bytes are
 * counted by the context's memory account.
 */
#include "tensor/tensor_i.h"

#include <pthread.h>
#include <stdlib.h>
#include <string.h>

/* ---- storage ------------------------------------------------------------------ */

/* Takes `user` (to be given to free_fn) also when it fails. */
static hwb__storage *storage_new(hwb_ctx *ctx, void *data, void (*free_fn)(void *), void *user) {
    hwb__storage *s = malloc(sizeof *s);
    if (!s) {
        hwb_fail(ctx, HWB_ENOMEM, "out of memory for a tensor's storage");
        if (free_fn) free_fn(user);
        return NULL;
    }
    atomic_init(&s->refs, 1);
    atomic_init(&s->version, 0);
    atomic_init(&s->away, false);
    s->data = data;
    s->free_fn = free_fn;
    s->user = user;
    return s;
}

static void storage_release(hwb__storage *s) {
    if (atomic_fetch_sub_explicit(&s->refs, 1, memory_order_acq_rel) != 1) return;
    if (s->free_fn) s->free_fn(s->user);
    free(s);
}

/* ---- tensors --------------------------------------------------------------------- */

static bool is_dense(const hwb_shape *shape, const int64_t *strides, int64_t numel) {
    if (numel == 0) return true;
    int64_t step = 1;
    for (int i = shape->ndim - 1; i >= 0; i--) {
        if (shape->dim[i] != 1 && strides[i] != step) return false;
        step *= shape->dim[i];
    }
    return true;
}

/* Takes one ref of `storage`, also when it fails. */
static hwb_status view_new(hwb_ctx *ctx, hwb_tensor **out, hwb__storage *storage, char *data,
                           hwb_dtype dtype, const hwb_shape *shape, const int64_t *strides) {
    hwb_tensor *t = calloc(1, sizeof *t);
    if (!t) {
        storage_release(storage);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a tensor");
    }
    atomic_init(&t->refs, 1);
    t->storage = storage;
    t->data = data;
    t->dtype = dtype;
    t->shape = *shape;
    t->numel = hwb_shape_numel(shape);
    memcpy(t->strides, strides, sizeof t->strides);
    t->contiguous = is_dense(shape, strides, t->numel);
    *out = t;
    return HWB_OK;
}

hwb_status hwb__tensor_view(hwb_ctx *ctx, hwb_tensor **out, const hwb_tensor *t, char *data,
                            const hwb_shape *shape, const int64_t strides[HWB_MAX_DIMS]) {
    atomic_fetch_add_explicit(&t->storage->refs, 1, memory_order_relaxed);
    return view_new(ctx, out, t->storage, data, t->dtype, shape, strides);
}

hwb_status hwb_tensor_wrap(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape,
                           void *data, void (*free_fn)(void *), void *user) {
    hwb_status status = hwb_shape_check(ctx, &shape);
    if (status == HWB_OK && (unsigned)dtype >= HWB_DTYPE_COUNT)
        status = hwb_fail(ctx, HWB_EDTYPE, "dtype number %d does not exist", (int)dtype);
    if (status != HWB_OK) {
        if (free_fn) free_fn(user);
        return status;
    }
    hwb__storage *storage = storage_new(ctx, data, free_fn, user);
    if (!storage) return HWB_ENOMEM;
    int64_t strides[HWB_MAX_DIMS] = {0};
    hwb__dense_strides(&shape, strides);
    return view_new(ctx, out, storage, data, dtype, &shape, strides);
}

hwb_status hwb_tensor_new(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape) {
    HWB_TRY(hwb_shape_check(ctx, &shape));
    if ((unsigned)dtype >= HWB_DTYPE_COUNT)
        return hwb_fail(ctx, HWB_EDTYPE, "dtype number %d does not exist", (int)dtype);
    size_t bytes = (size_t)hwb_shape_numel(&shape) * hwb_dtype_size(dtype);
    void *data = hwb_alloc(ctx, bytes);
    if (!data) {
        char text[HWB_SHAPE_TEXT];
        return hwb_fail_in(ctx, HWB_ENOMEM, "tensor %s %s", hwb_shape_text(&shape, text),
                           hwb_dtype_name(dtype));
    }
    return hwb_tensor_wrap(ctx, out, dtype, shape, data, hwb_free, data);
}

hwb_status hwb_tensor_zeros(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape) {
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &t, dtype, shape));
    memset(t->data, 0, hwb_tensor_bytes(t));
    *out = t;
    return HWB_OK;
}

hwb_status hwb_tensor_from(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, hwb_shape shape,
                           const void *data) {
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &t, dtype, shape));
    if (t->numel > 0) memcpy(t->data, data, hwb_tensor_bytes(t));
    *out = t;
    return HWB_OK;
}

hwb_status hwb_tensor_scalar(hwb_ctx *ctx, hwb_tensor **out, hwb_dtype dtype, double value) {
    hwb_tensor *t = NULL;
    HWB_TRY(hwb_tensor_new(ctx, &t, dtype, (hwb_shape){0}));
    hwb__converter(dtype, HWB_F64)(t->data, 1, &value, 1, 1);
    *out = t;
    return HWB_OK;
}

hwb_tensor *hwb_tensor_retain(hwb_tensor *t) {
    atomic_fetch_add_explicit(&t->refs, 1, memory_order_relaxed);
    return t;
}

void hwb_tensor_release(hwb_tensor *t) {
    if (!t || atomic_fetch_sub_explicit(&t->refs, 1, memory_order_acq_rel) != 1) return;
    storage_release(t->storage);
    free(t);
}

/* ---- facts -------------------------------------------------------------------------- */

hwb_dtype hwb_tensor_dtype(const hwb_tensor *t) {
    return t->dtype;
}

const hwb_shape *hwb_tensor_shape(const hwb_tensor *t) {
    return &t->shape;
}

const int64_t *hwb_tensor_strides(const hwb_tensor *t) {
    return t->strides;
}

int64_t hwb_tensor_numel(const hwb_tensor *t) {
    return t->numel;
}

bool hwb_tensor_is_contiguous(const hwb_tensor *t) {
    return t->contiguous;
}

/* Threads of one loop may ask together: one of them fetches. */
static void fetch_home(hwb__storage *s) {
    static pthread_mutex_t one = PTHREAD_MUTEX_INITIALIZER;
    pthread_mutex_lock(&one);
    if (atomic_load_explicit(&s->away, memory_order_acquire)) {
        s->fetch(s->fetch_user);
        atomic_store_explicit(&s->away, false, memory_order_release);
    }
    pthread_mutex_unlock(&one);
}

void *hwb_tensor_data(const hwb_tensor *t) {
    if (atomic_load_explicit(&t->storage->away, memory_order_acquire)) fetch_home(t->storage);
    return t->data;
}

void *hwb__tensor_address(const hwb_tensor *t) {
    return t->data;
}

void hwb__tensor_send_away(hwb_tensor *t, void (*fetch)(void *user), void *user) {
    t->storage->fetch = fetch;
    t->storage->fetch_user = user;
    atomic_store_explicit(&t->storage->away, true, memory_order_release);
}

void *hwb__tensor_keeper(const hwb_tensor *t) {
    const hwb__storage *s = t->storage;
    return atomic_load_explicit(&s->away, memory_order_acquire) ? s->fetch_user : NULL;
}

void hwb__tensor_at_home(hwb_tensor *t) {
    atomic_store_explicit(&t->storage->away, false, memory_order_release);
}

size_t hwb_tensor_bytes(const hwb_tensor *t) {
    return (size_t)t->numel * hwb_dtype_size(t->dtype);
}

const void *hwb_tensor_storage_id(const hwb_tensor *t) {
    return t->storage;
}

uint64_t hwb_tensor_version(const hwb_tensor *t) {
    return atomic_load_explicit(&t->storage->version, memory_order_acquire);
}

void hwb_tensor_touch(hwb_tensor *t) {
    atomic_fetch_add_explicit(&t->storage->version, 1, memory_order_release);
}

hwb_status hwb__tensor_writable(hwb_ctx *ctx, const hwb_tensor *t) {
    for (int i = 0; i < t->shape.ndim; i++)
        if (t->strides[i] == 0 && t->shape.dim[i] > 1) {
            char text[HWB_SHAPE_TEXT];
            return hwb_fail(ctx, HWB_EARG,
                            "a broadcast view (%s) cannot be written to; make it contiguous first",
                            hwb_shape_text(&t->shape, text));
        }
    return HWB_OK;
}

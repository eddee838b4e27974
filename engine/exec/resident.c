/*
 * resident.c: tensors on a device with its own memory.
 *
 * Parameters and constants are read by many programs (one a block, one a batch
 * shape); their device copies are kept in a table of the context, one a tensor, and
 * written again when the tensor's version has changed.  A copy lives as long as a
 * program holds it; it retains its tensor, so that an address never names two.  When a
 * trainer has written the copy, the tensor is away (tensor/away_i.h): it is fetched when
 * somebody looks at it, or at last when the copy goes.
 *
 * Data and tangents change from run to run: each program has a buffer of its own
 * for them, whose address stays the same, as recorded stages demand (replay.c).
 */
#include "exec/exec_i.h"
#include "tensor/away_i.h"

#include <math.h>
#include <stdlib.h>

struct hwb__resident {
    hwb_ctx *owner; /* whose table it is in */
    hwb_device *device;
    hwb_tensor *tensor; /* retained; dense */
    void *data;
    uint64_t version;
    int refs;
    struct hwb__resident *next;
};

enum { BUCKETS = 256 };
typedef struct resident_table {
    hwb__resident *bucket[BUCKETS];
} resident_table;

static hwb__resident **bucket_of(resident_table *t, const hwb_tensor *x) {
    return &t->bucket[((uintptr_t)hwb__tensor_address(x) >> 6) % BUCKETS];
}

static hwb_status table_of(hwb_ctx *ctx, resident_table **out) {
    resident_table *t = hwb_ctx_slot(ctx, HWB_SLOT_RESIDENT);
    if (!t) {
        if (!(t = calloc(1, sizeof *t))) return hwb_fail(ctx, HWB_ENOMEM, "out of memory");
        hwb_ctx_set_slot(ctx, HWB_SLOT_RESIDENT, t, free);
    }
    *out = t;
    return HWB_OK;
}

static hwb_status put(hwb_ctx *ctx, hwb_device *d, void *data, const hwb_tensor *t) {
    return d->backend->mem_put(ctx, d->state, data, hwb_tensor_data(t), hwb_tensor_bytes(t));
}

static hwb_status make(hwb_ctx *ctx, hwb_device *d, hwb_tensor *t, hwb__resident **out) {
    hwb__resident *r = calloc(1, sizeof *r);
    if (!r) return hwb_fail(ctx, HWB_ENOMEM, "out of memory");
    r->data = d->backend->mem_alloc(ctx, d->state, hwb_tensor_bytes(t));
    if (!r->data) {
        free(r);
        return HWB_ENOMEM;
    }
    r->owner = ctx;
    r->device = d;
    r->tensor = hwb_tensor_retain(t);
    *out = r;
    return HWB_OK;
}

static bool holds(const hwb__resident *r, const hwb_device *d, const hwb_tensor *t) {
    return r->device == d && hwb__tensor_address(r->tensor) == hwb__tensor_address(t) &&
           hwb_tensor_bytes(r->tensor) == hwb_tensor_bytes(t);
}

hwb_status hwb__resident_get(hwb_ctx *ctx, hwb_device *d, hwb_tensor *t, hwb__resident **out) {
    resident_table *table = NULL;
    hwb__resident *r;
    HWB_TRY(table_of(ctx, &table));
    hwb__resident **bucket = bucket_of(table, t);
    for (r = *bucket; r && !holds(r, d, t); r = r->next) {
    }
    if (!r) {
        HWB_TRY(make(ctx, d, t, &r));
        r->next = *bucket;
        *bucket = r;
    }
    r->refs++;
    if (r->version != hwb_tensor_version(t) + 1) { /* 0: never written */
        hwb_status st = put(ctx, d, r->data, t);
        if (st != HWB_OK) {
            hwb__resident_release(r);
            return st;
        }
        r->version = hwb_tensor_version(t) + 1;
    }
    *out = r;
    return HWB_OK;
}

void *hwb__resident_data(const hwb__resident *r) {
    return r->data;
}

/* ---- copies newer than their tensors ------------------------------------------------ */

hwb_status hwb__resident_fetch(hwb__resident *r) {
    hwb_tensor *t = r->tensor;
    if (hwb__tensor_keeper(t) != r) return HWB_OK;
    HWB_TRY(r->device->backend->mem_get(r->owner, r->device->state, hwb__tensor_address(t), r->data,
                                        hwb_tensor_bytes(t)));
    hwb__tensor_at_home(t);
    return HWB_OK;
}

/* For a reader who can't be told of failures: no number rather than an old one. */
static void fetch(void *user) {
    hwb__resident *r = user;
    if (hwb__resident_fetch(r) == HWB_OK) return;
    hwb__tensor_at_home(r->tensor);
    hwb_tensor_fill(r->owner, r->tensor, NAN);
}

void hwb__resident_written(hwb__resident *r) {
    hwb_tensor_touch(r->tensor);
    r->version = hwb_tensor_version(r->tensor) + 1;
    hwb__tensor_send_away(r->tensor, fetch, r);
}

void hwb__resident_release(hwb__resident *r) {
    if (!r || --r->refs > 0) return;
    if (hwb__tensor_keeper(r->tensor) == r) fetch(r);
    hwb__resident **at = bucket_of(hwb_ctx_slot(r->owner, HWB_SLOT_RESIDENT), r->tensor);
    while (*at != r) at = &(*at)->next;
    *at = r->next;
    r->device->backend->mem_free(r->device->state, r->data);
    hwb_tensor_release(r->tensor);
    free(r);
}

/* ---- feeds ---------------------------------------------------------------------- */

static hwb_status feed_resident(hwb_ctx *ctx, hwb_program *p, hwb__feed *f) {
    hwb__resident *r = NULL;
    HWB_TRY(hwb__resident_get(ctx, p->device, f->dense, &r));
    hwb__resident_release(f->resident);
    if (f->device_data != r->data) hwb__drop_captures(p);
    f->resident = r;
    f->device_data = r->data;
    return HWB_OK;
}

/* A buffer of the feed's own. */
static hwb_status own_buffer(hwb_ctx *ctx, hwb_program *p, hwb__feed *f, size_t bytes) {
    if (f->device_data) return HWB_OK;
    f->device_data = p->device->backend->mem_alloc(ctx, p->device->state, bytes);
    return f->device_data ? HWB_OK : hwb_fail_in(ctx, HWB_ENOMEM, "\"%s\"", f->name);
}

hwb_status hwb__feed_upload(hwb_ctx *ctx, hwb_program *p, hwb__feed *f) {
    if (f->role <= HWB_ROLE_PARAM) return feed_resident(ctx, p, f);
    HWB_TRY(own_buffer(ctx, p, f, hwb_tensor_bytes(f->dense)));
    return put(ctx, p->device, f->device_data, f->dense);
}

hwb_status hwb__feed_copy(hwb_ctx *ctx, hwb_program *p, hwb__feed *f, const void *from,
                          size_t bytes) {
    HWB_TRY(own_buffer(ctx, p, f, bytes));
    HWB_TRY(p->device->backend->mem_copy(ctx, p->device->state, f->device_data, from, bytes));
    f->there = f->fresh = true;
    return HWB_OK;
}

/* The next run feeds it again. */
void hwb__feed_drop_device(hwb_program *p, hwb__feed *f) {
    if (!f->device_data) return;
    if (f->resident) hwb__resident_release(f->resident);
    else p->device->backend->mem_free(p->device->state, f->device_data);
    f->resident = NULL;
    f->device_data = NULL;
    f->there = false;
    hwb_tensor_release(f->dense);
    f->dense = NULL;
}

/*
 * infer_pool.c: pooling.  Average pooling and its transpose; maximum pooling as
 * an index (which pixel of its plane each window picks, h*W + w) and the gather
 * and scatter by that index.
 */
#include "graph/infer_i.h"
#include "graph/image_i.h"

static hwb_status read_image(hwb__infer *f, const hwb_shape *s, hwb__image *im) {
    if (hwb__image_read(s, f->attrs->channels_last, im)) return HWB_OK;
    char t[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: %s must be %s", f->name, hwb_shape_text(s, t),
                    f->attrs->channels_last ? "[K,]N,H,W,C" : "[K,]N,C,H,W");
}

static hwb_status pooled(hwb__infer *f, const hwb__image *x, hwb__image *y) {
    const hwb_attrs *at = f->attrs;
    HWB_TRY(hwb__infer_window(f));
    if (at->kernel[0] < 1 || at->kernel[1] < 1)
        return hwb_fail(f->ctx, HWB_EARG, "%s: window %dx%d", f->name, (int)at->kernel[0],
                        (int)at->kernel[1]);
    *y = *x;
    y->h = hwb__window_out(at, 0, x->h, at->kernel[0]);
    y->w = hwb__window_out(at, 1, x->w, at->kernel[1]);
    if (y->h > 0 && y->w > 0) return HWB_OK;
    return hwb_fail(f->ctx, HWB_ESHAPE,
                    "%s: window %dx%d does not fit into image %lldx%lld with padding "
                    "(%d,%d)x(%d,%d)",
                    f->name, (int)at->kernel[0], (int)at->kernel[1], (long long)x->h,
                    (long long)x->w, (int)at->pad_lo[0], (int)at->pad_hi[0], (int)at->pad_lo[1],
                    (int)at->pad_hi[1]);
}

/* A maximum needs at least one pixel: some tap of every window is in the image. */
static hwb_status check_windows(hwb__infer *f, int axis, int64_t in, int64_t out) {
    for (int64_t p = 0; p < out; p++) {
        bool any = false;
        for (int r = 0; r < f->attrs->kernel[axis] && !any; r++) {
            int64_t i = hwb__window_at(f->attrs, axis, p, r);
            any = i >= 0 && i < in;
        }
        if (!any)
            return hwb_fail(f->ctx, HWB_ESHAPE,
                            "%s: window %lld along %s holds padding only (image %lld, window %d)",
                            f->name, (long long)p, axis ? "W" : "H", (long long)in,
                            (int)f->attrs->kernel[axis]);
    }
    return HWB_OK;
}

static hwb_status infer_maxpool(hwb__infer *f) {
    hwb__image x, y;
    HWB_TRY(hwb__infer_float(f, 0));
    HWB_TRY(read_image(f, f->in[0], &x));
    HWB_TRY(pooled(f, &x, &y));
    if (x.has_k) return hwb_fail(f->ctx, HWB_ESHAPE, "%s: the image carries a leading K", f->name);
    if (x.h > INT32_MAX / (x.w > 0 ? x.w : 1))
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: image %lldx%lld is too large for int32 indices",
                        f->name, (long long)x.h, (long long)x.w);
    HWB_TRY(check_windows(f, 0, x.h, y.h));
    HWB_TRY(check_windows(f, 1, x.w, y.w));
    f->shape = hwb__image_shape(&y, f->attrs->channels_last);
    f->dtype = HWB_I32;
    return HWB_OK;
}

static hwb_status infer_avgpool(hwb__infer *f) {
    hwb__image x, y, given;
    HWB_TRY(hwb__infer_float(f, 0));
    if (f->op == HWB_OP_AVGPOOL) {
        HWB_TRY(read_image(f, f->in[0], &x));
        HWB_TRY(pooled(f, &x, &y));
        f->shape = hwb__image_shape(&y, f->attrs->channels_last);
        return HWB_OK;
    }
    HWB_TRY(read_image(f, f->in[0], &given));
    HWB_TRY(read_image(f, &f->attrs->shape, &x));
    HWB_TRY(pooled(f, &x, &y));
    hwb_shape want = hwb__image_shape(&y, f->attrs->channels_last);
    f->shape = f->attrs->shape;
    if (hwb_shape_equal(&want, f->in[0])) return HWB_OK;
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT], c[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: input %s, but pooling %s makes %s", f->name,
                    hwb_shape_text(f->in[0], a), hwb_shape_text(&f->shape, b),
                    hwb_shape_text(&want, c));
}

/* The large image x and the pooled y must agree with the index in all but H, W. */
static hwb_status infer_indexed(hwb__infer *f) {
    const bool gather = f->op == HWB_OP_POOL_GATHER;
    hwb__image x, y, index;
    HWB_TRY(gather ? hwb__infer_number(f, 0) : hwb__infer_float(f, 0));
    HWB_TRY(hwb__infer_index(f, 1));
    HWB_TRY(read_image(f, f->in[1], &index));
    HWB_TRY(read_image(f, gather ? f->in[0] : &f->attrs->shape, &x));
    y = index;
    y.has_k = x.has_k;
    y.k = x.k;
    hwb_shape want = hwb__image_shape(&y, f->attrs->channels_last);
    bool fits = !index.has_k && x.n == index.n && x.c == index.c;
    if (!gather) fits = fits && hwb_shape_equal(&want, f->in[0]);
    if (!fits) {
        char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT], c[HWB_SHAPE_TEXT];
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: input %s and index %s do not fit%s%s", f->name,
                        hwb_shape_text(f->in[0], a), hwb_shape_text(f->in[1], b),
                        gather ? "" : " the result ",
                        gather ? "" : hwb_shape_text(&f->attrs->shape, c));
    }
    f->shape = gather ? want : f->attrs->shape;
    return HWB_OK;
}

hwb_status hwb__infer_pool(hwb__infer *f) {
    f->dtype = f->dt[0];
    switch (f->op) {
    case HWB_OP_MAXPOOL_INDEX: return infer_maxpool(f);
    case HWB_OP_POOL_GATHER:
    case HWB_OP_POOL_SCATTER: return infer_indexed(f);
    default: return infer_avgpool(f);
    }
}

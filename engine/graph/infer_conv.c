/*
 * infer_conv.c: the convolution trio.  All three relate the same triple
 *     x [K,]N,C,H,W    w [K,]O,C/g,h,w    y [K,]N,O,H',W'
 * and compute one from the other two; so they share one check.  Each operand
 * may carry K; the result does when one of them does.
 */
#include "graph/infer_i.h"
#include "graph/image_i.h"

typedef struct triple {
    hwb__image x, w, y;
    char xt[HWB_SHAPE_TEXT], wt[HWB_SHAPE_TEXT], yt[HWB_SHAPE_TEXT];
} triple;

static hwb_status read_operand(hwb__infer *f, const hwb_shape *s, bool weights, const char *what,
                               hwb__image *im, char text[HWB_SHAPE_TEXT]) {
    bool last = f->attrs->channels_last && !weights;
    hwb_shape_text(s, text);
    if (hwb__image_read(s, last, im)) return HWB_OK;
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: %s %s must be %s", f->name, what, text,
                    weights ? "[K,]O,C,h,w"
                    : last  ? "[K,]N,H,W,C"
                            : "[K,]N,C,H,W");
}

/* attrs.shape, the result without K */
static hwb_status read_result(hwb__infer *f, bool weights, hwb__image *im,
                              char text[HWB_SHAPE_TEXT]) {
    HWB_TRY(read_operand(f, &f->attrs->shape, weights, "result", im, text));
    if (im->has_k)
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: result %s must be given without K", f->name, text);
    return HWB_OK;
}

static hwb_status check_channels(hwb__infer *f, const triple *t) {
    int64_t g = f->attrs->groups, wanted;
    if (g < 1) return hwb_fail(f->ctx, HWB_EARG, "%s: %lld groups", f->name, (long long)g);
    if (!hwb_mul_size(t->w.c, g, &wanted) || t->x.c != wanted)
        return hwb_fail(f->ctx, HWB_ESHAPE,
                        "%s: input %s has %lld channels, weight %s wants %lld (groups %lld)",
                        f->name, t->xt, (long long)t->x.c, t->wt, (long long)wanted, (long long)g);
    if (t->w.n % g != 0)
        return hwb_fail(f->ctx, HWB_ESHAPE,
                        "%s: weight %s: %lld output channels do not split into %lld groups",
                        f->name, t->wt, (long long)t->w.n, (long long)g);
    if (t->w.h < 1 || t->w.w < 1)
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: weight %s has an empty window", f->name, t->wt);
    return HWB_OK;
}

/* y of x and w; fails when the window does not fit into the padded image */
static hwb_status output_size(hwb__infer *f, const triple *t, int64_t *h, int64_t *w) {
    const hwb_attrs *at = f->attrs;
    *h = hwb__window_out(at, 0, t->x.h, t->w.h);
    *w = hwb__window_out(at, 1, t->x.w, t->w.w);
    if (*h > 0 && *w > 0) return HWB_OK;
    return hwb_fail(f->ctx, HWB_ESHAPE,
                    "%s: window %lldx%lld (dilation %dx%d) does not fit into image %lldx%lld with "
                    "padding (%d,%d)x(%d,%d)",
                    f->name, (long long)t->w.h, (long long)t->w.w, (int)at->dilation[0],
                    (int)at->dilation[1], (long long)t->x.h, (long long)t->x.w, (int)at->pad_lo[0],
                    (int)at->pad_hi[0], (int)at->pad_lo[1], (int)at->pad_hi[1]);
}

static hwb_status check_k(hwb__infer *f, const hwb__image *a, const hwb__image *b,
                          hwb__image *out) {
    if (a->has_k && b->has_k && a->k != b->k)
        return hwb_fail(f->ctx, HWB_ESHAPE, "%s: leading sizes K %lld and %lld differ", f->name,
                        (long long)a->k, (long long)b->k);
    out->has_k = a->has_k || b->has_k;
    out->k = a->has_k ? a->k : b->k;
    return HWB_OK;
}

/* For the two transposes: y given must be the y that x and w would make. */
static hwb_status check_y(hwb__infer *f, const triple *t) {
    int64_t h, w;
    HWB_TRY(check_channels(f, t));
    HWB_TRY(output_size(f, t, &h, &w));
    if (t->y.n == t->x.n && t->y.c == t->w.n && t->y.h == h && t->y.w == w) return HWB_OK;
    hwb__image want = {.n = t->x.n, .c = t->w.n, .h = h, .w = w};
    hwb_shape s = hwb__image_shape(&want, f->attrs->channels_last);
    char text[HWB_SHAPE_TEXT];
    return hwb_fail(f->ctx, HWB_ESHAPE, "%s: output side %s, but input %s and weight %s make %s",
                    f->name, t->yt, t->xt, t->wt, hwb_shape_text(&s, text));
}

static hwb_status infer_forward(hwb__infer *f, triple *t) {
    HWB_TRY(read_operand(f, f->in[0], false, "input", &t->x, t->xt));
    HWB_TRY(read_operand(f, f->in[1], true, "weight", &t->w, t->wt));
    HWB_TRY(check_channels(f, t));
    HWB_TRY(output_size(f, t, &t->y.h, &t->y.w));
    HWB_TRY(check_k(f, &t->x, &t->w, &t->y));
    t->y.n = t->x.n;
    t->y.c = t->w.n;
    f->shape = hwb__image_shape(&t->y, f->attrs->channels_last);
    return HWB_OK;
}

static hwb_status infer_bwd_data(hwb__infer *f, triple *t) {
    HWB_TRY(read_operand(f, f->in[0], false, "output side", &t->y, t->yt));
    HWB_TRY(read_operand(f, f->in[1], true, "weight", &t->w, t->wt));
    HWB_TRY(read_result(f, false, &t->x, t->xt));
    HWB_TRY(check_y(f, t));
    HWB_TRY(check_k(f, &t->y, &t->w, &t->x));
    f->shape = hwb__image_shape(&t->x, f->attrs->channels_last);
    return HWB_OK;
}

static hwb_status infer_bwd_weights(hwb__infer *f, triple *t) {
    HWB_TRY(read_operand(f, f->in[0], false, "input", &t->x, t->xt));
    HWB_TRY(read_operand(f, f->in[1], false, "output side", &t->y, t->yt));
    HWB_TRY(read_result(f, true, &t->w, t->wt));
    HWB_TRY(check_y(f, t));
    HWB_TRY(check_k(f, &t->x, &t->y, &t->w));
    f->shape = hwb__image_shape(&t->w, false);
    return HWB_OK;
}

hwb_status hwb__infer_conv(hwb__infer *f) {
    triple t;
    HWB_TRY(hwb__infer_float(f, 0));
    HWB_TRY(hwb__infer_same_dtype(f, 0, 1));
    HWB_TRY(hwb__infer_window(f));
    f->dtype = f->dt[0];
    if (f->op == HWB_OP_CONV) return infer_forward(f, &t);
    if (f->op == HWB_OP_CONV_BWD_DATA) return infer_bwd_data(f, &t);
    return infer_bwd_weights(f, &t);
}

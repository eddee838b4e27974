/*
 * ref_conv.c: the convolution trio, each result element by its own sum.  With
 * h = p*stride - pad_lo + r*dilation (w alike from q, s) and c over the input
 * channels of o's group,
 *     y[n,o,p,q] = sum_{c,r,s} x[n,c,h,w] w[o,c,r,s]
 *     x[n,c,h,w] = sum_{o,r,s} y[n,o,p,q] w[o,c,r,s]
 *     w[o,c,r,s] = sum_{n,p,q} x[n,c,h,w] y[n,o,p,q]
 * Any operand may carry a leading K, one product for each k; an operand without
 * it serves all k.  An optional third input is added to the result.
 */
#include "backend/ref/ref_i.h"
#include "graph/image_i.h"

/* The three operands as images (w read as n = O, c = C/g), their data as double;
 * the result's data is not read. */
typedef struct conv {
    const hwb_attrs *at;
    hwb__image x, w, y;
    const double *xd, *wd, *yd;
    int64_t k, o_group; /* K of the result; output channels in a group */
    bool wide;          /* worth several threads */
    hwb_dtype dtype;
    const void *add; /* the third input, or NULL */
    void *out;
} conv;

/* Reads the operands; `px`, `pw` and `py` are what x, w and y are in the kernel:
 * 0, 1 for the inputs, 2 for the result. */
static conv open_conv(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in, void *const *out,
                      int px, int pw, int py) {
    const hwb_kdesc *d = &k->desc;
    const hwb_vdesc *v[3] = {&d->in[0], &d->in[1], &d->out[0]};
    const bool last = d->attrs.channels_last != 0;
    double *scratch = k->scratch;
    const double *data[3] = {NULL, NULL, NULL};
    conv c = {.at = &d->attrs, .dtype = d->out[0].dtype, .out = out[0]};
    for (int i = 0; i < 2; i++) data[i] = hwb__ref_widen(ctx, v[i], in[i], &scratch);
    hwb__image_read(&v[px]->shape, last, &c.x);
    hwb__image_read(&v[pw]->shape, false, &c.w);
    hwb__image_read(&v[py]->shape, last, &c.y);
    c.xd = data[px], c.wd = data[pw], c.yd = data[py];
    c.k = v[2]->shape.ndim == 5 ? v[2]->shape.dim[0] : 1;
    c.o_group = c.w.n / d->attrs.groups;
    c.add = d->n_in > 2 ? in[2] : NULL;
    c.wide = hwb_op_macs(d->op, &d->attrs, &v[0]->shape, &v[1]->shape, &v[2]->shape) >
             HWB__REF_PARALLEL_MIN;
    return c;
}

/* in2 and out may be one buffer: element i is read before it is written. */
static void put(const conv *c, int64_t i, double acc) {
    if (c->add) acc += hwb__ref_load(c->dtype, c->add, i);
    hwb__ref_store(c->dtype, c->out, i, acc);
}

/* The output position whose tap r lies on input row i, if there is one. */
static bool position(const hwb_attrs *at, int axis, int64_t i, int64_t r, int64_t out, int64_t *p) {
    int64_t t = i + at->pad_lo[axis] - r * at->dilation[axis];
    *p = t / at->stride[axis];
    return t >= 0 && t % at->stride[axis] == 0 && *p < out;
}

static double y_element(const conv *c, const double *x, const double *w, int64_t p, int64_t q) {
    double acc = 0;
    for (int64_t i = 0; i < c->w.c; i++)
        for (int64_t r = 0; r < c->w.h; r++) {
            int64_t h = hwb__window_at(c->at, 0, p, r);
            if (h < 0 || h >= c->x.h) continue;
            for (int64_t s = 0; s < c->w.w; s++) {
                int64_t v = hwb__window_at(c->at, 1, q, s);
                if (v < 0 || v >= c->x.w) continue;
                acc += x[i * c->x.sc + h * c->x.sh + v * c->x.sw] *
                       w[i * c->w.sc + r * c->w.sh + s * c->w.sw];
            }
        }
    return acc;
}

hwb_status hwb__ref_conv(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                         void *const *out) {
    const conv c = open_conv(ctx, k, in, out, 0, 1, 2);
#pragma omp parallel for collapse(3) if (c.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < c.k; t++)
        for (int64_t n = 0; n < c.y.n; n++)
            for (int64_t o = 0; o < c.y.c; o++) {
                const double *x =
                    c.xd + t * c.x.sk + n * c.x.sn + o / c.o_group * c.w.c * c.x.sc; /* o's group */
                const double *w = c.wd + t * c.w.sk + o * c.w.sn;
                int64_t y = t * c.y.sk + n * c.y.sn + o * c.y.sc;
                for (int64_t p = 0; p < c.y.h; p++)
                    for (int64_t q = 0; q < c.y.w; q++)
                        put(&c, y + p * c.y.sh + q * c.y.sw, y_element(&c, x, w, p, q));
            }
    return HWB_OK;
}

/* y and w point to the first output channel of the group, w to the input channel */
static double x_element(const conv *c, const double *y, const double *w, int64_t h, int64_t v) {
    double acc = 0;
    for (int64_t o = 0; o < c->o_group; o++)
        for (int64_t r = 0; r < c->w.h; r++) {
            int64_t p, q;
            if (!position(c->at, 0, h, r, c->y.h, &p)) continue;
            for (int64_t s = 0; s < c->w.w; s++) {
                if (!position(c->at, 1, v, s, c->y.w, &q)) continue;
                acc += y[o * c->y.sc + p * c->y.sh + q * c->y.sw] *
                       w[o * c->w.sn + r * c->w.sh + s * c->w.sw];
            }
        }
    return acc;
}

hwb_status hwb__ref_conv_bwd_data(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                  void *const *out) {
    const conv c = open_conv(ctx, k, in, out, 2, 1, 0);
#pragma omp parallel for collapse(3) if (c.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < c.k; t++)
        for (int64_t n = 0; n < c.x.n; n++)
            for (int64_t i = 0; i < c.x.c; i++) {
                int64_t first = i / c.w.c * c.o_group; /* output channel of i's group */
                const double *y = c.yd + t * c.y.sk + n * c.y.sn + first * c.y.sc;
                const double *w = c.wd + t * c.w.sk + first * c.w.sn + i % c.w.c * c.w.sc;
                int64_t x = t * c.x.sk + n * c.x.sn + i * c.x.sc;
                for (int64_t h = 0; h < c.x.h; h++)
                    for (int64_t v = 0; v < c.x.w; v++)
                        put(&c, x + h * c.x.sh + v * c.x.sw, x_element(&c, y, w, h, v));
            }
    return HWB_OK;
}

/* x and y point to the two channels of image 0 */
static double w_element(const conv *c, const double *x, const double *y, int64_t r, int64_t s) {
    double acc = 0;
    for (int64_t n = 0; n < c->x.n; n++)
        for (int64_t p = 0; p < c->y.h; p++) {
            int64_t h = hwb__window_at(c->at, 0, p, r);
            if (h < 0 || h >= c->x.h) continue;
            for (int64_t q = 0; q < c->y.w; q++) {
                int64_t v = hwb__window_at(c->at, 1, q, s);
                if (v < 0 || v >= c->x.w) continue;
                acc += x[n * c->x.sn + h * c->x.sh + v * c->x.sw] *
                       y[n * c->y.sn + p * c->y.sh + q * c->y.sw];
            }
        }
    return acc;
}

hwb_status hwb__ref_conv_bwd_weights(hwb_ctx *ctx, const hwb_kernel *k, const void *const *in,
                                     void *const *out) {
    const conv c = open_conv(ctx, k, in, out, 0, 2, 1);
#pragma omp parallel for collapse(3) if (c.wide) num_threads(hwb_threads(ctx))
    for (int64_t t = 0; t < c.k; t++)
        for (int64_t o = 0; o < c.w.n; o++)
            for (int64_t i = 0; i < c.w.c; i++) {
                int64_t channel = o / c.o_group * c.w.c + i;
                const double *x = c.xd + t * c.x.sk + channel * c.x.sc;
                const double *y = c.yd + t * c.y.sk + o * c.y.sc;
                int64_t w = t * c.w.sk + o * c.w.sn + i * c.w.sc;
                for (int64_t r = 0; r < c.w.h; r++)
                    for (int64_t s = 0; s < c.w.w; s++)
                        put(&c, w + r * c.w.sh + s * c.w.sw, w_element(&c, x, y, r, s));
            }
    return HWB_OK;
}

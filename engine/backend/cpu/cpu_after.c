/*
 * cpu_after.c: a pointwise group behind a convolution (cpu_after_i.h), as a plan of
 * the fused interpreter with axes of its own,
 *
 *     K  N  channel blocks | H W, `rows` a tile | channels of a block
 *
 * which lie in memory as K, N, H W, channel blocks, channels.  An item is a strip.
 */
#include "backend/cpu/cpu_after_i.h"

#include <string.h>

#include "backend/cpu/cpu_fused_i.h"

enum { AXIS_K, AXIS_N, AXIS_BLOCK, AXIS_PIXEL, AXIS_CHANNEL, AXES };

/* An operand with an element for each pixel and channel. */
typedef struct stream {
    bool output;
    int index;
    int64_t size, k_step; /* bytes: of an element; from k to k + 1 */
} stream;

struct hwb__cpu_after {
    fused_kernel plan;
    int own; /* inputs of the convolution */
    int64_t strip, channels;
    size_t scratch_bytes;
    fused_worker *worker;
    const void *in[HWB_FUSED_MAX_IN];
    void *out[HWB_FUSED_MAX_OUT];
    char *scratch;
    int n_streams;
    stream streams[HWB_FUSED_MAX_IN + HWB_FUSED_MAX_OUT];
};

/* ---- prepare --------------------------------------------------------------- */

static int own_inputs(const hwb_kdesc *desc) {
    return desc->n_in - (desc->fused->n_in - 1);
}

/* Operands of the register program: the convolution's result, then the kernel's. */
static void operands(const hwb_kdesc *desc, hwb_vdesc in[HWB_FUSED_MAX_IN]) {
    in[0] = (hwb_vdesc){desc->fused->dtype, desc->fused->space};
    for (int i = 1; i < desc->fused->n_in; i++) in[i] = desc->in[own_inputs(desc) + i - 1];
}

hwb_kdesc hwb__cpu_conv_alone(const hwb_kdesc *desc, hwb_vdesc *result) {
    hwb_kdesc conv = *desc;
    if (!desc->fused || desc->op == HWB_OP_FUSED) return conv;
    *result = (hwb_vdesc){desc->fused->dtype, desc->fused->space};
    conv.n_in = own_inputs(desc);
    conv.n_out = 1;
    conv.out = result;
    conv.fused = NULL;
    return conv;
}

/* Rows and columns of an image are one axis; its pixels are kept or summed whole. */
bool hwb__cpu_after_supports(const hwb_kdesc *desc) {
    const hwb_fused *f = desc->fused;
    hwb_vdesc in[HWB_FUSED_MAX_IN];
    if (desc->op != HWB_OP_CONV && desc->op != HWB_OP_CONV_BWD_DATA) return false;
    if (!f || f->dtype != HWB_F32 || !desc->attrs.channels_last || f->n_in < 1) return false;
    operands(desc, in);
    hwb_kdesc group = {.op = HWB_OP_FUSED,
                       .n_in = f->n_in,
                       .n_out = f->n_out,
                       .in = in,
                       .out = desc->out,
                       .fused = f};
    if (!hwb__cpu_fused_supports(&group)) return false;
    int n = f->space.ndim;
    const int64_t *dim = f->space.dim;
    for (int i = 0; i < f->n_in + f->n_out; i++) {
        const hwb_shape *s = i < f->n_in ? &in[i].shape : &desc->out[i - f->n_in].shape;
        bool h = dim[n - 3] > 1 && s->dim[n - 3] > 1, w = dim[n - 2] > 1 && s->dim[n - 2] > 1;
        if (h != w && dim[n - 3] > 1 && dim[n - 2] > 1) return false;
        if (i >= f->n_in && f->out[i - f->n_in].reduce && (h || w)) return false;
    }
    return true;
}

static int64_t common(int64_t a, int64_t b) {
    return b ? common(b, a % b) : a;
}

static void find_streams(hwb__cpu_after *a, const hwb_vdesc *in, const hwb_kdesc *desc) {
    const fused_kernel *k = &a->plan;
    for (int i = 1; i < k->n_in + k->n_out; i++) {
        bool output = i >= k->n_in;
        int index = output ? i - k->n_in : i;
        const hwb_vdesc *v = output ? &desc->out[index] : &in[index];
        const int64_t *s = output ? k->place : k->in[index].stride;
        if (output && k->out[index].reduce) continue;
        if ((k->dim[AXIS_N] > 1 && !s[AXIS_N]) || !s[AXIS_PIXEL] || !s[AXIS_CHANNEL]) continue;
        int64_t size = (int64_t)hwb_dtype_size(v->dtype);
        a->streams[a->n_streams++] = (stream){output, index, size, s[AXIS_K] * size};
    }
}

/* Channels that are too many for a tile are cut into equal parts, of which a tile has one
 * row; so they need not be copied. */
static int64_t part_of(int64_t channels) {
    for (int64_t n = channels / 64; n > 1; n--)
        if (channels % n == 0 && hwb__fused_rows(channels / n, 2, sizeof(float)) == 1)
            return channels / n;
    return channels;
}

static void plan(hwb__cpu_after *a, const hwb_kdesc *desc, int64_t width) {
    const hwb_fused *f = desc->fused;
    fused_kernel *k = &a->plan;
    hwb_vdesc in[HWB_FUSED_MAX_IN];
    uint32_t pattern[AXES];
    const hwb_shape *s = &f->space;
    int n = s->ndim;
    int64_t c = s->dim[n - 1], block = part_of(width < c ? common(width, c) : c);
    operands(desc, in);
    a->own = own_inputs(desc);
    a->channels = c;
    k->narrow = true;
    k->size = sizeof(float);
    k->nd = AXES;
    k->t = AXIS_PIXEL;
    k->dim[AXIS_K] = n == 5 ? s->dim[0] : 1;
    k->dim[AXIS_N] = s->dim[n - 4];
    k->dim[AXIS_BLOCK] = c / block;
    k->dim[AXIS_PIXEL] = s->dim[n - 3] * s->dim[n - 2];
    k->dim[AXIS_CHANNEL] = block;
    static const int order[AXES] = {AXIS_K, AXIS_N, AXIS_PIXEL, AXIS_BLOCK, AXIS_CHANNEL};
    memcpy(k->order, order, sizeof order);
    int from[AXES] = {0, n - 4, n - 1, s->dim[n - 3] > 1 ? n - 3 : n - 2, n - 1};
    for (int d = 0; d < AXES; d++)
        pattern[d] = d || n == 5 ? hwb__fused_pattern(in, desc->out, f, from[d]) : 0;
    k->inner = block;
    k->rows = hwb__fused_rows(block, a->strip < k->dim[AXIS_PIXEL] ? a->strip : k->dim[AXIS_PIXEL],
                              k->size);
    k->apart = k->dim[AXIS_BLOCK] > 1 && k->rows > 1;
    k->given = true;
    k->given_dense = c % width == 0 || width > c || k->rows == 1;
    k->chunk = 1;
    k->outer = k->n_chunks = k->dim[AXIS_K] * k->dim[AXIS_N] * k->dim[AXIS_BLOCK];
    k->n_blocks = (k->dim[AXIS_PIXEL] + a->strip - 1) / a->strip;
    a->scratch_bytes = hwb__fused_plan(k, in, desc->out, f, pattern);
    find_streams(a, in, desc);
}

hwb_status hwb__cpu_after_new(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_after **out,
                              const hwb_kdesc *desc, int64_t strip, int64_t width, int parts) {
    hwb__cpu_after *a = hwb_calloc(ctx, sizeof *a);
    if (!a) return HWB_ENOMEM;
    a->worker = hwb_calloc(ctx, (size_t)parts * sizeof *a->worker);
    if (!a->worker) {
        hwb_free(a);
        return HWB_ENOMEM;
    }
    a->strip = strip;
    a->plan.base.state = state;
    a->plan.workers = parts;
    plan(a, desc, width);
    *out = a;
    return HWB_OK;
}

void hwb__cpu_after_free(hwb__cpu_after *a) {
    if (!a) return;
    hwb_free(a->worker);
    hwb_free(a);
}

size_t hwb__cpu_after_scratch(const hwb__cpu_after *a) {
    return hwb__cpu_align(a->scratch_bytes);
}

/* ---- run ------------------------------------------------------------------- */

void hwb__cpu_after_begin(hwb__cpu_after *a, const void *const *in, void *const *out,
                          char *scratch) {
    a->scratch = scratch;
    for (int i = 1; i < a->plan.n_in; i++) a->in[i] = in[a->own + i - 1];
    for (int i = 0; i < a->plan.n_out; i++) a->out[i] = out[i];
    for (int i = 0; i < a->plan.workers; i++)
        hwb__fused_start(&a->worker[i], &a->plan, a->in, a->out, scratch, i);
}

/* Rows r0..r1-1 of one image and channel block: whole strips. */
static void run_strips(fused_worker *w, int64_t strip, int64_t outer, int64_t r0, int64_t r1) {
    const fused_kernel *k = w->k;
    for (int64_t from = r0; from < r1; from += strip) {
        int64_t end = from + strip < r1 ? from + strip : r1, block = from / strip;
        for (int i = 0; i < k->n_out; i++)
            if (k->out[i].reduce)
                memset(hwb__fused_partial(w, &k->out[i], outer, from, block), 0,
                       (size_t)k->out[i].kept_inner * sizeof(double));
        for (int64_t row = from; row < end; row += k->rows)
            hwb__fused_tile(w, outer, row, row + k->rows < end ? k->rows : end - row, block);
    }
}

void hwb__cpu_after_region(const hwb__cpu_after *a, int part, int64_t p0, int64_t p1, int64_t c0,
                           int64_t c1, const void *values) {
    const fused_kernel *k = &a->plan;
    fused_worker *w = &a->worker[part];
    int64_t pixels = k->dim[AXIS_PIXEL], step = (c1 - c0) * (int64_t)k->size;
    w->values_step = step;
    for (int64_t p = p0, next; p < p1; p = next) { /* image by image */
        int64_t image = p / pixels, row = p % pixels;
        next = (image + 1) * pixels < p1 ? (image + 1) * pixels : p1;
        for (int64_t c = c0; c < c1; c += k->inner) {
            w->values = (const char *)values + (p - p0) * step + (c - c0) * (int64_t)k->size;
            w->values_row = row;
            run_strips(w, a->strip, image * k->dim[AXIS_BLOCK] + c / k->inner, row, row + next - p);
        }
    }
}

/* Portion i of n of some bytes. */
static void bring(const char *at, int64_t bytes, int64_t i, int64_t n) {
    int64_t end = bytes * (i + 1) / n;
    for (int64_t b = bytes * i / n & ~(int64_t)63; b < end; b += 64)
        __builtin_prefetch(at + b, 0, 2);
}

void hwb__cpu_after_bring(const hwb__cpu_after *a, int64_t p0, int64_t p1, int64_t c0, int64_t c1,
                          int64_t i, int64_t n) {
    int64_t images = a->plan.dim[AXIS_N] * a->plan.dim[AXIS_PIXEL], k = p0 / images;
    int64_t rows = p1 - p0, first = rows * i / n, end = rows * (i + 1) / n;
    for (int j = 0; j < a->n_streams; j++) {
        const stream *s = &a->streams[j];
        const char *at = s->output ? a->out[s->index] : a->in[s->index];
        int64_t row = a->channels * s->size, part = (c1 - c0) * s->size;
        at += k * s->k_step + (p0 - k * images) * row + c0 * s->size;
        if (part == row) bring(at, rows * row, i, n);
        else
            for (int64_t r = first; r < end; r++) bring(at + r * row, part, 0, 1);
    }
}

void hwb__cpu_after_end(hwb__cpu_after *a) {
    hwb__fused_finish(&a->plan, a->scratch, a->out);
}

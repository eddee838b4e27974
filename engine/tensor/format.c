/*
 * format.c: a tensor as text that never floods the screen.
 *
 *      tensor 100x4 float32            header: shape and dtype
 *      min -3.1 max 2.9 mean 0.01      above 1000 elements
 *      1e-03 *                         common scale factor, when one helps
 *        1.2345  0.5000 …              at most 6 x 6 of each matrix: the first
 *        …                             and last 3, with an ellipsis between
 *
 * Tensors of more than two dims are shown as matrices under labels such as
 * "(1,2,.,.)", 1-based as the user counts, the first and last 3 of them.
 */
#include "tensor/tensor_i.h"

#include <math.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { EDGE = 3, SHOWN = 2 * EDGE, MATRICES = 4, STATS_ABOVE = 1000 };

/* ---- a growing text ------------------------------------------------------------------ */

typedef struct text {
    char *at;
    size_t size, room;
    bool failed;
} text;

static void text_add(text *out, const char *fmt, ...) HWB_PRINTF(2, 3);

static void text_add(text *out, const char *fmt, ...) {
    char piece[512];
    va_list args;
    va_start(args, fmt);
    int n = vsnprintf(piece, sizeof piece, fmt, args);
    va_end(args);
    if (n < 0 || (size_t)n >= sizeof piece) out->failed = true;
    if (out->failed) return;
    if (out->size + (size_t)n + 1 > out->room) {
        size_t room = 2 * (out->size + (size_t)n + 1);
        char *bigger = realloc(out->at, room);
        if (!bigger) {
            out->failed = true;
            return;
        }
        out->at = bigger;
        out->room = room;
    }
    memcpy(out->at + out->size, piece, (size_t)n + 1);
    out->size += (size_t)n;
}

/* ---- how numbers are shown --------------------------------------------------------------- */

typedef struct style {
    hwb_dtype dtype;
    bool alone;      /* a single element: as many digits as it has */
    bool whole;      /* integers: no decimals */
    bool scientific; /* too wide a range for fixed decimals */
    double scale;    /* shown value = value / scale */
    int width;
} style;

/* k-th shown index of an axis of n: 0,1,2,n-3,n-2,n-1 when n > SHOWN. */
static int64_t shown_count(int64_t n) {
    return n > SHOWN ? SHOWN : n;
}

static int64_t shown_index(int64_t k, int64_t n) {
    return n > SHOWN && k >= EDGE ? n - SHOWN + k : k;
}

/* Element `flat` of t in buf; returns its width. */
static int cell_text(const style *s, const hwb_tensor *t, int64_t flat, char buf[64]) {
    int64_t i = hwb_tensor_get_int(t, flat);
    if (s->dtype == HWB_BOOL) return snprintf(buf, 64, i ? "true" : "false");
    if (!hwb_dtype_is_float(s->dtype)) return snprintf(buf, 64, "%lld", (long long)i);
    double x = hwb_tensor_get(t, flat);
    if (isnan(x)) return snprintf(buf, 64, "nan");
    if (isinf(x)) return snprintf(buf, 64, x > 0 ? "inf" : "-inf");
    if (s->alone) return snprintf(buf, 64, "%.*g", s->dtype == HWB_F32 ? 7 : 14, x);
    if (s->whole) return snprintf(buf, 64, "%.0f", x);
    if (s->scientific) return snprintf(buf, 64, "%.4e", x);
    return snprintf(buf, 64, "%.4f", x / s->scale);
}

/* A walk over the shown elements: every axis is cut to its shown indices. */
typedef struct corner {
    int64_t index[HWB_MAX_DIMS]; /* in shown counts */
} corner;

static bool corner_next(corner *c, const hwb_shape *shape, int axes) {
    for (int i = axes - 1; i >= 0; i--) {
        if (++c->index[i] < shown_count(shape->dim[i])) return true;
        c->index[i] = 0;
    }
    return false;
}

static int64_t corner_flat(const corner *c, const hwb_shape *shape) {
    int64_t flat = 0;
    for (int i = 0; i < shape->ndim; i++)
        flat = flat * shape->dim[i] + shown_index(c->index[i], shape->dim[i]);
    return flat;
}

/* Fixed decimals, a common factor or exponents: whatever loses least. */
static void choose_notation(style *s, const hwb_tensor *t) {
    double low = INFINITY, high = 0; /* of the finite, non-zero magnitudes */
    corner c = {0};
    s->whole = true;
    do {
        double x = fabs(hwb_tensor_get(t, corner_flat(&c, &t->shape)));
        if (!isfinite(x) || x == 0) continue;
        if (x != floor(x)) s->whole = false;
        if (x > high) high = x;
        if (x < low) low = x;
    } while (corner_next(&c, &t->shape, t->shape.ndim));
    if (high >= 1e8) s->whole = false;
    if (s->whole) return;
    bool far_from_1 = high >= 1e5 || high < 1e-2;
    s->scientific = high / low > (far_from_1 ? 1e4 : 1e8) || high < 1e-300;
    if (far_from_1 && !s->scientific) s->scale = pow(10, floor(log10(high)));
}

/* The style that fits all shown elements; t has elements. */
static style choose_style(const hwb_tensor *t) {
    style s = {.dtype = t->dtype, .alone = t->numel == 1, .scale = 1, .width = 1};
    if (hwb_dtype_is_float(t->dtype) && !s.alone) choose_notation(&s, t);
    corner c = {0};
    do {
        char buf[64];
        int n = cell_text(&s, t, corner_flat(&c, &t->shape), buf);
        if (n > s.width) s.width = n;
    } while (corner_next(&c, &t->shape, t->shape.ndim));
    return s;
}

/* ---- parts of the text ---------------------------------------------------------------------- */

static void add_stats(text *out, const hwb_tensor *t) {
    double low = INFINITY, high = -INFINITY, sum = 0, buf[256];
    int64_t nans = 0;
    for (int64_t first = 0; first < t->numel; first += 256) {
        int64_t n = t->numel - first < 256 ? t->numel - first : 256;
        hwb__tensor_read(t, first, n, buf);
        for (int64_t i = 0; i < n; i++) {
            if (isnan(buf[i])) {
                nans++;
                continue;
            }
            if (buf[i] < low) low = buf[i];
            if (buf[i] > high) high = buf[i];
            sum += buf[i];
        }
    }
    if (nans == t->numel) text_add(out, "all nan\n");
    else
        text_add(out, "min %.6g  max %.6g  mean %.6g  nan %lld\n", low, high,
                 sum / (double)(t->numel - nans), (long long)nans);
}

static void add_cell(text *out, const style *s, const hwb_tensor *t, int64_t flat) {
    char buf[64];
    cell_text(s, t, flat, buf);
    text_add(out, "  %*s", s->width, buf);
}

/* The last two axes (or the only one, as a row) from row-major element `base`. */
static void add_matrix(text *out, const style *s, const hwb_tensor *t, int64_t base) {
    int ndim = t->shape.ndim;
    int64_t rows = ndim >= 2 ? t->shape.dim[ndim - 2] : 1;
    int64_t cols = ndim >= 1 ? t->shape.dim[ndim - 1] : 1;
    for (int64_t r = 0; r < shown_count(rows); r++) {
        if (rows > SHOWN && r == EDGE) text_add(out, "  %*s\n", s->width + 2, "…");
        for (int64_t c = 0; c < shown_count(cols); c++) {
            if (cols > SHOWN && c == EDGE) text_add(out, "  …");
            add_cell(out, s, t, base + shown_index(r, rows) * cols + shown_index(c, cols));
        }
        text_add(out, "\n");
    }
}

/* The matrices of a tensor with three dims or more, each under its label; of more than
 * MATRICES the first and the last. */
static void add_matrices(text *out, const style *s, const hwb_tensor *t) {
    int lead = t->shape.ndim - 2;
    int64_t total = 1;
    for (int i = 0; i < lead; i++) total *= t->shape.dim[i];
    int64_t area = t->shape.dim[lead] * t->shape.dim[lead + 1];
    for (int64_t k = 0; k < (total > MATRICES ? 2 : total); k++) {
        int64_t matrix = total > MATRICES && k == 1 ? total - 1 : k, left = matrix,
                index[HWB_MAX_DIMS];
        for (int i = lead - 1; i >= 0; i--) {
            index[i] = left % t->shape.dim[i] + 1;
            left /= t->shape.dim[i];
        }
        if (total > MATRICES && k == 1) text_add(out, "… %lld more …\n", (long long)(total - 2));
        text_add(out, "(");
        for (int i = 0; i < lead; i++) text_add(out, "%lld,", (long long)index[i]);
        text_add(out, ".,.) =\n");
        add_matrix(out, s, t, matrix * area);
    }
}

char *hwb_tensor_format(const hwb_tensor *t) {
    text out = {0};
    char shape[HWB_SHAPE_TEXT];
    text_add(&out, "tensor %s %s\n", hwb_shape_text(&t->shape, shape), hwb_dtype_name(t->dtype));
    if (t->numel > STATS_ABOVE) add_stats(&out, t);
    if (t->numel > 0) {
        style s = choose_style(t);
        if (s.scale != 1) text_add(&out, "%.0e *\n", s.scale);
        if (t->shape.ndim > 2) add_matrices(&out, &s, t);
        else add_matrix(&out, &s, t, 0);
    }
    if (out.failed) {
        free(out.at);
        return NULL;
    }
    out.at[out.size - 1] = '\0'; /* the last line break */
    return out.at;
}

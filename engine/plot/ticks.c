/*
 * Ticks and number text.
 *
 * Linear axes: steps of 1, 2, 2.5 or 5 times a power of ten, as many decimals
 * as the step needs, and a common power of ten outside 1e-3 … 1e5.
 * Log axes: decades, thinned to fit, with minor ticks at 2…9; under 1.6
 * decades also 2 and 5 are labelled, under half a decade the ticks are linear.
 *
 * Numbers are written without printf: the C locale of the host program may use
 * a decimal comma.
 */
#include "plot/plot_i.h"

#include <math.h>
#include <string.h>

enum { MAX_TICKS = 64, LABEL_BYTES = 48 };

void hwb__plot_fixed(char *out, size_t cap, double v, int decimals) {
    char digits[40];
    int n = 0;
    if (decimals > 15) decimals = 15;
    if (!isfinite(v)) v = 0;
    double scaled = round(fabs(v) * pow(10, decimals));
    uint64_t u = scaled < 1.8e19 ? (uint64_t)scaled : UINT64_MAX;
    bool minus = v < 0 && u > 0;
    do {
        digits[n++] = (char)('0' + u % 10);
        u /= 10;
        if (n == decimals) digits[n++] = '.';
    } while (u || n <= decimals || digits[n - 1] == '.');
    size_t at = 0;
    if (minus && cap > 4) {
        memcpy(out, "−", 3);
        at = 3;
    }
    while (n > 0 && at + 1 < cap) out[at++] = digits[--n];
    out[at] = 0;
}

/* Cut "1.500" to "1.5", "2.000" to "2". */
static void trim(char *s) {
    if (!strchr(s, '.')) return;
    size_t n = strlen(s);
    while (s[n - 1] == '0') n--;
    if (s[n - 1] == '.') n--;
    s[n] = 0;
}

static void append(char *out, size_t cap, const char *s) {
    size_t n = strlen(out), m = strlen(s);
    if (n + m < cap) memcpy(out + n, s, m + 1);
}

void hwb__plot_short(char *out, size_t cap, double v, int digits) {
    if (!isfinite(v) || v == 0) {
        const char *s = v == 0 ? "0" : isnan(v) ? "nan" : v > 0 ? "inf" : "−inf";
        out[0] = 0;
        append(out, cap, s);
        return;
    }
    int e = (int)floor(log10(fabs(v)));
    /* Rounding to `digits` may carry into the next decade: 9.996 -> 10.0. */
    if (round(fabs(v) / pow(10, e - digits + 1)) >= pow(10, digits)) e++;
    bool plain = e >= -3 && e <= 5;
    int decimals = digits - 1 - (plain ? e : 0);
    hwb__plot_fixed(out, cap, plain ? v : v / pow(10, e), decimals > 0 ? decimals : 0);
    trim(out);
    if (plain) return;
    char power[16];
    hwb__plot_fixed(power, sizeof power, e, 0);
    append(out, cap, "×10^{");
    append(out, cap, power);
    append(out, cap, "}");
}

double hwb__plot_step(double span, int want) {
    double raw = span / (want > 0 ? want : 1), mag = pow(10, floor(log10(raw)));
    static const double nice[] = {1, 2, 2.5, 5, 10};
    for (int i = 0; i < 5; i++)
        if (nice[i] * mag >= raw * (1 - 1e-9)) return nice[i] * mag;
    return 10 * mag;
}

static int decimals_of(double step) {
    int d = 0;
    while (d < 15 && fabs(step - round(step * pow(10, d)) / pow(10, d)) > 1e-6 * step) d++;
    return d;
}

typedef struct builder {
    hwb_ctx *ctx;
    hwb__plot_arena *a;
    hwb__ticks *t;
    double lo, hi; /* in order */
    hwb_status status;
} builder;

static char *add(builder *b, double at) {
    if (b->t->n == MAX_TICKS || b->status != HWB_OK) return NULL;
    char *label = hwb__plot_get(b->ctx, b->a, LABEL_BYTES);
    if (!label) {
        b->status = HWB_ENOMEM;
        return NULL;
    }
    b->t->at[b->t->n] = at;
    b->t->label[b->t->n++] = label;
    return label;
}

static void add_minor(builder *b, double at) {
    if (at >= b->lo * (1 - 1e-9) && at <= b->hi * (1 + 1e-9) && b->t->minor_n < 10 * MAX_TICKS)
        b->t->minor[b->t->minor_n++] = at;
}

static void linear(builder *b, int want) {
    double span = b->hi - b->lo, step = hwb__plot_step(span, want);
    double slack = 1e-6 * span / step;
    double first = ceil(b->lo / step - slack), last = floor(b->hi / step + slack);
    double most = fmax(fabs(first), fabs(last)) * step;
    int e = 0;
    if (most >= 1e5 || most < 1e-3) e = (int)floor(log10(most) + 1e-9);
    if (!(last - first < MAX_TICKS) || most == 0) e = 0;
    b->t->exponent = e;
    double unit = pow(10, e);
    int decimals = decimals_of(step / unit);
    for (double i = first; i <= last; i++) {
        char *label = add(b, i * step);
        if (!label) return;
        hwb__plot_fixed(label, LABEL_BYTES, i * step / unit, decimals);
    }
}

static void power_label(char *label, int k) {
    char digits[16];
    hwb__plot_fixed(digits, sizeof digits, k, 0);
    label[0] = 0;
    append(label, LABEL_BYTES, "10^{");
    append(label, LABEL_BYTES, digits);
    append(label, LABEL_BYTES, "}");
}

static void decades(builder *b, int want) {
    int k0 = (int)ceil(log10(b->lo) - 1e-6), k1 = (int)floor(log10(b->hi) + 1e-6);
    int count = k1 - k0 + 1, stride = (count + want - 1) / (want > 0 ? want : 1);
    if (stride < 1) stride = 1;
    bool plain = k0 >= -2 && k1 <= 3;
    for (int k = k0 - 1; k <= k1; k++) {
        bool major = ((k % stride) + stride) % stride == 0;
        if (k >= k0 && major) {
            char *label = add(b, pow(10, k));
            if (!label) return;
            if (plain) hwb__plot_short(label, LABEL_BYTES, pow(10, k), 1);
            else power_label(label, k);
        } else if (k >= k0) add_minor(b, pow(10, k));
        if (stride == 1)
            for (int m = 2; m <= 9; m++) add_minor(b, m * pow(10, k));
    }
}

/* Few decades: 1, 2 and 5 of each are labelled. */
static void part_decades(builder *b) {
    int k0 = (int)floor(log10(b->lo) + 1e-9), k1 = (int)floor(log10(b->hi) + 1e-9);
    for (int k = k0; k <= k1; k++) {
        for (int m = 1; m <= 9; m++) {
            double at = m * pow(10, k);
            if (m != 1 && m != 2 && m != 5) {
                add_minor(b, at);
                continue;
            }
            if (at < b->lo * (1 - 1e-9) || at > b->hi * (1 + 1e-9)) continue;
            char *label = add(b, at);
            if (!label) return;
            hwb__plot_short(label, LABEL_BYTES, at, 1);
        }
    }
}

/* User or category ticks inside the range; thinned when there are too many. */
static void given(builder *b, const hwb__axis *axis) {
    hwb__ticks *t = b->t;
    for (int64_t i = 0; i < axis->tick_n; i++) {
        double at = axis->tick_at[i];
        if (!(at >= b->lo && at <= b->hi)) continue;
        t->at[t->n] = at;
        if (axis->tick_label) t->label[t->n] = axis->tick_label[i];
        else {
            char *label = hwb__plot_get(b->ctx, b->a, LABEL_BYTES);
            if (!label) {
                b->status = HWB_ENOMEM;
                return;
            }
            hwb__plot_short(label, LABEL_BYTES, at, 6);
            t->label[t->n] = label;
        }
        t->n++;
    }
}

hwb_status hwb__plot_ticks(hwb_ctx *ctx, hwb__plot_arena *a, hwb__ticks *out,
                           const hwb__scale *range, const hwb__axis *axis, int want) {
    *out = (hwb__ticks){0};
    bool fixed = axis && axis->fixed;
    int64_t cap = fixed ? axis->tick_n : MAX_TICKS;
    out->at = hwb__plot_array(ctx, a, cap, sizeof *out->at);
    out->label = hwb__plot_array(ctx, a, cap, sizeof *out->label);
    out->minor = hwb__plot_array(ctx, a, 10 * MAX_TICKS, sizeof *out->minor);
    if (!out->at || !out->label || !out->minor) return HWB_ENOMEM;
    builder b = {ctx, a, out, fmin(range->lo, range->hi), fmax(range->lo, range->hi), HWB_OK};
    double span = range->log ? log10(b.hi / b.lo) : 0;
    if (fixed) given(&b, axis);
    else if (!range->log || span < 0.5) linear(&b, want);
    else if (span < 1.6 && want >= 3) part_decades(&b);
    else decades(&b, want);
    return b.status;
}

/*
 * fake.c: quantizers written into a graph.
 *
 * Weights are read as [groups, elements of a group].  Scales, quotients and
 * products are taken in float64 and rounded to w's dtype where range.c and
 * quantize.c round, so that the values are those of hwb_quant_apply bit for
 * bit (with one symmetric bit, up to the order of summation in mean|w|), and
 * the codes of a saved model are the ones it computed with.
 *
 *     y = stop(Q(w)) + (w - stop(w))        the second term is 0, its derivative 1
 */
#include "quant/fake.h"

#include "graph/build.h"
#include "graph/compose.h"
#include "quant/quant_i.h"

/* One piece of the weight whose groups all have the same size. */
typedef struct piece {
    hwb_graph *g;
    const hwb_quant_spec *spec;
    hwb_id w;           /* [G, n] */
    hwb_id scale, zero; /* [G, 1] float64 */
} piece;

static hwb_status as_rows(hwb_graph *g, hwb_id *y, hwb_id x, int64_t rows) {
    hwb_shape s = {.ndim = 2, .dim = {rows, -1}};
    return hwb_reshape(g, y, x, s);
}

/* S rounded to w's dtype and read as float64 again */
static hwb_status round_scale(piece *p) {
    HWB_TRY(hwb_cast(p->g, &p->scale, p->scale, hwb_graph_dtype(p->g, p->w)));
    return hwb_cast(p->g, &p->scale, p->scale, HWB_F64);
}

static hwb_status not_below(hwb_graph *g, hwb_id *y, hwb_id x, double least) {
    hwb_id bound;
    HWB_TRY(hwb_scalar(g, &bound, x, least));
    return hwb_maximum(g, y, x, bound);
}

/* Divided, not multiplied by an inverse: range.c divides. */
static hwb_status divided(hwb_graph *g, hwb_id *y, hwb_id x, double by) {
    hwb_id n;
    HWB_TRY(hwb_scalar(g, &n, x, by));
    return hwb_div(g, y, x, n);
}

/* max|w| / (2^(b-1) - 1); one bit: mean|w| */
static hwb_status symmetric_range(piece *p, hwb_id w) {
    hwb_graph *g = p->g;
    double top = p->spec->bits > 1 ? (1 << (p->spec->bits - 1)) - 1 : 1;
    HWB_TRY(hwb_abs(g, &p->scale, w));
    HWB_TRY((p->spec->bits > 1 ? hwb_max : hwb_mean)(g, &p->scale, p->scale, 2, true));
    HWB_TRY(divided(g, &p->scale, p->scale, top));
    HWB_TRY(not_below(g, &p->scale, p->scale, HWB_QUANT_MIN_SCALE));
    return hwb_zeros_like(g, &p->zero, p->scale);
}

/* (max - min) / (2^b - 1) of the range widened to 0, and z = round(-min/S) */
static hwb_status asymmetric_range(piece *p, hwb_id w) {
    hwb_graph *g = p->g;
    hwb_id hi, minus_lo, width;
    HWB_TRY(hwb_max(g, &hi, w, 2, true));
    HWB_TRY(hwb_neg(g, &minus_lo, w));
    HWB_TRY(hwb_max(g, &minus_lo, minus_lo, 2, true));
    HWB_TRY(not_below(g, &hi, hi, 0));
    HWB_TRY(not_below(g, &minus_lo, minus_lo, 0));
    HWB_TRY(hwb_add(g, &width, hi, minus_lo));
    HWB_TRY(divided(g, &p->scale, width, (1 << p->spec->bits) - 1));
    HWB_TRY(not_below(g, &p->scale, p->scale, HWB_QUANT_MIN_SCALE));
    HWB_TRY(hwb_div(g, &p->zero, minus_lo, p->scale));
    return hwb_round(g, &p->zero, p->zero);
}

static hwb_status range_of(piece *p, hwb_id w) {
    if (p->spec->scheme == HWB_QUANT_SYMMETRIC) HWB_TRY(symmetric_range(p, w));
    else HWB_TRY(asymmetric_range(p, w));
    return round_scale(p);
}

/* d where lo - 1/2 <= x <= hi + 1/2, else 0: where x rounds to a code */
static hwb_status where_inside(hwb_graph *g, hwb_id *y, hwb_id d, hwb_id x, hwb_id lo, hwb_id hi) {
    hwb_id nothing, above, below;
    HWB_TRY(hwb_zeros_like(g, &nothing, d));
    HWB_TRY(hwb_add_scalar(g, &lo, lo, -0.5));
    HWB_TRY(hwb_add_scalar(g, &hi, hi, 0.5));
    HWB_TRY(hwb_le(g, &above, lo, x));
    HWB_TRY(hwb_le(g, &below, x, hi));
    HWB_TRY(hwb_where(g, y, above, d, nothing));
    return hwb_where(g, y, below, *y, nothing);
}

/* x = w/S -> r, an integer of lo..hi, or -1 and 1 when there is one symmetric bit */
static hwb_status round_codes(piece *p, hwb_id *r, hwb_id x, hwb_id lo, hwb_id hi) {
    hwb_graph *g = p->g;
    if (p->spec->scheme == HWB_QUANT_SYMMETRIC && p->spec->bits == 1) {
        hwb_id nothing, minus, plus;
        HWB_TRY(hwb_zeros_like(g, &nothing, x));
        HWB_TRY(hwb_scalar(g, &minus, x, -1));
        HWB_TRY(hwb_scalar(g, &plus, x, 1));
        HWB_TRY(hwb_lt(g, r, x, nothing));
        return hwb_where(g, r, *r, minus, plus);
    }
    HWB_TRY(hwb_maximum(g, r, x, lo));
    HWB_TRY(hwb_minimum(g, r, *r, hi));
    return hwb_round(g, r, *r);
}

/* w[G,n] -> Q(w)[G,n] */
static hwb_status quantize(piece *p, hwb_id *y, bool clip) {
    hwb_graph *g = p->g;
    hwb_id w, x, lo, hi, r, d;
    HWB_TRY(hwb_stop_gradient(g, &w, p->w));
    HWB_TRY(hwb_sub(g, &d, p->w, w));
    HWB_TRY(hwb_cast(g, &w, w, HWB_F64));
    if (p->scale == HWB_NONE) HWB_TRY(range_of(p, w));
    HWB_TRY(hwb_div(g, &x, w, p->scale));
    HWB_TRY(hwb_scalar(g, &lo, p->zero, hwb_quant_lowest(p->spec)));
    HWB_TRY(hwb_scalar(g, &hi, p->zero, hwb_quant_highest(p->spec)));
    HWB_TRY(hwb_sub(g, &lo, lo, p->zero));
    HWB_TRY(hwb_sub(g, &hi, hi, p->zero));
    HWB_TRY(round_codes(p, &r, x, lo, hi));
    HWB_TRY(hwb_mul(g, y, r, p->scale));
    HWB_TRY(hwb_cast(g, y, *y, hwb_graph_dtype(g, p->w)));
    if (clip) HWB_TRY(where_inside(g, &d, d, x, lo, hi));
    return hwb_add(g, y, *y, d);
}

/* Groups first .. first+count-1 of the stored scales, [count,1] float64. */
static hwb_status stored(piece *p, hwb_id scale, hwb_id zero, int64_t first, int64_t count) {
    p->scale = p->zero = HWB_NONE;
    if (scale == HWB_NONE) return HWB_OK;
    HWB_TRY(hwb_slice(p->g, &p->scale, scale, 0, first, count, 1));
    HWB_TRY(as_rows(p->g, &p->scale, p->scale, count));
    HWB_TRY(hwb_cast(p->g, &p->scale, p->scale, HWB_F64));
    HWB_TRY(hwb_slice(p->g, &p->zero, zero, 0, first, count, 1));
    HWB_TRY(as_rows(p->g, &p->zero, p->zero, count));
    return hwb_cast(p->g, &p->zero, p->zero, HWB_F64);
}

static hwb_status check(hwb_graph *g, hwb_id w, const hwb_quant_spec *spec, hwb_id scale,
                        hwb_id zero, int64_t groups) {
    hwb_ctx *ctx = hwb_graph_ctx(g);
    HWB_TRY(hwb_quant_check(ctx, spec));
    if (!hwb_dtype_is_float(hwb_graph_dtype(g, w)))
        return hwb_fail(ctx, HWB_EDTYPE, "quantize: needs float32 or float64, not %s",
                        hwb_dtype_name(hwb_graph_dtype(g, w)));
    if ((scale == HWB_NONE) != (zero == HWB_NONE))
        return hwb_fail(ctx, HWB_EARG, "quantize: scales and zero points go together");
    if (scale == HWB_NONE && spec->ranging != HWB_QUANT_MINMAX)
        return hwb_fail(ctx, HWB_EARG, "quantize: only min-max ranges are found in the graph");
    if (scale != HWB_NONE && (hwb_shape_numel(hwb_graph_shape(g, scale)) != groups ||
                              hwb_shape_numel(hwb_graph_shape(g, zero)) != groups))
        return hwb_fail(ctx, HWB_ESHAPE, "quantize: %lld scales for %lld groups",
                        (long long)hwb_shape_numel(hwb_graph_shape(g, scale)), (long long)groups);
    return HWB_OK;
}

hwb_status hwb_fake_weight(hwb_graph *g, hwb_id *y, hwb_id w, const hwb_quant_spec *spec,
                           hwb_id scale, hwb_id zero, bool clip) {
    const hwb_shape shape = *hwb_graph_shape(g, w);
    hwb__groups all = hwb__groups_of(spec, &shape);
    HWB_TRY(check(g, w, spec, scale, zero, all.count));
    hwb_id rows, part[2];
    int parts = 0;
    HWB_TRY(as_rows(g, &rows, w, all.rows));
    int64_t whole = all.rows / all.group_rows, rest = all.rows % all.group_rows;
    for (int k = 0; k < 2; k++) { /* whole groups, then the shorter last one */
        int64_t groups = k == 0 ? whole : rest > 0;
        int64_t n = k == 0 ? whole * all.group_rows : rest;
        piece p = {.g = g, .spec = spec};
        if (groups == 0) continue;
        HWB_TRY(hwb_slice(g, &p.w, rows, 0, k == 0 ? 0 : whole * all.group_rows, n, 1));
        HWB_TRY(as_rows(g, &p.w, p.w, groups));
        HWB_TRY(stored(&p, scale, zero, k == 0 ? 0 : whole, groups));
        HWB_TRY(quantize(&p, &part[parts], clip));
        HWB_TRY(as_rows(g, &part[parts], part[parts], n));
        parts++;
    }
    if (parts == 2) HWB_TRY(hwb_concat(g, &part[0], 2, part, 0));
    return hwb_reshape(g, y, part[0], shape);
}

/* ---- activations ------------------------------------------------------------------- */

/* range[2] -> S and z as scalars of its dtype, as hwb_quant_scale has them */
static hwb_status scale_of_range(hwb_graph *g, hwb_id *scale, hwb_id *zero, hwb_id range, int bits,
                                 hwb_quant_scheme scheme) {
    hwb_shape scalar = {.ndim = 0};
    hwb_dtype dtype = hwb_graph_dtype(g, range);
    hwb_id lo, hi, wide;
    HWB_TRY(hwb_cast(g, &range, range, HWB_F64));
    HWB_TRY(hwb_slice(g, &lo, range, 0, 0, 1, 1));
    HWB_TRY(hwb_slice(g, &hi, range, 0, 1, 1, 1));
    HWB_TRY(hwb_neg(g, &lo, lo));
    if (scheme == HWB_QUANT_SYMMETRIC) {
        double top = (1 << (bits - 1)) - 1;
        HWB_TRY(hwb_abs(g, &lo, lo));
        HWB_TRY(hwb_abs(g, &hi, hi));
        HWB_TRY(hwb_maximum(g, &wide, lo, hi));
        HWB_TRY(divided(g, &wide, wide, top));
    } else {
        HWB_TRY(not_below(g, &lo, lo, 0));
        HWB_TRY(not_below(g, &hi, hi, 0));
        HWB_TRY(hwb_add(g, &wide, lo, hi));
        HWB_TRY(divided(g, &wide, wide, (1 << bits) - 1));
    }
    HWB_TRY(not_below(g, &wide, wide, HWB_QUANT_MIN_SCALE));
    HWB_TRY(hwb_div(g, zero, lo, wide));
    HWB_TRY(hwb_round(g, zero, *zero));
    if (scheme == HWB_QUANT_SYMMETRIC) HWB_TRY(hwb_zeros_like(g, zero, wide));
    HWB_TRY(hwb_cast(g, scale, wide, dtype));
    HWB_TRY(hwb_reshape(g, scale, *scale, scalar));
    HWB_TRY(hwb_cast(g, zero, *zero, dtype));
    return hwb_reshape(g, zero, *zero, scalar);
}

hwb_status hwb_fake_activation(hwb_graph *g, hwb_id *y, hwb_id x, hwb_id range, int bits,
                               hwb_quant_scheme scheme, bool clip) {
    hwb_ctx *ctx = hwb_graph_ctx(g);
    hwb_quant_spec spec = hwb_quant_defaults();
    char text[HWB_SHAPE_TEXT];
    hwb_id scale, zero;
    spec.bits = bits;
    spec.scheme = scheme;
    HWB_TRY(hwb_quant_check(ctx, &spec));
    if (scheme == HWB_QUANT_SYMMETRIC && bits == 1)
        return hwb_fail(ctx, HWB_EARG, "quantize: activations of one bit are asymmetric");
    const hwb_shape *s = hwb_graph_shape(g, range);
    if (s->ndim != 1 || s->dim[0] != 2)
        return hwb_fail(ctx, HWB_ESHAPE, "quantize: the range must be [2], not [%s]",
                        hwb_shape_text(s, text));
    HWB_TRY(scale_of_range(g, &scale, &zero, range, bits, scheme));
    return hwb_fake_quant(g, y, x, scale, zero, hwb_quant_lowest(&spec), hwb_quant_highest(&spec),
                          clip);
}

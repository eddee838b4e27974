/*
 * rules_pointwise.c: pointwise operations y = f(x0, x1, …).
 *
 *     jvp   ẏ   = Σ_i ∂f/∂x_i ẋ_i
 *     vjp   x̄_i = sum over broadcast dims of ∂f/∂x_i ȳ
 *
 * Both need only the partial derivative, which is itself a pointwise
 * expression (of x and y), so the second derivative needs no rule of its own.
 * Piecewise operations have a mask of the primal for a partial derivative.
 */
#include "ad/rules_i.h"

#include <math.h>

/* How a partial derivative acts on a tangent or cotangent t. */
typedef enum {
    ACT_ZERO,
    ACT_ONE,      /*  t        */
    ACT_MINUS,    /* -t        */
    ACT_MUL,      /*  t * e    */
    ACT_DIV,      /*  t / e    */
    ACT_MASK,     /*  where(e, t, 0) */
    ACT_MASK_NOT, /*  where(e, 0, t) */
} act_kind;

typedef struct partial {
    act_kind kind;
    hwb_id e;
} partial;

static hwb_status one_minus(hwb_graph *g, hwb_id *y, hwb_id x) {
    hwb_id one;
    HWB_TRY(hwb_scalar(g, &one, x, 1.0));
    return hwb_sub(g, y, one, x);
}

/* 2/sqrt(pi) exp(-x^2) */
static hwb_status erf_derivative(hwb_graph *g, hwb_id *y, hwb_id x) {
    HWB_TRY(hwb_mul(g, &x, x, x));
    HWB_TRY(hwb_neg(g, &x, x));
    HWB_TRY(hwb_exp(g, &x, x));
    return hwb_mul_scalar(g, y, x, 2.0 / sqrt(M_PI));
}

static hwb_status partial_unary(hwb_graph *g, partial *p, hwb_op op, hwb_id x, hwb_id y) {
    p->kind = ACT_MUL;
    switch (op) {
    case HWB_OP_NEG: p->kind = ACT_MINUS; return HWB_OK;
    case HWB_OP_EXP: p->e = y; return HWB_OK;
    case HWB_OP_LOG:
        p->kind = ACT_DIV;
        p->e = x;
        return HWB_OK;
    case HWB_OP_LOG1P: p->kind = ACT_DIV; return hwb_add_scalar(g, &p->e, x, 1.0);
    case HWB_OP_SQRT: p->kind = ACT_DIV; return hwb_mul_scalar(g, &p->e, y, 2.0);
    case HWB_OP_TANH: HWB_TRY(hwb_mul(g, &p->e, y, y)); return one_minus(g, &p->e, p->e);
    case HWB_OP_SIGMOID: HWB_TRY(one_minus(g, &p->e, y)); return hwb_mul(g, &p->e, p->e, y);
    case HWB_OP_ERF: return erf_derivative(g, &p->e, x);
    case HWB_OP_SIN: return hwb_cos(g, &p->e, x);
    case HWB_OP_COS: HWB_TRY(hwb_sin(g, &p->e, x)); return hwb_neg(g, &p->e, p->e);
    case HWB_OP_ABS: return hwb_sign(g, &p->e, x);
    case HWB_OP_RELU: {
        hwb_id zero;
        p->kind = ACT_MASK;
        HWB_TRY(hwb_scalar(g, &zero, x, 0.0));
        return hwb_lt(g, &p->e, zero, x);
    }
    case HWB_OP_ROUND_ST: p->kind = ACT_ONE; return HWB_OK;
    default: p->kind = ACT_ZERO; return HWB_OK; /* sign, floor, round, stop_gradient */
    }
}

/* a^b: ∂a = b a^(b-1), ∂b = a^b log a */
static hwb_status partial_pow(hwb_graph *g, partial *p, const hwb_id *in, int i, hwb_id y) {
    if (i == 1) {
        HWB_TRY(hwb_log(g, &p->e, in[0]));
        return hwb_mul(g, &p->e, p->e, y);
    }
    HWB_TRY(hwb_add_scalar(g, &p->e, in[1], -1.0));
    HWB_TRY(hwb_pow(g, &p->e, in[0], p->e));
    return hwb_mul(g, &p->e, p->e, in[1]);
}

/* At a tie the first operand takes the derivative. */
static hwb_status partial_binary(hwb_graph *g, partial *p, hwb_op op, const hwb_id *in, int i,
                                 hwb_id y) {
    p->kind = ACT_MUL;
    switch (op) {
    case HWB_OP_ADD: p->kind = ACT_ONE; return HWB_OK;
    case HWB_OP_SUB: p->kind = i ? ACT_MINUS : ACT_ONE; return HWB_OK;
    case HWB_OP_MUL: p->e = in[1 - i]; return HWB_OK;
    case HWB_OP_DIV:
        if (i == 0) {
            p->kind = ACT_DIV;
            p->e = in[1];
            return HWB_OK;
        }
        HWB_TRY(hwb_div(g, &p->e, y, in[1]));
        return hwb_neg(g, &p->e, p->e);
    case HWB_OP_POW: return partial_pow(g, p, in, i, y);
    case HWB_OP_MAXIMUM:
        p->kind = ACT_MASK;
        return i ? hwb_lt(g, &p->e, in[0], in[1]) : hwb_le(g, &p->e, in[1], in[0]);
    case HWB_OP_MINIMUM:
        p->kind = ACT_MASK;
        return i ? hwb_lt(g, &p->e, in[1], in[0]) : hwb_le(g, &p->e, in[0], in[1]);
    default: p->kind = ACT_ZERO; return HWB_OK; /* comparisons */
    }
}

static hwb_status partial_of(hwb_graph *g, partial *p, hwb_id y, int i) {
    const hwb__node *n = hwb__node_at(g, y);
    *p = (partial){ACT_ZERO, HWB_NONE};
    if (n->op == HWB_OP_WHERE) {
        *p = (partial){i == 0 ? ACT_ZERO : i == 1 ? ACT_MASK : ACT_MASK_NOT, n->in[0]};
        return HWB_OK;
    }
    return n->n_in == 1 ? partial_unary(g, p, n->op, n->in[0], y)
                        : partial_binary(g, p, n->op, n->in, i, y);
}

static hwb_status act(hwb_graph *g, hwb_id *out, partial p, hwb_id t) {
    hwb_id zero;
    switch (p.kind) {
    case ACT_ONE: *out = t; return HWB_OK;
    case ACT_MINUS: return hwb_neg(g, out, t);
    case ACT_MUL: return hwb_mul(g, out, t, p.e);
    case ACT_DIV: return hwb_div(g, out, t, p.e);
    case ACT_MASK: HWB_TRY(hwb_scalar(g, &zero, t, 0.0)); return hwb_where(g, out, p.e, t, zero);
    case ACT_MASK_NOT:
        HWB_TRY(hwb_scalar(g, &zero, t, 0.0));
        return hwb_where(g, out, p.e, zero, t);
    default: *out = HWB_NONE; return HWB_OK;
    }
}

hwb_status hwb__vjp_pointwise(hwb_graph *g, hwb_id y, hwb_id cot, const bool *want, hwb_id *grads) {
    int n_in = hwb__node_at(g, y)->n_in;
    for (int i = 0; i < n_in; i++) {
        if (!want[i]) continue;
        partial p;
        HWB_TRY(partial_of(g, &p, y, i));
        HWB_TRY(act(g, &grads[i], p, cot));
        if (grads[i] == HWB_NONE) continue;
        HWB_TRY(hwb__sum_to(g, &grads[i], grads[i], hwb_graph_shape(g, hwb__node_at(g, y)->in[i])));
    }
    return HWB_OK;
}

hwb_status hwb__jvp_pointwise(hwb_graph *g, hwb_id y, const hwb_id *tangents, hwb_id *out) {
    hwb_id total = HWB_NONE;
    int n_in = hwb__node_at(g, y)->n_in;
    for (int i = 0; i < n_in; i++) {
        if (tangents[i] == HWB_NONE) continue;
        partial p;
        hwb_id t;
        HWB_TRY(partial_of(g, &p, y, i));
        HWB_TRY(act(g, &t, p, tangents[i]));
        HWB_TRY(hwb__sum_of(g, &total, total, t));
    }
    if (total != HWB_NONE) HWB_TRY(hwb_broadcast_to(g, &total, total, *hwb_graph_shape(g, y)));
    *out = total;
    return HWB_OK;
}

/*
 * cuda_emit.c: register programs as device code: one declaration an instruction.
 */
#include "cuda_group_i.h"

#include <math.h>

/* A, B, C stand for the operands' registers, @ for the f of float functions. */
static const char *const REAL[HWB_OP_COUNT] = {
    [HWB_OP_NEG] = "-A",
    [HWB_OP_EXP] = "exp@(A)",
    [HWB_OP_LOG] = "log@(A)",
    [HWB_OP_LOG1P] = "log1p@(A)",
    [HWB_OP_SQRT] = "sqrt@(A)",
    [HWB_OP_TANH] = "tanh@(A)",
    [HWB_OP_SIGMOID] = "f_sigmoid(A)",
    [HWB_OP_ERF] = "erf@(A)",
    [HWB_OP_SIN] = "sin@(A)",
    [HWB_OP_COS] = "cos@(A)",
    [HWB_OP_ADD] = "A + B",
    [HWB_OP_SUB] = "A - B",
    [HWB_OP_MUL] = "A * B",
    [HWB_OP_DIV] = "A / B",
    [HWB_OP_POW] = "pow@(A, B)",
    [HWB_OP_RELU] = "f_relu(A)",
    [HWB_OP_ABS] = "fabs@(A)",
    [HWB_OP_MAXIMUM] = "f_max(A, B)",
    [HWB_OP_MINIMUM] = "f_min(A, B)",
    [HWB_OP_LT] = "A < B",
    [HWB_OP_LE] = "A <= B",
    [HWB_OP_EQ] = "A == B",
    [HWB_OP_NE] = "A != B",
    [HWB_OP_WHERE] = "A != 0 ? B : C",
    [HWB_OP_SIGN] = "f_sign(A)",
    [HWB_OP_FLOOR] = "floor@(A)",
    [HWB_OP_ROUND] = "rint@(A)",
    [HWB_OP_ROUND_ST] = "rint@(A)",
    [HWB_OP_STOP] = "A",
    [HWB_OP_CAST] = "A",
};

/* Two's complement: unsigned arithmetic wraps where i64 would overflow. */
static const char *const WHOLE[HWB_OP_COUNT] = {
    [HWB_OP_NEG] = "0 - (u64)A",
    [HWB_OP_ADD] = "(u64)A + (u64)B",
    [HWB_OP_SUB] = "(u64)A - (u64)B",
    [HWB_OP_MUL] = "(u64)A * (u64)B",
    [HWB_OP_RELU] = "A > 0 ? A : 0",
    [HWB_OP_ABS] = "A < 0 ? 0 - (u64)A : (u64)A",
    [HWB_OP_MAXIMUM] = "A > B ? A : B",
    [HWB_OP_MINIMUM] = "A < B ? A : B",
    [HWB_OP_LT] = "A < B",
    [HWB_OP_LE] = "A <= B",
    [HWB_OP_EQ] = "A == B",
    [HWB_OP_NE] = "A != B",
    [HWB_OP_WHERE] = "A != 0 ? B : C",
    [HWB_OP_SIGN] = "(A > 0) - (A < 0)",
    [HWB_OP_STOP] = "A",
    [HWB_OP_CAST] = "A",
};

static bool real(const hwb__cuda_group *g) {
    return g->reg[0] != 'i';
}

static void expression(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb_finstr *in) {
    const char *p = (real(g) ? REAL : WHOLE)[in->op];
    for (; p && *p; p++) {
        if (*p >= 'A' && *p <= 'C') hwb__cuda_say(t, "r%d", in->in[*p - 'A']);
        else if (*p != '@') hwb__cuda_say(t, "%c", *p);
        else if (g->reg[0] == 'f') hwb__cuda_say(t, "f");
    }
}

static void immediate(hwb__cuda_text *t, double x) {
    union {
        double x;
        long long bits;
    } u = {x};
    if (isfinite(x)) hwb__cuda_say(t, "%.17g", x);
    else hwb__cuda_say(t, "__longlong_as_double(%lldLL)", u.bits);
}

void hwb__cuda_emit_head(hwb__cuda_text *t, const hwb__cuda_group *g, const char *params) {
    hwb__cuda_say(t, "typedef struct %s params;\ntypedef %s R;\ntypedef %s A;\ntypedef %s I;\n",
                  params, g->reg, g->acc, g->narrow ? "u32" : "u64");
}

void hwb__cuda_emit_registers(hwb__cuda_text *t, const hwb__cuda_group *g) {
    const hwb_fused *f = g->f;
    for (int j = 0; j < f->n_in; j++)
        hwb__cuda_say(t, "const R r%d = (R)%sx%d%s; ", j, g->in[j].dtype == HWB_BOOL ? "(" : "", j,
                      g->in[j].dtype == HWB_BOOL ? " != 0)" : "");
    for (int i = 0; i < f->n_instr; i++) {
        hwb__cuda_say(t, "const R r%d = (R)(", f->n_in + i);
        if (f->instr[i].op == HWB_OP_FILL) immediate(t, f->instr[i].imm);
        else expression(t, g, &f->instr[i]);
        hwb__cuda_say(t, ");\n");
    }
}

void hwb__cuda_emit_value(hwb__cuda_text *t, const hwb__cuda_group *g, int reg, hwb_dtype dtype) {
    if (dtype == HWB_BOOL) {
        hwb__cuda_say(t, "(u8)(r%d != 0)", reg);
    } else if (hwb__cuda_is_float(dtype) || !real(g)) {
        hwb__cuda_say(t, "(%s)r%d", hwb__cuda_type(dtype), reg);
    } else if (dtype == HWB_I64) {
        hwb__cuda_say(t,
                      "f_whole((double)r%d, -9223372036854775808.0, 9223372036854775808.0, "
                      "-9223372036854775807LL - 1, 9223372036854775807LL)",
                      reg);
    } else {
        const char *low = dtype == HWB_I32 ? "-2147483648" : "0";
        const char *high = dtype == HWB_I32 ? "2147483647" : "255";
        hwb__cuda_say(t, "(%s)f_whole((double)r%d, %s.0, %s.0, %sLL, %sLL)", hwb__cuda_type(dtype),
                      reg, low, high, low, high);
    }
}

static int axes_of(const hwb__cuda_walk *w, int tag, int axis[HWB_MAX_DIMS]) {
    int n = 0;
    for (int d = w->ndim - 1; d >= 0; d--)
        if (w->tag[d] == tag) axis[n++] = d;
    return n;
}

/* Lengths and strides are constants of the text: divisions by them are multiplications
 * or shifts, and nothing is read from the arguments. */
void hwb__cuda_emit_offsets(hwb__cuda_text *t, const hwb__cuda_walk *w, int tag, uint32_t mask,
                            const char *index, const char *base) {
    int axis[HWB_MAX_DIMS], n = axes_of(w, tag, axis);
    if (mask && n > 1) hwb__cuda_say(t, "I t%d = %s;\n", tag, index);
    for (int a = 0; mask && a < n; a++) { /* coordinates */
        int d = axis[a];
        if (n == 1) hwb__cuda_say(t, "const I c%d = %s;\n", d, index);
        else if (a == n - 1) hwb__cuda_say(t, "const I c%d = t%d;\n", d, tag);
        else
            hwb__cuda_say(t, "const I c%d = t%d %% (I)%lldu; t%d /= (I)%lldu;\n", d, tag,
                          (long long)w->dim[d], tag, (long long)w->dim[d]);
    }
    for (int j = 0; j < w->n_op; j++) {
        if (!(mask & 1u << j)) continue;
        hwb__cuda_say(t, "const I %s%d = ", *base || tag ? "o" : "b", j);
        if (*base) hwb__cuda_say(t, "%s%d", base, j);
        else hwb__cuda_say(t, "0");
        for (int a = 0; a < n; a++)
            if (w->stride[j][axis[a]])
                hwb__cuda_say(t, " + c%d * (I)%lldu", axis[a], (long long)w->stride[j][axis[a]]);
        hwb__cuda_say(t, ";\n");
    }
}

/* ---- packs of elements --------------------------------------------------------------- */

int hwb__cuda_pack_of(const hwb__cuda_group *g, const hwb__cuda_walk *w) {
    const int v = g->reg[0] == 'f' ? 4 : 2;
    if (w->ndim == 0 || g->reg[0] == 'i' || !hwb__cuda_is_float(g->f->dtype)) return 1;
    return w->dim[w->ndim - 1] % v ? 1 : v;
}

void hwb__cuda_emit_load(hwb__cuda_text *t, const hwb__cuda_group *g, int input, int v,
                         const char *offset) {
    const char *type = hwb__cuda_type(g->in[input].dtype);
    if (v > 1)
        hwb__cuda_say(t, "const pack<%s, %d> v%d = *(const pack<%s, %d> *)", type, v, input, type,
                      v);
    else hwb__cuda_say(t, "const %s v%d = *", type, input);
    hwb__cuda_say(t, "((const %s *)p.in[%d] + %s);\n", type, input, offset);
}

void hwb__cuda_emit_elements(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w,
                             int v) {
    if (v > 1) hwb__cuda_say(t, "#pragma unroll\nfor (int e = 0; e < %d; e++) {\n", v);
    for (int j = 0; j < g->f->n_in; j++)
        hwb__cuda_say(t, "const %s x%d = v%d%s;\n", hwb__cuda_type(g->in[j].dtype), j, j,
                      v > 1 && hwb__cuda_walk_steps(w, j) ? ".at[e]" : "");
    hwb__cuda_emit_registers(t, g);
}

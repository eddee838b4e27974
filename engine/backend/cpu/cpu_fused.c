/*
 * cpu_fused.c: plans fused pointwise groups (cpu_fused_i.h tells how they are
 * laid out, cpu_fused_run.c runs them).  A single pointwise operation, a sum and
 * a broadcast are groups of one instruction or none.
 *
 * Registers live in tile buffers small enough for the first-level cache.  Dense
 * inputs are read where they are, results are written where they belong.
 */
#include "backend/cpu/cpu_fused_i.h"

#include <string.h>

/* Bytes of a tile: large enough to hide the interpreter, small enough that the
 * processor already loads the next tile while it works on this one; and at how
 * many items there are enough to share out. */
enum { TILE_BYTES = 3072, ENOUGH_ITEMS = 64 };

/* ---- what is accepted ---------------------------------------------------- */

/* The group that a desc stands for; storage for one instruction is the caller's. */
static bool as_group(const hwb_kdesc *desc, hwb_fused *f, hwb_finstr *instr, hwb_fout *out) {
    if (desc->op == HWB_OP_FUSED) {
        *f = *desc->fused;
        return true;
    }
    bool pointwise = hwb_op_is_pointwise(desc->op);
    if (!pointwise && desc->op != HWB_OP_SUM && desc->op != HWB_OP_BROADCAST) return false;
    *f = (hwb_fused){.dtype = HWB_F32, .n_in = desc->n_in, .n_out = 1, .instr = instr, .out = out};
    bool found = false;
    for (int i = 0; i < desc->n_in + 1; i++) {
        hwb_dtype t = i < desc->n_in ? desc->in[i].dtype : desc->out[0].dtype;
        if (!found && hwb_dtype_is_float(t)) f->dtype = t, found = true;
    }
    f->space = desc->op == HWB_OP_SUM ? desc->in[0].shape : desc->out[0].shape;
    *out = (hwb_fout){.reg = 0, .reduce = desc->op == HWB_OP_SUM};
    if (!pointwise) return found;
    f->n_instr = 1;
    *instr = (hwb_finstr){.op = (int32_t)desc->op, .in = {-1, -1, -1}};
    for (int i = 0; i < desc->n_in; i++) instr->in[i] = i;
    out->reg = desc->n_in;
    return true;
}

bool hwb__cpu_fused_supports(const hwb_kdesc *desc) {
    hwb_fused f;
    hwb_finstr instr;
    hwb_fout out;
    if (desc->n_in > HWB_FUSED_MAX_IN || desc->n_out > HWB_FUSED_MAX_OUT) return false;
    if (!as_group(desc, &f, &instr, &out)) return false;
    if (!hwb_dtype_is_float(f.dtype) || hwb_shape_numel(&f.space) == 0) return false;
    if (f.n_instr > HWB_FUSED_MAX_INSTR) return false;
    for (int i = 0; i < desc->n_in; i++) {
        if (desc->in[i].dtype != f.dtype && desc->in[i].dtype != HWB_BOOL) return false;
        if (desc->in[i].shape.ndim != f.space.ndim) return false;
    }
    for (int i = 0; i < desc->n_out; i++)
        if (desc->out[i].dtype != f.dtype && desc->out[i].dtype != HWB_BOOL) return false;
    for (int i = 0; i < f.n_instr; i++)
        if (f.instr[i].op != HWB_OP_FILL && !hwb_op_is_pointwise((hwb_op)f.instr[i].op))
            return false;
    return true;
}

/* ---- geometry ------------------------------------------------------------ */

uint32_t hwb__fused_pattern(const hwb_vdesc *in, const hwb_vdesc *out, const hwb_fused *f, int d) {
    uint32_t bits = 0;
    for (int i = 0; i < f->n_in; i++)
        if (in[i].shape.dim[d] == 1) bits |= 1u << i;
    for (int i = 0; i < f->n_out; i++)
        if (f->out[i].reduce && out[i].shape.dim[d] == 1) bits |= 1u << (16 + i);
    return bits;
}

static void merge_axes(fused_kernel *k, const hwb_kdesc *desc, const hwb_fused *f,
                       uint32_t pattern[HWB_MAX_DIMS]) {
    for (int d = 0; d < f->space.ndim; d++) {
        if (f->space.dim[d] == 1) continue;
        uint32_t bits = hwb__fused_pattern(desc->in, desc->out, f, d);
        if (k->nd && pattern[k->nd - 1] == bits) {
            k->dim[k->nd - 1] *= f->space.dim[d];
            continue;
        }
        k->dim[k->nd] = f->space.dim[d];
        pattern[k->nd++] = bits;
    }
    if (k->nd) return;
    k->dim[0] = 1;
    pattern[0] = 0;
    k->nd = 1;
}

int64_t hwb__fused_rows(int64_t inner, int64_t axis, size_t size) {
    int64_t most = (int64_t)(TILE_BYTES / size) / inner;
    if (most < 1) most = 1;
    int64_t tiles = (axis + most - 1) / most, rows = (axis + tiles - 1) / tiles;
    return inner == 1 && rows > 16 ? (rows + 15) & ~(int64_t)15 : rows;
}

static void cut(fused_kernel *k) {
    int64_t most = (int64_t)(TILE_BYTES / k->size);
    k->inner = 1;
    k->t = k->nd - 1;
    while (k->t > 0 && k->inner * k->dim[k->t] <= most) k->inner *= k->dim[k->t--];
    int64_t axis = k->dim[k->t];
    k->rows = hwb__fused_rows(k->inner, axis, k->size);
    k->n_tiles = (axis + k->rows - 1) / k->rows;
    k->outer = 1;
    for (int d = 0; d < k->t; d++) k->outer *= k->dim[d];
    int64_t blocks = k->n_tiles < ENOUGH_ITEMS ? k->n_tiles : ENOUGH_ITEMS;
    k->tiles = (k->n_tiles + blocks - 1) / blocks;
    k->n_blocks = (k->n_tiles + k->tiles - 1) / k->tiles;
    int64_t chunks = (ENOUGH_ITEMS + k->n_blocks - 1) / k->n_blocks;
    if (chunks > k->outer) chunks = k->outer;
    k->chunk = (k->outer + chunks - 1) / chunks;
    k->n_chunks = (k->outer + k->chunk - 1) / k->chunk;
}

/* ---- operands ------------------------------------------------------------ */

/* An input that is also an output is read from a copy of the tile: another
 * output may lie in its memory. */
static bool is_output(const hwb_fused *f, int reg) {
    for (int i = 0; f->n_out > 1 && i < f->n_out; i++)
        if (f->out[i].reg == reg && !f->out[i].reduce) return true;
    return false;
}

/* An input that decides in WHERE and does nothing else. */
static bool only_chooses(const hwb_fused *f, int reg) {
    for (int i = 0; i < f->n_instr; i++)
        for (int j = 0; j < 3; j++)
            if (f->instr[i].in[j] == reg && (j > 0 || f->instr[i].op != HWB_OP_WHERE)) return false;
    for (int i = 0; i < f->n_out; i++)
        if (f->out[i].reg == reg) return false;
    return true;
}

/* Element strides of an operand that broadcasts the axes with `bit` in their pattern. */
static void strides(const fused_kernel *k, const uint32_t *pattern, uint32_t bit, int64_t *out) {
    int64_t stride = 1;
    for (int j = k->nd - 1; j >= 0; j--) {
        int d = k->order[j];
        bool full = !(pattern[d] & bit);
        out[d] = full ? stride : 0;
        if (full) stride *= k->dim[d];
    }
}

static void plan_inputs(fused_kernel *k, const hwb_vdesc *desc, const hwb_fused *f,
                        const uint32_t *pattern) {
    for (int i = 0; i < k->n_in; i++) {
        fused_in *in = &k->in[i];
        strides(k, pattern, 1u << i, in->stride);
        in->is_bool = desc[i].dtype == HWB_BOOL;
        in->dense = !k->apart;
        for (int d = k->t; d < k->nd; d++)
            if (!in->stride[d] && k->dim[d] > 1) in->dense = false;
        in->bytes = in->is_bool && in->dense && only_chooses(f, i);
        in->direct = in->bytes || (in->dense && !in->is_bool && !is_output(f, i));
        if (i == 0 && k->given) in->direct = k->given_dense;
    }
}

/* Where the sums of a reduced output go. */
static void plan_sum(fused_kernel *k, fused_out *o) {
    int64_t stride = 1;
    o->outer_all = o->outer_none = true;
    for (int d = k->nd - 1; d >= 0; d--) {
        if (d >= k->t) {
            o->local[d] = o->keep[d] ? stride : 0;
            if (o->keep[d] && d > k->t) stride *= k->dim[d];
        } else if (o->keep[d]) o->outer_none = false;
        else o->outer_all = false;
    }
    for (int d = k->nd - 1; d >= k->t; d--) {
        bool last = d == k->nd - 1;
        o->all_kept[d] = o->local[d] && (last || o->all_kept[d + 1]);
        o->all_summed[d] = !o->local[d] && (last || o->all_summed[d + 1]);
    }
    o->kept_inner = stride;
    o->direct = o->outer_all && o->keep[k->t];
    if (o->direct) return;
    o->slots = o->outer_none ? k->n_chunks : k->outer;
    o->slot_size = (o->keep[k->t] ? k->dim[k->t] : k->n_blocks) * o->kept_inner;
}

static void plan_outputs(fused_kernel *k, const hwb_vdesc *desc, const hwb_fused *f,
                         const uint32_t *pattern) {
    for (int i = 0; i < k->n_out; i++) {
        fused_out *o = &k->out[i];
        o->reg = f->out[i].reg;
        o->reduce = f->out[i].reduce != 0;
        o->is_bool = desc[i].dtype == HWB_BOOL;
        o->narrow = desc[i].dtype == HWB_F32;
        o->numel = hwb_shape_numel(&desc[i].shape);
        for (int d = 0; d < k->nd; d++) o->keep[d] = !(pattern[d] >> (16 + i) & 1u);
        if (o->reduce) plan_sum(k, o);
    }
}

/* ---- prepare ------------------------------------------------------------- */

static void fused_free(hwb__cpu_kernel *kernel) {
    hwb_free(kernel);
}

static size_t plan_scratch(fused_kernel *k, int n_slots) {
    /* odd numbers of cache lines keep the buffers off each other's cache sets */
    k->tile_bytes = hwb__cpu_align((size_t)(k->rows * k->inner) * k->size) + 64;
    k->acc_offset = (size_t)n_slots * k->tile_bytes;
    k->worker_bytes = k->acc_offset + (size_t)(k->rows * k->inner) * sizeof(double) + 4096;
    k->worker_bytes = hwb__cpu_align(k->worker_bytes);
    size_t bytes = (size_t)k->workers * k->worker_bytes;
    for (int i = 0; i < k->n_out; i++) {
        fused_out *o = &k->out[i];
        if (!o->reduce || o->direct) continue;
        o->partial = bytes;
        bytes += hwb__cpu_align((size_t)(o->slots * o->slot_size) * sizeof(double));
        o->total = bytes;
        bytes += hwb__cpu_align((size_t)o->numel * sizeof(double));
    }
    return bytes;
}

static int64_t dense_bytes(const hwb_kdesc *desc) {
    int64_t bytes = 0;
    for (int i = 0; i < desc->n_in + desc->n_out; i++) {
        const hwb_vdesc *v = i < desc->n_in ? &desc->in[i] : &desc->out[i - desc->n_in];
        bytes += hwb_shape_numel(&v->shape) * (int64_t)hwb_dtype_size(v->dtype);
    }
    return bytes;
}

size_t hwb__fused_plan(fused_kernel *k, const hwb_vdesc *in, const hwb_vdesc *out,
                       const hwb_fused *f, const uint32_t *pattern) {
    k->n_in = f->n_in;
    k->n_out = f->n_out;
    k->n_regs = f->n_in + f->n_instr;
    strides(k, pattern, 0, k->place);
    plan_inputs(k, in, f, pattern);
    plan_outputs(k, out, f, pattern);
    return plan_scratch(k, hwb__fused_registers(k, f));
}

hwb_status hwb__cpu_fused_prepare(hwb_ctx *ctx, hwb__cpu_state *state, hwb__cpu_kernel **out,
                                  const hwb_kdesc *desc) {
    hwb_fused f;
    hwb_finstr instr;
    hwb_fout fout;
    hwb__cpu_kernel *base;
    if (!as_group(desc, &f, &instr, &fout))
        return hwb_fail(ctx, HWB_EUNSUPPORTED, "cpu: %s is no pointwise group",
                        hwb_op_name(desc->op));
    HWB_TRY(hwb__cpu_kernel_new(ctx, state, &base, sizeof(fused_kernel), "fused"));
    fused_kernel *k = (fused_kernel *)base;
    uint32_t pattern[HWB_MAX_DIMS];
    base->run = hwb__fused_run;
    base->free = fused_free;
    k->narrow = f.dtype == HWB_F32;
    k->size = hwb_dtype_size(f.dtype);
    merge_axes(k, desc, &f, pattern);
    for (int d = 0; d < k->nd; d++) k->order[d] = d;
    cut(k);
    int64_t items = k->n_chunks * k->n_blocks;
    k->workers = hwb_shape_numel(&f.space) < HWB_CPU_SERIAL ? 1 : base->threads;
    if (k->workers > items) k->workers = (int)items;
    k->stream = dense_bytes(desc) > state->cache_bytes;
    hwb_status status =
        hwb__cpu_reserve(ctx, state, hwb__fused_plan(k, desc->in, desc->out, &f, pattern));
    if (status != HWB_OK) {
        fused_free(base);
        return status;
    }
    *out = base;
    return HWB_OK;
}

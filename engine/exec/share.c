/*
 * share.c: which steps of a program are one kernel.
 *
 * A kernel is prepared once for a description (hwb_kdesc) and for the values behind
 * its stable inputs, of which it may hold packed copies.  Steps of a stage run one
 * after the other, so that kernels need not be one a step: the tangents of B blocks
 * of a network are B sub-sequences of the same layers, and with packed weights of
 * their own they would take B times the memory and B times the preparing.
 *
 * Steps are found by a hash of op, shapes and values, then compared in full: every
 * field of the description, present or future, that is not a pointer by its bytes.
 */
#include "exec/exec_i.h"

#include <stdlib.h>
#include <string.h>

struct hwb__sharing {
    const hwb_program *p;
    size_t size; /* a power of two */
    int *table;  /* step + 1, 0 = free: open addressing */
};

hwb_status hwb__sharing_new(hwb_ctx *ctx, const hwb_program *p, hwb__sharing **out) {
    hwb__sharing *s = calloc(1, sizeof *s);
    size_t size = 64;
    while (size < (size_t)p->plan->n_steps * 2) size *= 2;
    if (s) s->table = calloc(size, sizeof *s->table);
    if (!s || !s->table) {
        free(s);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory while compiling");
    }
    s->p = p;
    s->size = size;
    *out = s;
    return HWB_OK;
}

void hwb__sharing_free(hwb__sharing *s) {
    if (!s) return;
    free(s->table);
    free(s);
}

static uint64_t mix(uint64_t h, uint64_t v) { /* FNV-1a, a word at a time */
    return (h ^ v) * 0x100000001b3ull;
}

static uint64_t hash_descs(uint64_t h, int n, const hwb_vdesc *d) {
    for (int i = 0; i < n; i++)
        for (int j = 0; j < d[i].shape.ndim; j++) h = mix(h, (uint64_t)d[i].shape.dim[j]);
    return mix(h, (uint64_t)n);
}

static uint64_t hash_step(const hwb__step *s) {
    uint64_t h = mix(0xcbf29ce484222325ull, (uint64_t)s->op);
    h = hash_descs(hash_descs(h, s->n_in, s->in_desc), s->n_out, s->out_desc);
    for (int i = 0; i < s->n_in; i++)
        if (s->stable >> i & 1) h = mix(h, (uint64_t)s->in[i]);
    for (int i = 0; s->fused && i < s->fused->n_instr; i++)
        h = mix(h, (uint64_t)s->fused->instr[i].op);
    return h ^ h >> 29;
}

static bool same_descs(int n, const hwb_vdesc *a, const hwb_vdesc *b) {
    for (int i = 0; i < n; i++)
        if (a[i].dtype != b[i].dtype || !hwb_shape_equal(&a[i].shape, &b[i].shape)) return false;
    return true;
}

static bool same_fused(const hwb_fused *a, const hwb_fused *b) {
    if (!a || !b) return a == b;
    if (a->dtype != b->dtype || a->n_in != b->n_in || a->n_instr != b->n_instr ||
        a->n_out != b->n_out || !hwb_shape_equal(&a->space, &b->space))
        return false;
    return memcmp(a->instr, b->instr, (size_t)a->n_instr * sizeof *a->instr) == 0 &&
           memcmp(a->out, b->out, (size_t)a->n_out * sizeof *a->out) == 0;
}

static bool same_kernel(const hwb_program *p, int k, int l) {
    const hwb__step *s = &p->plan->steps[k], *t = &p->plan->steps[l];
    hwb_kdesc a, b;
    if (s->op != t->op || s->n_in != t->n_in || s->n_out != t->n_out || s->stable != t->stable)
        return false;
    for (int i = 0; i < s->n_in; i++)
        if ((s->stable >> i & 1) && s->in[i] != t->in[i]) return false;
    hwb__describe_step(p, k, &a);
    hwb__describe_step(p, l, &b);
    if (!same_descs(a.n_in, a.in, b.in) || !same_descs(a.n_out, a.out, b.out) ||
        !same_fused(a.fused, b.fused) || strcmp(a.scope, b.scope) != 0)
        return false;
    b.in = a.in, b.out = a.out, b.fused = a.fused, b.scope = a.scope;
    return memcmp(&a, &b, sizeof a) == 0;
}

int hwb__sharing_find(hwb__sharing *s, int k) {
    size_t mask = s->size - 1, at = hash_step(&s->p->plan->steps[k]) & mask;
    for (; s->table[at]; at = (at + 1) & mask)
        if (same_kernel(s->p, k, s->table[at] - 1)) return s->table[at] - 1;
    s->table[at] = k + 1;
    return -1;
}

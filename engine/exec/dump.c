/*
 * dump.c: a program as text: stages, kernels and what ran them, fused groups,
 * memory.
 */
#include "exec/exec_i.h"

#include <stdio.h>
#include <stdlib.h>

static const char *const stage_names[] = {"constants", "parameters", "data", "tangents"};

static void put_place(FILE *f, const hwb__value *v) {
    switch (v->place) {
    case HWB__AT_INPUT: fputs("input", f); break;
    case HWB__AT_OUTPUT:
        fprintf(f, "output %d", v->index);
        if (v->offset) fprintf(f, "+%zu", v->offset);
        break;
    case HWB__AT_KEPT: fprintf(f, "kept+%zu", v->offset); break;
    default: fprintf(f, "arena+%zu", v->offset); break;
    }
}

static void put_step(FILE *f, const hwb_program *p, int k) {
    const hwb__step *s = &p->plan->steps[k];
    const hwb__kernel_slot *slot = &p->slots[k];
    char shape[HWB_SHAPE_TEXT];
    const char *scope = hwb_graph_scope(p->graph, s->node);
    fprintf(f, "  %3d %-17s", k, hwb_op_name(s->op));
    for (int i = 0; i < s->n_out; i++) {
        fprintf(f, " %s", hwb_shape_text(&s->out_desc[i].shape, shape));
        fputs(" @", f);
        put_place(f, &p->plan->values[s->out[i]]);
    }
    fprintf(f, "  <- %d inputs", s->n_in);
    if (s->fused)
        fprintf(f, ", %s%d operations", s->op == HWB_OP_FUSED ? "" : "then ", s->n_pointwise);
    if (slot->kernel && slot->device->backend->kernel_name)
        fprintf(f, "  {%s: %s}", slot->device->backend->name,
                slot->device->backend->kernel_name(slot->device->state, slot->kernel));
    if (slot->seconds > 0) fprintf(f, "  %.3f ms", slot->seconds * 1e3);
    if (*scope) fprintf(f, "  [%s]", scope);
    fputc('\n', f);
}

char *hwb_program_dump(const hwb_program *p) {
    char *text = NULL;
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    const hwb_program_info *info = &p->info;
    fprintf(f, "program on %s: %d kernels for %d nodes, %d of them in %d fused groups\n",
            p->device->backend->name, info->kernels, info->nodes, info->fused_nodes,
            info->fused_groups);
    fprintf(f, "memory: arena %.2f MiB, kept between runs %.2f MiB, constants %.2f MiB\n",
            (double)info->arena_bytes / 1048576.0, (double)info->kept_bytes / 1048576.0,
            (double)info->constant_bytes / 1048576.0);
    for (int stage = 0; stage < p->n_stages; stage++) {
        const hwb__stage *s = &p->stages[stage];
        double macs = 0;
        if (s->first == s->end) continue;
        for (int k = s->first; k < s->end; k++) macs += (double)p->plan->steps[k].macs;
        fprintf(f, "stage %s", stage_names[stage < HWB_ROLE_TANGENT ? stage : HWB_ROLE_TANGENT]);
        if (p->n_stages > HWB_ROLE_COUNT && stage >= HWB_ROLE_TANGENT)
            fprintf(f, " %d", stage - HWB_ROLE_TANGENT + 1);
        fprintf(f, ": %d kernels, %.3f G multiply-adds\n", s->end - s->first, macs / 1e9);
        for (int k = s->first; k < s->end; k++) put_step(f, p, k);
    }
    fclose(f);
    return text;
}

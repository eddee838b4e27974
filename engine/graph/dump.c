/*
 * dump.c: a graph as text, one node a line:
 *     %12 = conv(%3, %7)  float32 128x16x32x32   [layer1.0.conv1]
 */
#include "graph/graph_i.h"

#include <inttypes.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

static void put_attrs(FILE *f, const hwb__node *n) {
    const hwb_attrs *a = &n->attrs;
    switch (n->op) {
    case HWB_OP_INPUT: {
        static const char *const roles[] = {"const", "param", "data", "tangent"};
        fprintf(f, "%s \"%s\"", roles[a->role < HWB_ROLE_TANGENT ? a->role : HWB_ROLE_TANGENT],
                n->name ? n->name : "");
        break;
    }
    case HWB_OP_FILL: fprintf(f, "%.9g", a->value); break;
    case HWB_OP_SUM:
    case HWB_OP_MAX: {
        fputs(", axes", f);
        for (int i = 0; i < HWB_MAX_DIMS; i++)
            if (a->axes >> i & 1) fprintf(f, " %d", i);
        break;
    }
    case HWB_OP_PERMUTE:
        fputs(", perm", f);
        for (int i = 0; i < n->shape.ndim; i++) fprintf(f, " %d", a->perm[i]);
        break;
    case HWB_OP_MATMUL: fprintf(f, "%s%s", a->ta ? ", ta" : "", a->tb ? ", tb" : ""); break;
    case HWB_OP_CONV:
    case HWB_OP_CONV_BWD_DATA:
    case HWB_OP_CONV_BWD_WEIGHTS:
        fprintf(f, ", stride %d pad %d groups %d%s", a->stride[0], a->pad_lo[0], a->groups,
                a->channels_last ? ", nhwc" : "");
        break;
    default: break;
    }
}

char *hwb_graph_dump(const hwb_graph *g, int n_out, const hwb_id *outputs) {
    char *text = NULL, shape[HWB_SHAPE_TEXT];
    size_t size = 0;
    FILE *f = open_memstream(&text, &size);
    if (!f) return NULL;
    bool *mark = malloc((size_t)(g->count + 1) * sizeof *mark);
    if (!mark) {
        fclose(f);
        free(text);
        return NULL;
    }
    if (n_out) hwb__graph_mark_needed(g, n_out, outputs, mark);
    else
        for (int i = 0; i < g->count; i++) mark[i] = true;
    for (hwb_id id = 0; id < g->count; id++) {
        if (!mark[id]) continue;
        const hwb__node *n = g->nodes[id];
        fprintf(f, "%%%d = %s(", id, hwb_op_name(n->op));
        for (int i = 0; i < n->n_in; i++) fprintf(f, "%s%%%d", i ? ", " : "", n->in[i]);
        put_attrs(f, n);
        fprintf(f, ")  %s %s", hwb_dtype_name(n->dtype), hwb_shape_text(&n->shape, shape));
        if (*g->scopes[n->scope]) fprintf(f, "   [%s]", g->scopes[n->scope]);
        fputc('\n', f);
    }
    for (int i = 0; i < n_out; i++) fprintf(f, "output %d = %%%d\n", i, outputs[i]);
    free(mark);
    fclose(f);
    return text;
}

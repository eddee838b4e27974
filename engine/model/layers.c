/*
 * layers.c: the layers that can be quantized, and blocks of parameters.
 *
 * Layers are found in the traced forward pass rather than declared: whatever
 * multiplies an activation by a parameter of rank 2 or more (a convolution, a
 * product, a table look-up) is one, also inside a layer the user wrote.
 */
#include "model/model_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* ---- layers ----------------------------------------------------------------------- */

/* The parameter of rank >= 2 behind an operand, looking through what keeps the
 * number of elements (reshapes, transposes, pointwise work such as
 * fake-quantization); -1 if there is none. */
static int weight_behind(const hwb_tracing *t, hwb_id id, int64_t numel, int depth) {
    const hwb_graph *g = t->graph;
    if (hwb_shape_numel(hwb_graph_shape(g, id)) != numel || depth > 64) return -1;
    for (int i = 0; i < t->n_parameters; i++)
        if (t->parameters[i] == id) return hwb_graph_shape(g, id)->ndim >= 2 ? i : -1;
    hwb_op op = hwb_graph_op(g, id);
    if (!hwb_op_is_pointwise(op) && op != HWB_OP_RESHAPE && op != HWB_OP_PERMUTE) return -1;
    const hwb_id *in;
    int n = hwb_graph_inputs(g, id, &in);
    for (int i = 0; i < n; i++) {
        int w = weight_behind(t, in[i], numel, depth + 1);
        if (w >= 0) return w;
    }
    return -1;
}

/* "layer1.0.conv1.weight" -> "layer1.0.conv1" */
static char *layer_name(const char *parameter) {
    const char *dot = strrchr(parameter, '.');
    return dot && dot != parameter ? strndup(parameter, (size_t)(dot - parameter))
                                   : strdup(parameter);
}

static hwb_status add_layer(hwb_ctx *ctx, hwb_model *m, const hwb_tracing *t, hwb_id id,
                            int weight) {
    const hwb_graph *g = t->graph;
    const hwb_id *in;
    hwb_graph_inputs(g, id, &in);
    int64_t macs = 0, out = hwb_shape_numel(hwb_graph_shape(g, id));
    if (hwb_op_family(hwb_graph_op(g, id)) == HWB_FAMILY_BILINEAR)
        macs = hwb_op_macs(hwb_graph_op(g, id), hwb_graph_attrs(g, id), hwb_graph_shape(g, in[0]),
                           hwb_graph_shape(g, in[1]), hwb_graph_shape(g, id));
    for (int i = 0; i < m->n_layers; i++) { /* a shared weight used again */
        if (m->layers[i].weight != weight) continue;
        m->layers[i].macs += macs;
        return HWB_OK;
    }
    hwb_layer *layers = realloc(m->layers, (size_t)(m->n_layers + 1) * sizeof *layers);
    if (layers) m->layers = layers;
    char *name = layer_name(m->parameters.at[weight].name);
    if (!layers || !name) {
        free(name);
        return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a model");
    }
    layers[m->n_layers++] = (hwb_layer){.name = name,
                                        .weight = weight,
                                        .n = hwb_tensor_numel(m->parameters.at[weight].t),
                                        .macs = macs,
                                        .out_elements = out};
    return HWB_OK;
}

static hwb_status find_layers(hwb_ctx *ctx, hwb_model *m, const hwb_tracing *t) {
    for (hwb_id id = 0; id < hwb_graph_count(t->graph); id++) {
        hwb_op op = hwb_graph_op(t->graph, id);
        if (op != HWB_OP_CONV && op != HWB_OP_MATMUL && op != HWB_OP_GATHER) continue;
        const hwb_id *in;
        hwb_graph_inputs(t->graph, id, &in);
        int w = -1;
        for (int i = op == HWB_OP_GATHER ? 0 : 1; i >= 0 && w < 0; i--)
            w = weight_behind(t, in[i], hwb_shape_numel(hwb_graph_shape(t->graph, in[i])), 0);
        if (w >= 0) HWB_TRY(add_layer(ctx, m, t, id, w));
    }
    return HWB_OK;
}

void hwb__model_free_layers(hwb_model *m) {
    for (int i = 0; i < m->n_layers; i++) free(m->layers[i].name);
    free(m->layers);
    m->layers = NULL;
    m->n_layers = 0;
}

hwb_status hwb_model_layers(hwb_ctx *ctx, hwb_model *m, const hwb_shape *input, hwb_dtype dtype,
                            int *count, const hwb_layer **layers) {
    hwb_shape one = *input;
    hwb_tracing t;
    if (one.ndim > 0) one.dim[0] = 1;
    hwb__model_free_layers(m);
    HWB_TRY(hwb_model_trace_begin(ctx, m, &t));
    hwb_status st = hwb_model_trace_forward(ctx, m, &t, dtype, &one, false);
    if (st == HWB_OK) st = find_layers(ctx, m, &t);
    hwb_tracing_free(&t);
    if (st != HWB_OK) return st;
    *count = m->n_layers;
    *layers = m->layers;
    return HWB_OK;
}

/* ---- blocks -------------------------------------------------------------------------- */

static bool under(const char *name, const char *prefix) {
    size_t n = strlen(prefix);
    return strncmp(name, prefix, n) == 0 && (name[n] == '\0' || name[n] == '.');
}

/* Levenshtein distance, for "did you mean"; names are short. */
static int distance(const char *a, const char *b) {
    enum { MAX = 96 };
    int row[MAX + 1], n = (int)strlen(b);
    if (n > MAX) return MAX;
    for (int j = 0; j <= n; j++) row[j] = j;
    for (int i = 1; *a; a++, i++) {
        int diagonal = row[0];
        row[0] = i;
        for (int j = 1; j <= n; j++) {
            int up = row[j], best = diagonal + (*a != b[j - 1]);
            if (up + 1 < best) best = up + 1;
            if (row[j - 1] + 1 < best) best = row[j - 1] + 1;
            diagonal = up;
            row[j] = best;
        }
    }
    return row[n];
}

hwb_status hwb_model_block(hwb_ctx *ctx, const hwb_model *m, const char *name, int *count,
                           int *parameters) {
    int best = 1 << 20;
    const char *near = "";
    char layer[256] = "";
    *count = 0;
    for (int i = 0; i < m->parameters.count; i++) {
        if (under(m->parameters.at[i].name, name)) parameters[(*count)++] = i;
        int d = distance(name, m->parameters.at[i].name);
        const char *dot = strrchr(m->parameters.at[i].name, '.');
        if (d < best) best = d, near = m->parameters.at[i].name;
        if (!dot) continue;
        char prefix[256];
        snprintf(prefix, sizeof prefix, "%.*s", (int)(dot - m->parameters.at[i].name),
                 m->parameters.at[i].name);
        if ((d = distance(name, prefix)) < best) {
            best = d;
            memcpy(layer, prefix, sizeof layer);
            near = layer;
        }
    }
    if (*count) return HWB_OK;
    int i = hwb_model_find(m, name); /* another name of a shared parameter */
    if (i >= 0) {
        parameters[(*count)++] = i;
        return HWB_OK;
    }
    return hwb_fail(ctx, HWB_EARG, "no parameter or layer is called \"%s\"%s%s%s", name,
                    *near ? "; did you mean \"" : "", near, *near ? "\"?" : "");
}

/*
 * net_bert.h: a BERT encoder with a classifier of every token, in C, with the
 * tensors of peer_spec.py (see nets.h for their formulas).
 *
 * Post-norm layers: x = LN(x + attention(x)); x = LN(x + W2 gelu(W1 x)).  Base
 * size: 12 layers of 768 in 12 heads, inner width 3072, vocabulary 28996, 128
 * tokens; ids[N,T] -> logits [N T, 9].
 */
#ifndef HWB_BENCH_NET_BERT_H
#define HWB_BENCH_NET_BERT_H

#include "nets.h"

enum { BERT_CLASSES = 9 };

typedef struct bert_size {
    int64_t layers, width, heads, inner, vocabulary, positions;
} bert_size;
static const bert_size bert_base = {12, 768, 12, 3072, 28996, 512};

/* ids [N,T] and a label for every token [N T] */
static inline hwb_status net_tokens(hwb_ctx *ctx, hwb_tensor **x, hwb_tensor **y, int64_t batch,
                                    int64_t tokens) {
    hwb_shape ids = {.ndim = 2, .dim = {batch, tokens}};
    hwb_shape labels = {.ndim = 1, .dim = {batch * tokens}};
    HWB_TRY(hwb_tensor_new(ctx, x, HWB_I64, ids));
    HWB_TRY(hwb_tensor_new(ctx, y, HWB_I64, labels));
    for (int64_t i = 0; i < batch * tokens; i++) {
        ((int64_t *)hwb_tensor_data(*x))[i] = net_hash(100001, i) % bert_base.vocabulary;
        ((int64_t *)hwb_tensor_data(*y))[i] = net_hash(200001, i) % BERT_CLASSES;
    }
    return HWB_OK;
}

/* ---- tensors ------------------------------------------------------------------------ */

static inline hwb_status bert_add_norm(net *s, const char *layer) {
    hwb_shape shape = {.ndim = 1, .dim = {bert_base.width}};
    HWB_TRY(net_add(s, layer, "weight", shape, 0.1, 1));
    return net_add(s, layer, "bias", shape, 0.1, 0);
}

static inline hwb_status bert_add_embedding(net *s, const char *layer, int64_t rows) {
    hwb_shape shape = {.ndim = 2, .dim = {rows, bert_base.width}};
    return net_add(s, layer, "weight", shape, 0.03, 0);
}

static const char *const bert_linears[4] = {"attention.self.query", "attention.self.key",
                                            "attention.self.value", "attention.output.dense"};

static inline hwb_status bert_tensors(net *s) {
    const bert_size b = bert_base;
    char at[80];
    HWB_TRY(bert_add_embedding(s, "embeddings.word_embeddings", b.vocabulary));
    HWB_TRY(bert_add_embedding(s, "embeddings.position_embeddings", b.positions));
    HWB_TRY(bert_add_embedding(s, "embeddings.token_type_embeddings", 2));
    HWB_TRY(bert_add_norm(s, "embeddings.LayerNorm"));
    for (int j = 0; j < b.layers; j++) {
        for (int m = 0; m < 4; m++) {
            snprintf(at, sizeof at, "encoder.layer.%d.%s", j, bert_linears[m]);
            HWB_TRY(net_add_linear(s, at, b.width, b.width));
        }
        snprintf(at, sizeof at, "encoder.layer.%d.attention.output.LayerNorm", j);
        HWB_TRY(bert_add_norm(s, at));
        snprintf(at, sizeof at, "encoder.layer.%d.intermediate.dense", j);
        HWB_TRY(net_add_linear(s, at, b.width, b.inner));
        snprintf(at, sizeof at, "encoder.layer.%d.output.dense", j);
        HWB_TRY(net_add_linear(s, at, b.inner, b.width));
        snprintf(at, sizeof at, "encoder.layer.%d.output.LayerNorm", j);
        HWB_TRY(bert_add_norm(s, at));
    }
    return net_add_linear(s, "classifier", b.width, BERT_CLASSES);
}

/* ---- the forward pass ----------------------------------------------------------------- */

static inline hwb_status bert_linear(const net *s, hwb_graph *g, hwb_id *y, hwb_id x,
                                     const char *layer) {
    hwb_id w, b;
    HWB_TRY(hwb_graph_push_scope(g, layer));
    HWB_TRY(net_get(s, g, &w, layer, "weight"));
    HWB_TRY(net_get(s, g, &b, layer, "bias"));
    HWB_TRY(hwb_linear(g, y, x, w, b));
    hwb_graph_pop_scope(g);
    return HWB_OK;
}

static inline hwb_status bert_norm(const net *s, hwb_graph *g, hwb_id *y, hwb_id x,
                                   const char *layer) {
    hwb_id w, b;
    HWB_TRY(hwb_graph_push_scope(g, layer));
    HWB_TRY(net_get(s, g, &w, layer, "weight"));
    HWB_TRY(net_get(s, g, &b, layer, "bias"));
    HWB_TRY(hwb_layer_norm(g, y, x, w, b, 1e-12));
    hwb_graph_pop_scope(g);
    return HWB_OK;
}

/* x[N,T,D] -> attention(x) W_out */
static inline hwb_status bert_attention(const net *s, hwb_graph *g, hwb_id *y, hwb_id x, int j) {
    const hwb_shape whole = *hwb_graph_shape(g, x);
    const int64_t heads = bert_base.heads;
    hwb_shape split = {.ndim = 4, .dim = {whole.dim[0], whole.dim[1], heads, whole.dim[2] / heads}};
    hwb_id part[3];
    char at[80];
    for (int m = 0; m < 3; m++) {
        snprintf(at, sizeof at, "encoder.layer.%d.%s", j, bert_linears[m]);
        HWB_TRY(bert_linear(s, g, &part[m], x, at));
        HWB_TRY(hwb_reshape(g, &part[m], part[m], split));
        HWB_TRY(hwb_transpose(g, &part[m], part[m], 1, 2));
    }
    HWB_TRY(hwb_attention(g, y, part[0], part[1], part[2], HWB_NONE));
    HWB_TRY(hwb_transpose(g, y, *y, 1, 2));
    HWB_TRY(hwb_reshape(g, y, *y, whole));
    snprintf(at, sizeof at, "encoder.layer.%d.%s", j, bert_linears[3]);
    return bert_linear(s, g, y, *y, at);
}

static inline hwb_status bert_layer(const net *s, hwb_graph *g, hwb_id *x, int j) {
    hwb_id h;
    char at[80];
    HWB_TRY(bert_attention(s, g, &h, *x, j));
    HWB_TRY(hwb_add(g, &h, *x, h));
    snprintf(at, sizeof at, "encoder.layer.%d.attention.output.LayerNorm", j);
    HWB_TRY(bert_norm(s, g, x, h, at));
    snprintf(at, sizeof at, "encoder.layer.%d.intermediate.dense", j);
    HWB_TRY(bert_linear(s, g, &h, *x, at));
    HWB_TRY(hwb_gelu(g, &h, h));
    snprintf(at, sizeof at, "encoder.layer.%d.output.dense", j);
    HWB_TRY(bert_linear(s, g, &h, h, at));
    HWB_TRY(hwb_add(g, &h, *x, h));
    snprintf(at, sizeof at, "encoder.layer.%d.output.LayerNorm", j);
    return bert_norm(s, g, x, h, at);
}

static inline hwb_status bert_forward(void *user, hwb_graph *g, hwb_id *y, hwb_id ids, bool train) {
    const net *s = user;
    const hwb_shape in = *hwb_graph_shape(g, ids);
    hwb_shape rows = {.ndim = 2, .dim = {in.dim[0] * in.dim[1], bert_base.width}};
    hwb_id x, more;
    (void)train; /* no dropout on either side */
    HWB_TRY(net_get(s, g, &x, "embeddings.word_embeddings", "weight"));
    HWB_TRY(hwb_gather(g, &x, x, ids, 0));
    HWB_TRY(net_get(s, g, &more, "embeddings.position_embeddings", "weight"));
    HWB_TRY(hwb_slice(g, &more, more, 0, 0, in.dim[1], 1));
    HWB_TRY(hwb_add(g, &x, x, more));
    HWB_TRY(net_get(s, g, &more, "embeddings.token_type_embeddings", "weight"));
    HWB_TRY(hwb_slice(g, &more, more, 0, 0, 1, 1));
    HWB_TRY(hwb_add(g, &x, x, more));
    HWB_TRY(bert_norm(s, g, &x, x, "embeddings.LayerNorm"));
    for (int j = 0; j < bert_base.layers; j++) HWB_TRY(bert_layer(s, g, &x, j));
    HWB_TRY(hwb_reshape(g, &x, x, rows));
    return bert_linear(s, g, y, x, "classifier");
}

static inline hwb_status net_bert_new(hwb_ctx *ctx, hwb_model **out, net **inside) {
    return net_make(ctx, out, inside, 0, 0, bert_forward, bert_tensors);
}

#endif

/*
 * checkpoint.c: parameters and buffers from and to files.
 */
#include "model/model_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* What did not match, a few names of each kind. */
typedef struct report {
    char text[512];
    size_t at;
    int count;
} report;

static void add_line(report *r, const char *kind, const char *name, const char *detail) {
    if (r->count++ >= 4 || r->at >= sizeof r->text - 1) return;
    int n = snprintf(r->text + r->at, sizeof r->text - r->at, "%s%s \"%s\"%s", r->at ? ", " : "",
                     kind, name, detail);
    if (n > 0) r->at += (size_t)n;
    if (r->at > sizeof r->text - 1) r->at = sizeof r->text - 1;
}

static void match(report *r, const hwb__named *want, hwb_tensor *have) {
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT], detail[2 * HWB_SHAPE_TEXT + 16];
    if (!have) {
        add_line(r, "missing", want->name, "");
    } else if (!hwb_shape_equal(hwb_tensor_shape(have), hwb_tensor_shape(want->t))) {
        snprintf(detail, sizeof detail, " is %s, not %s", hwb_shape_text(hwb_tensor_shape(have), a),
                 hwb_shape_text(hwb_tensor_shape(want->t), b));
        add_line(r, "misshapen", want->name, detail);
    }
}

static bool known(const hwb_model *m, const char *name) {
    const hwb__named_list *lists[3] = {&m->parameters, &m->buffers, &m->aliases};
    for (int k = 0; k < 3; k++)
        for (int i = 0; i < lists[k]->count; i++)
            if (strcmp(lists[k]->at[i].name, name) == 0) return true;
    return false;
}

/* A counter that older checkpoints lack and that changes no result. */
static bool optional(const char *name) {
    const char *dot = strrchr(name, '.');
    return strcmp(dot ? dot + 1 : name, "num_batches_tracked") == 0;
}

static hwb_status copy_all(hwb_ctx *ctx, const hwb__named_list *l, const hwb_bundle *b) {
    for (int i = 0; i < l->count; i++) {
        hwb_tensor *t = hwb_bundle_get(b, l->at[i].name);
        if (t) HWB_TRY(hwb_tensor_copy(ctx, l->at[i].t, t));
    }
    return HWB_OK;
}

hwb_status hwb_model_load(hwb_ctx *ctx, hwb_model *m, const char *path) {
    hwb_bundle *b;
    report r = {.at = 0};
    HWB_TRY(hwb_io_load(ctx, &b, path));
    for (int i = 0; i < m->parameters.count; i++)
        match(&r, &m->parameters.at[i], hwb_bundle_get(b, m->parameters.at[i].name));
    for (int i = 0; i < m->buffers.count; i++)
        if (hwb_bundle_get(b, m->buffers.at[i].name) || !optional(m->buffers.at[i].name))
            match(&r, &m->buffers.at[i], hwb_bundle_get(b, m->buffers.at[i].name));
    for (int64_t i = 0; i < hwb_bundle_count(b); i++)
        if (!known(m, hwb_bundle_name(b, i)) && !optional(hwb_bundle_name(b, i)))
            add_line(&r, "unexpected", hwb_bundle_name(b, i), "");
    hwb_status st = HWB_OK;
    if (r.count)
        st = hwb_fail(ctx, HWB_EFORMAT, "%s does not fit the model: %s%s", path, r.text,
                      r.count > 4 ? ", …" : "");
    if (st == HWB_OK) st = copy_all(ctx, &m->parameters, b);
    if (st == HWB_OK) st = copy_all(ctx, &m->buffers, b);
    hwb_bundle_free(b);
    return st;
}

hwb_status hwb_model_save(hwb_ctx *ctx, const hwb_model *m, const char *path) {
    const hwb__named_list *lists[2] = {&m->parameters, &m->buffers};
    hwb_bundle *b;
    hwb_status st = hwb_bundle_new(ctx, &b);
    if (st != HWB_OK) return st;
    for (int k = 0; k < 2; k++)
        for (int i = 0; st == HWB_OK && i < lists[k]->count; i++)
            st = hwb_bundle_add(ctx, b, lists[k]->at[i].name, lists[k]->at[i].t);
    if (st == HWB_OK) st = hwb_io_save_safetensors(ctx, b, path);
    hwb_bundle_free(b);
    return st;
}

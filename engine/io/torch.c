/*
 * torch.c: PyTorch checkpoints.
 *
 * Since 1.6 a zip archive:              Before, five pickles and raw data:
 *     <any>/data.pkl   the object           0x1950A86A20F9469CFC6C
 *     <any>/data/<key> its storages         1001 (the version)
 *     <any>/byteorder  "little"             {"little_endian": True, …}
 *     <any>/version                         the object
 *                                           [key, …]
 *                                           for each key: i64 count, elements
 *
 * Tensors in the object refer to storages by key.  Of the object only the
 * state dict is wanted: names to tensors, possibly nested under a well-known
 * key beside the epoch and the like.
 */
#include "io/io_i.h"
#include "io/pickle_i.h"
#include "io/zip_i.h"

#include <stdio.h>
#include <stdlib.h>
#include <string.h>

/* Converting and expanding may make tensors larger than the file, a hostile
 * one without end: a stride of 0 makes any size from one element. */
enum { MAX_GROWTH = 16, GROWTH_FLOOR = 1 << 20 };

typedef struct budget {
    uint64_t left; /* bytes of tensors that may still be made */
} budget;

static hwb_status make_tensor(hwb_ctx *ctx, const hwb__pickle *pk, budget *limit, hwb_tensor **out,
                              const hwb__pval *v) {
    const hwb__pval *s = v->tensor.storage;
    const hwb__pstorage *root = &pk->storages[s->storage.id];
    hwb__array a = {.elem = s->storage.elem,
                    .count = s->storage.count,
                    .offset = v->tensor.offset,
                    .shape.ndim = v->tensor.ndim};
    a.bytes = root->bytes;
    if (root->bytes) a.bytes += (size_t)s->storage.first * hwb__elem_size(a.elem);
    int64_t bytes = (int64_t)hwb_dtype_size(hwb__elem_dtype(a.elem));
    bool fits = true;
    for (int i = 0; i < v->tensor.ndim; i++) {
        a.shape.dim[i] = v->tensor.size[i];
        a.stride[i] = v->tensor.stride[i];
        fits = fits && hwb_mul_size(bytes, a.shape.dim[i], &bytes);
    }
    if (!fits || (uint64_t)bytes > limit->left)
        return hwb_fail(ctx, HWB_EFORMAT, "its tensors are far larger than the file; refused");
    limit->left -= (uint64_t)bytes;
    return hwb__array_tensor(ctx, out, &a);
}

/* ---- the state dict ------------------------------------------------------------------ */

static bool is_text(const hwb__pval *v) {
    return v->kind == HWB__P_TEXT && !memchr(v->text.s, 0, v->text.n);
}

static bool is_tensor_of_dims(const hwb__pval *v) {
    return v->kind == HWB__P_TENSOR && v->tensor.ndim > 0;
}

static const hwb__pval *dict_get(const hwb__pval *dict, const char *key) {
    for (int64_t i = 0; i + 1 < dict->seq.n; i += 2)
        if (hwb__ptext_is(dict->seq.item[i], key)) return dict->seq.item[i + 1];
    return NULL;
}

static bool holds_tensors(const hwb__pval *dict) {
    for (int64_t i = 0; i + 1 < dict->seq.n; i += 2)
        if (is_text(dict->seq.item[i]) && dict->seq.item[i + 1]->kind == HWB__P_TENSOR) return true;
    return false;
}

/* The dict of tensors, at most three well-known keys down.  A tensor of no
 * dimensions at the top ("best_acc1") does not make the top a state dict. */
static const hwb__pval *find_state(const hwb__pval *v, int depth) {
    static const char *const keys[] = {"state_dict", "model_state_dict", "model", "net",
                                       "model_state"};
    if (v->kind != HWB__P_DICT || depth > 3) return NULL;
    for (int64_t i = 0; i + 1 < v->seq.n; i += 2)
        if (is_text(v->seq.item[i]) && is_tensor_of_dims(v->seq.item[i + 1])) return v;
    for (size_t k = 0; k < sizeof keys / sizeof *keys; k++) {
        const hwb__pval *inner = dict_get(v, keys[k]);
        const hwb__pval *found = inner ? find_state(inner, depth + 1) : NULL;
        if (found) return found;
    }
    return holds_tensors(v) ? v : NULL;
}

/* Every name starts with prefix (wrappers such as DataParallel add one). */
static bool all_start_with(const hwb__pval *dict, const char *prefix, size_t skip) {
    size_t n = strlen(prefix);
    bool any = false;
    for (int64_t i = 0; i + 1 < dict->seq.n; i += 2) {
        const hwb__pval *key = dict->seq.item[i];
        if (dict->seq.item[i + 1]->kind != HWB__P_TENSOR || !is_text(key)) continue;
        if (key->text.n <= skip + n || memcmp(key->text.s + skip, prefix, n) != 0) return false;
        any = true;
    }
    return any;
}

static hwb_status add_meta(hwb_ctx *ctx, hwb_bundle *b, const char *key, const hwb__pval *v) {
    char number[64], *copy = NULL;
    switch (v->kind) {
    case HWB__P_BOOL: return hwb_bundle_set_meta(ctx, b, key, v->i ? "true" : "false");
    case HWB__P_INT: snprintf(number, sizeof number, "%lld", (long long)v->i); break;
    case HWB__P_FLOAT: /* the short text when it reads back as the same number */
        snprintf(number, sizeof number, "%.15g", v->f);
        if (strtod(number, NULL) != v->f) snprintf(number, sizeof number, "%.17g", v->f);
        break;
    case HWB__P_TEXT:
        if (!is_text(v)) return HWB_OK;
        copy = strndup(v->text.s, v->text.n);
        if (!copy) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for metadata");
        break;
    default: return HWB_OK; /* optimiser state and the like */
    }
    hwb_status status = hwb_bundle_set_meta(ctx, b, key, copy ? copy : number);
    free(copy);
    return status;
}

static hwb_status add_tensor(hwb_ctx *ctx, hwb_bundle *b, const hwb__pickle *pk, budget *limit,
                             const char *name, const hwb__pval *v) {
    hwb_tensor *t = NULL;
    hwb_status status = make_tensor(ctx, pk, limit, &t, v);
    if (status == HWB_OK) status = hwb_bundle_add(ctx, b, name, t);
    hwb_tensor_release(t);
    if (status == HWB_OK) return HWB_OK;
    char text[100];
    return hwb_fail_in(ctx, status == HWB_EARG ? HWB_EFORMAT : status, "tensor \"%s\"",
                       hwb__printable(text, sizeof text, name, strlen(name)));
}

/* Tensors of `dict` go into the bundle, scalars beside them into its metadata.
 * Outside the state dict itself (tensors = false) a 0-d tensor is a scalar. */
static hwb_status add_dict(hwb_ctx *ctx, hwb_bundle *b, const hwb__pickle *pk, budget *limit,
                           const hwb__pval *dict, bool tensors, size_t skip) {
    for (int64_t i = 0; i + 1 < dict->seq.n; i += 2) {
        const hwb__pval *key = dict->seq.item[i], *v = dict->seq.item[i + 1];
        if (!is_text(key)) continue;
        bool tensor = v->kind == HWB__P_TENSOR;
        size_t cut = tensor && tensors ? skip : 0;
        char *name = strndup(key->text.s + cut, key->text.n - cut);
        if (!name) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a name");
        hwb_status status = HWB_OK;
        if (tensor && tensors) {
            status = add_tensor(ctx, b, pk, limit, name, v);
        } else if (tensor && v->tensor.ndim == 0) {
            hwb_tensor *t = NULL;
            status = make_tensor(ctx, pk, limit, &t, v);
            hwb__pval number = {.kind = HWB__P_FLOAT, .f = t ? hwb_tensor_get(t, 0) : 0};
            if (status == HWB_OK) status = add_meta(ctx, b, name, &number);
            hwb_tensor_release(t);
        } else {
            status = add_meta(ctx, b, name, v);
        }
        free(name);
        HWB_TRY(status);
    }
    return HWB_OK;
}

/* A bare tensor, or a list of them, is taken too. */
static hwb_status add_loose(hwb_ctx *ctx, hwb_bundle *b, const hwb__pickle *pk, budget *limit,
                            const hwb__pval *v) {
    if (v->kind == HWB__P_TENSOR) return add_tensor(ctx, b, pk, limit, "tensor", v);
    if (v->kind == HWB__P_LIST || v->kind == HWB__P_TUPLE) {
        for (int64_t i = 0; i < v->seq.n; i++) {
            char name[32];
            snprintf(name, sizeof name, "%lld", (long long)i);
            if (v->seq.item[i]->kind == HWB__P_TENSOR)
                HWB_TRY(add_tensor(ctx, b, pk, limit, name, v->seq.item[i]));
        }
    }
    if (hwb_bundle_count(b) > 0) return HWB_OK;
    return hwb_fail(ctx, HWB_EFORMAT,
                    "no state dict: no tensors at the top level nor under "
                    "state_dict, model_state_dict, model, net or model_state");
}

static hwb_status fill_bundle(hwb_ctx *ctx, hwb_bundle *b, const hwb__pickle *pk,
                              const hwb__pval *object, size_t file_size) {
    budget limit = {(uint64_t)file_size * MAX_GROWTH + GROWTH_FLOOR};
    const hwb__pval *state = find_state(object, 0);
    if (!state) return add_loose(ctx, b, pk, &limit, object);
    size_t skip = 0;
    static const char *const prefixes[] = {"module.", "_orig_mod.", "module."};
    for (int i = 0; i < 3; i++)
        if (all_start_with(state, prefixes[i], skip)) skip += strlen(prefixes[i]);
    if (object != state) HWB_TRY(add_dict(ctx, b, pk, &limit, object, false, 0));
    return add_dict(ctx, b, pk, &limit, state, true, skip);
}

/* ---- zip ---------------------------------------------------------------------------------- */

/* The entry <folder>/data.pkl, or -1. */
static int64_t find_object(const hwb__zip *z) {
    for (int64_t i = 0; i < hwb__zip_count(z); i++) {
        const char *slash = strchr(hwb__zip_name(z, i), '/');
        if (slash && strcmp(slash, "/data.pkl") == 0) return i;
    }
    return -1;
}

bool hwb__is_torch_zip(const hwb__zip *z) {
    return find_object(z) >= 0;
}

/* An entry beside data.pkl: index, or -1. */
static int64_t find_beside(const hwb__zip *z, const char *object, const char *sub,
                           const char *name) {
    size_t folder = (size_t)(strchr(object, '/') - object) + 1;
    size_t size = folder + strlen(sub) + strlen(name) + 1;
    char *path = malloc(size);
    if (!path) return -1;
    snprintf(path, size, "%.*s%s%s", (int)folder, object, sub, name);
    int64_t i = hwb__zip_find(z, path);
    free(path);
    return i;
}

static hwb_status check_byteorder(hwb_ctx *ctx, hwb__zip *z, const char *object) {
    int64_t i = find_beside(z, object, "", "byteorder");
    if (i < 0) return HWB_OK; /* older writers: the machine's, in practice little */
    const uint8_t *text;
    size_t n;
    void *owned;
    HWB_TRY(hwb__zip_read(ctx, z, i, &text, &n, &owned));
    bool little = n == 6 && memcmp(text, "little", 6) == 0;
    hwb_free(owned);
    return little ? HWB_OK : hwb_fail(ctx, HWB_EUNSUPPORTED, "is not little-endian");
}

static hwb_status load_storage(hwb_ctx *ctx, hwb__zip *z, const char *object, hwb__pstorage *s) {
    int64_t want, i = find_beside(z, object, "data/", s->key);
    size_t n = 0;
    char key[60];
    hwb__printable(key, sizeof key, s->key, strlen(s->key));
    if (i < 0) return hwb_fail(ctx, HWB_EFORMAT, "storage %s is missing", key);
    HWB_TRY(hwb__zip_read(ctx, z, i, &s->bytes, &n, &s->owned));
    if (!hwb_mul_size(s->count, (int64_t)hwb__elem_size(s->elem), &want) || (uint64_t)want != n)
        return hwb_fail(ctx, HWB_EFORMAT, "storage %s: %zu bytes for %lld elements of %s", key, n,
                        (long long)s->count, hwb__elem_text(s->elem));
    return HWB_OK;
}

static hwb_status read_zip(hwb_ctx *ctx, hwb_bundle *b, hwb__zip *z, hwb__pickle *pk,
                           const uint8_t *p, size_t n, const char *object) {
    hwb__pval *v = NULL;
    size_t used = 0;
    HWB_TRY(check_byteorder(ctx, z, object));
    HWB_TRY(hwb__pickle_run(ctx, pk, &v, p, n, &used));
    for (int64_t i = 0; i < pk->storage_count; i++)
        HWB_TRY(load_storage(ctx, z, object, &pk->storages[i]));
    HWB_TRY(fill_bundle(ctx, b, pk, v, hwb__zip_bytes(z)));
    return hwb_bundle_set_meta(ctx, b, "hwb.format", "pytorch");
}

hwb_status hwb__read_torch_zip(hwb_ctx *ctx, hwb_bundle *b, hwb__zip *z) {
    int64_t at = find_object(z);
    const char *object = hwb__zip_name(z, at);
    if (find_beside(z, object, "", "constants.pkl") >= 0)
        return hwb_fail(ctx, HWB_EUNSUPPORTED,
                        "is a TorchScript archive; save the model's state_dict() instead");
    const uint8_t *p = NULL;
    size_t n = 0;
    void *owned = NULL;
    HWB_TRY(hwb__zip_read(ctx, z, at, &p, &n, &owned));
    hwb__pickle pk = {0};
    hwb_status status = read_zip(ctx, b, z, &pk, p, n, object);
    hwb__pickle_done(&pk);
    hwb_free(owned);
    return status;
}

/* ---- legacy -------------------------------------------------------------------------------- */

/* PROTO 2, LONG1 of ten bytes, STOP: 0x1950A86A20F9469CFC6C, little-endian */
static const uint8_t legacy_magic[] = {0x8A, 0x0A, 0x6C, 0xFC, 0x9C, 0x46, 0xF9,
                                       0x20, 0x6A, 0xA8, 0x50, 0x19, 0x2E};
enum { LEGACY_MAGIC = sizeof legacy_magic, LEGACY_VERSION = 1001 };

bool hwb__is_torch_legacy(const uint8_t *p, size_t n) {
    return n >= 2 + LEGACY_MAGIC && p[0] == 0x80 && memcmp(p + 2, legacy_magic, LEGACY_MAGIC) == 0;
}

/* The bytes of the storage named by `key` begin at p[*at]; move past them. */
static hwb_status take_storage(hwb_ctx *ctx, hwb__pickle *pk, const hwb__pval *key,
                               const uint8_t *p, size_t n, size_t *at) {
    int64_t id = is_text(key) ? hwb__strmap_get(&pk->storage_by_key, key->text.s, key->text.n) : -1;
    if (id < 0) return hwb_fail(ctx, HWB_EFORMAT, "a storage that no tensor refers to");
    hwb__pstorage *s = &pk->storages[id];
    if (n - *at < 8) return hwb_fail(ctx, HWB_EFORMAT, "cut short at byte %zu of the storages", n);
    uint64_t count = hwb__le64(p + *at);
    *at += 8;
    if (count != (uint64_t)s->count)
        return hwb_fail(ctx, HWB_EFORMAT, "byte %zu: a storage of %llu elements, expected %lld",
                        *at - 8, (unsigned long long)count, (long long)s->count);
    size_t size = hwb__elem_size(s->elem);
    if (count > (n - *at) / size)
        return hwb_fail(ctx, HWB_EFORMAT, "cut short: a storage at byte %zu reaches past the end",
                        *at);
    s->bytes = p + *at;
    *at += count * size;
    return HWB_OK;
}

static hwb_status read_legacy(hwb_ctx *ctx, hwb_bundle *b, hwb__pickle *pk, const uint8_t *p,
                              size_t n) {
    hwb__pval *part[5] = {0}; /* magic, version, system, object, keys */
    size_t at = 0;
    for (int i = 0; i < 5; i++) {
        size_t used = 0;
        hwb_status status = hwb__pickle_run(ctx, pk, &part[i], p + at, n - at, &used);
        if (status != HWB_OK && at > 0) hwb_fail_in(ctx, status, "from byte %zu", at);
        HWB_TRY(status);
        at += used;
    }
    if (part[1]->kind != HWB__P_INT || part[1]->i != LEGACY_VERSION)
        return hwb_fail(ctx, HWB_EUNSUPPORTED, "is a PyTorch file of an unknown version");
    const hwb__pval *little =
        part[2]->kind == HWB__P_DICT ? dict_get(part[2], "little_endian") : NULL;
    if (!little || little->kind != HWB__P_BOOL || !little->i)
        return hwb_fail(ctx, HWB_EUNSUPPORTED, "is not little-endian");
    if (part[4]->kind != HWB__P_LIST) return hwb_fail(ctx, HWB_EFORMAT, "has no list of storages");
    for (int64_t i = 0; i < part[4]->seq.n; i++)
        HWB_TRY(take_storage(ctx, pk, part[4]->seq.item[i], p, n, &at));
    for (int64_t i = 0; i < pk->storage_count; i++)
        if (!pk->storages[i].bytes && pk->storages[i].count > 0)
            return hwb_fail(ctx, HWB_EFORMAT, "a storage is missing from the file");
    HWB_TRY(fill_bundle(ctx, b, pk, part[3], n));
    return hwb_bundle_set_meta(ctx, b, "hwb.format", "pytorch-legacy");
}

hwb_status hwb__read_torch_legacy(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n) {
    hwb__pickle pk = {0};
    hwb_status status = read_legacy(ctx, b, &pk, p, n);
    hwb__pickle_done(&pk);
    return status;
}

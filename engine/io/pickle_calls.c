/*
 * pickle_calls.c: the names a pickle may use, and what "calling" them builds.
 *
 * Nothing here runs foreign code: torch._utils._rebuild_tensor_v2(storage,
 * offset, size, stride, …) becomes a value that records those numbers, an
 * OrderedDict becomes a plain dict, a numpy scalar becomes a number.
 */
#include "io/io_i.h"
#include "io/pickle_i.h"

#include <stdlib.h>
#include <string.h>

typedef enum call {
    CALL_DICT,      /* OrderedDict(), OrderedDict([(k, v), …]) */
    CALL_TENSOR,    /* _rebuild_tensor(storage, offset, size, stride, …) */
    CALL_PARAMETER, /* _rebuild_parameter(tensor, …) -> the tensor */
    CALL_SIZE,      /* torch.Size((…)) -> the tuple */
    CALL_INERT,     /* torch.device("cuda:0"): allowed, ignored */
    CALL_ENCODE,    /* _codecs.encode(text, "latin1") -> bytes, as protocol 2 writes them */
    CALL_NPDTYPE,   /* numpy.dtype("f8", …) */
    CALL_NPSCALAR,  /* numpy.core.multiarray.scalar(dtype, bytes) -> a number */
    CALL_STORAGE,   /* a storage class: named in persistent ids, never called */
    CALL_NAME,      /* a bare name such as torch.float32: never called */
} call;

static const struct {
    const char *module, *name;
    call call;
    hwb__elem elem;
} globals[] = {
    {"collections", "OrderedDict", CALL_DICT, 0},
    {"torch._utils", "_rebuild_tensor", CALL_TENSOR, 0},
    {"torch._utils", "_rebuild_tensor_v2", CALL_TENSOR, 0},
    {"torch._utils", "_rebuild_parameter", CALL_PARAMETER, 0},
    {"torch", "Size", CALL_SIZE, 0},
    {"torch", "device", CALL_INERT, 0},
    {"_codecs", "encode", CALL_ENCODE, 0},
    {"numpy", "dtype", CALL_NPDTYPE, 0},
    {"numpy.core.multiarray", "scalar", CALL_NPSCALAR, 0},
    {"numpy._core.multiarray", "scalar", CALL_NPSCALAR, 0},
    {"torch", "DoubleStorage", CALL_STORAGE, HWB__ELEM_F64},
    {"torch", "FloatStorage", CALL_STORAGE, HWB__ELEM_F32},
    {"torch", "HalfStorage", CALL_STORAGE, HWB__ELEM_F16},
    {"torch", "BFloat16Storage", CALL_STORAGE, HWB__ELEM_BF16},
    {"torch", "LongStorage", CALL_STORAGE, HWB__ELEM_I64},
    {"torch", "IntStorage", CALL_STORAGE, HWB__ELEM_I32},
    {"torch", "ShortStorage", CALL_STORAGE, HWB__ELEM_I16},
    {"torch", "CharStorage", CALL_STORAGE, HWB__ELEM_I8},
    {"torch", "ByteStorage", CALL_STORAGE, HWB__ELEM_U8},
    {"torch", "BoolStorage", CALL_STORAGE, HWB__ELEM_BOOL},
    {"torch", "float64", CALL_NAME, 0},
    {"torch", "float32", CALL_NAME, 0},
    {"torch", "float16", CALL_NAME, 0},
    {"torch", "bfloat16", CALL_NAME, 0},
    {"torch", "int64", CALL_NAME, 0},
    {"torch", "int32", CALL_NAME, 0},
    {"torch", "int16", CALL_NAME, 0},
    {"torch", "int8", CALL_NAME, 0},
    {"torch", "uint8", CALL_NAME, 0},
    {"torch", "bool", CALL_NAME, 0},
};
enum { GLOBALS = sizeof globals / sizeof *globals };

static bool same(const char *text, size_t n, const char *want) {
    return strlen(want) == n && memcmp(text, want, n) == 0;
}

hwb_status hwb__pickle_global(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const char *module,
                              size_t module_size, const char *name, size_t name_size) {
    for (int i = 0; i < GLOBALS; i++) {
        bool cuda = globals[i].call == CALL_STORAGE && same(module, module_size, "torch.cuda");
        if (!cuda && !same(module, module_size, globals[i].module)) continue;
        if (!same(name, name_size, globals[i].name)) continue;
        hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_GLOBAL);
        if (!v) return pk->why;
        v->i = i;
        *out = v;
        return HWB_OK;
    }
    char m[80], n[80];
    return hwb_fail(ctx, HWB_EFORMAT, "pickle wants %s.%s; refused",
                    hwb__printable(m, sizeof m, module, module_size),
                    hwb__printable(n, sizeof n, name, name_size));
}

/* ---- tensors --------------------------------------------------------------------------- */

static hwb_status odd(hwb_ctx *ctx, const char *what) {
    return hwb_fail(ctx, HWB_EFORMAT, "pickle: %s", what);
}

static bool read_sizes(const hwb__pval *v, int *ndim, int64_t out[HWB_MAX_DIMS]) {
    if (v->kind != HWB__P_TUPLE && v->kind != HWB__P_LIST) return false;
    if (v->seq.n > HWB_MAX_DIMS) return false;
    for (int64_t i = 0; i < v->seq.n; i++) {
        const hwb__pval *d = v->seq.item[i];
        if (d->kind != HWB__P_INT || d->i < 0) return false;
        out[i] = d->i;
    }
    *ndim = (int)v->seq.n;
    return true;
}

static hwb_status call_tensor(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out,
                              const hwb__pval *args) {
    if (args->seq.n < 4) return odd(ctx, "a tensor with fewer than four arguments");
    hwb__pval **a = args->seq.item;
    int strides = 0;
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_TENSOR);
    if (!v) return pk->why;
    if (a[0]->kind != HWB__P_STORAGE) return odd(ctx, "a tensor without a storage");
    if (a[1]->kind != HWB__P_INT || a[1]->i < 0) return odd(ctx, "a tensor with a bad offset");
    if (!read_sizes(a[2], &v->tensor.ndim, v->tensor.size) ||
        !read_sizes(a[3], &strides, v->tensor.stride) || strides != v->tensor.ndim)
        return odd(ctx, "a tensor with a bad size or stride (or more than 8 dimensions)");
    v->tensor.storage = a[0];
    v->tensor.offset = a[1]->i;
    *out = v;
    return HWB_OK;
}

/* OrderedDict([[k, v], …]), as Python 2 pickled it. */
static hwb_status call_dict(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const hwb__pval *args) {
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_DICT);
    if (!v) return pk->why;
    const hwb__pval *pairs = args->seq.n ? args->seq.item[0] : NULL;
    if (pairs && pairs->kind != HWB__P_LIST) return odd(ctx, "an OrderedDict of no list");
    for (int64_t i = 0; pairs && i < pairs->seq.n; i++) {
        const hwb__pval *pair = pairs->seq.item[i];
        if ((pair->kind != HWB__P_TUPLE && pair->kind != HWB__P_LIST) || pair->seq.n != 2)
            return odd(ctx, "an OrderedDict of no pairs");
        HWB_TRY(hwb__pickle_append(ctx, pk, v, pair->seq.item[0]));
        HWB_TRY(hwb__pickle_append(ctx, pk, v, pair->seq.item[1]));
    }
    *out = v;
    return HWB_OK;
}

/* ---- numpy scalars ------------------------------------------------------------------------ */

/* UTF-8 of code points up to 255 -> one byte each. */
static hwb_status call_encode(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out,
                              const hwb__pval *args) {
    if (args->seq.n != 2 || args->seq.item[0]->kind != HWB__P_TEXT ||
        !hwb__ptext_is(args->seq.item[1], "latin1"))
        return odd(ctx, "_codecs.encode of something else than latin1 text");
    const hwb__pval *text = args->seq.item[0];
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_TEXT);
    char *bytes = v ? hwb__pickle_alloc(ctx, pk, text->text.n + 1) : NULL;
    if (!bytes) return pk->why;
    size_t n = 0;
    for (size_t i = 0; i < text->text.n; i++) {
        unsigned c = (unsigned char)text->text.s[i];
        if (c == 0xC2 || c == 0xC3) {
            if (++i == text->text.n) return odd(ctx, "text that is no latin1");
            c = (c & 3) << 6 | ((unsigned char)text->text.s[i] & 0x3F);
        } else if (c >= 0x80) {
            return odd(ctx, "text that is no latin1");
        }
        bytes[n++] = (char)c;
    }
    v->text.s = bytes;
    v->text.n = n;
    *out = v;
    return HWB_OK;
}

static hwb_status call_npdtype(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out,
                               const hwb__pval *args) {
    if (args->seq.n < 1 || args->seq.item[0]->kind != HWB__P_TEXT)
        return odd(ctx, "a numpy dtype without a name");
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_NPDTYPE);
    if (!v) return pk->why;
    v->text = args->seq.item[0]->text;
    *out = v;
    return HWB_OK;
}

static hwb_status call_npscalar(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out,
                                const hwb__pval *args) {
    if (args->seq.n != 2 || args->seq.item[0]->kind != HWB__P_NPDTYPE ||
        args->seq.item[1]->kind != HWB__P_TEXT || args->seq.item[0]->text.n != 2)
        return odd(ctx, "a numpy scalar of an unknown kind");
    const char *type = args->seq.item[0]->text.s;
    const hwb__pval *bytes = args->seq.item[1];
    size_t width = (size_t)(type[1] - '0');
    hwb__pval *v = hwb__pickle_new(ctx, pk, type[0] == 'f' ? HWB__P_FLOAT : HWB__P_INT);
    if (!v) return pk->why;
    if (!strchr("fiub", type[0]) || (width != 1 && width != 2 && width != 4 && width != 8) ||
        bytes->text.n != width)
        return odd(ctx, "a numpy scalar of an unknown kind");
    uint64_t bits = 0;
    memcpy(&bits, bytes->text.s, width);
    float narrow;
    memcpy(&narrow, &bits, sizeof narrow);
    int shift = 64 - 8 * (int)width;
    if (type[0] == 'f' && width == 8) memcpy(&v->f, &bits, sizeof bits);
    else if (type[0] == 'f' && width == 4) v->f = (double)narrow;
    else if (type[0] == 'f' && width == 2) v->f = (double)hwb__half_to_float((uint16_t)bits);
    else if (type[0] == 'i') v->i = (int64_t)(bits << shift) >> shift;
    else v->i = (int64_t)bits;
    *out = v;
    return HWB_OK;
}

/* ---- opcodes REDUCE, BUILD, BINPERSID ------------------------------------------------------- */

hwb_status hwb__pickle_reduce(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const hwb__pval *fn,
                              const hwb__pval *args) {
    if (fn->kind != HWB__P_GLOBAL) return odd(ctx, "calls something that is no function; refused");
    if (args->kind != HWB__P_TUPLE) return odd(ctx, "a call without an argument tuple; refused");
    switch (globals[fn->i].call) {
    case CALL_DICT: return call_dict(ctx, pk, out, args);
    case CALL_TENSOR: return call_tensor(ctx, pk, out, args);
    case CALL_ENCODE: return call_encode(ctx, pk, out, args);
    case CALL_NPDTYPE: return call_npdtype(ctx, pk, out, args);
    case CALL_NPSCALAR: return call_npscalar(ctx, pk, out, args);
    case CALL_PARAMETER:
        if (args->seq.n < 1 || args->seq.item[0]->kind != HWB__P_TENSOR)
            return odd(ctx, "a parameter without a tensor");
        *out = args->seq.item[0];
        return HWB_OK;
    case CALL_SIZE:
        if (args->seq.n != 1 || args->seq.item[0]->kind != HWB__P_TUPLE)
            return odd(ctx, "a torch.Size of no tuple");
        *out = args->seq.item[0];
        return HWB_OK;
    case CALL_INERT: *out = hwb__pickle_new(ctx, pk, HWB__P_INERT); return *out ? HWB_OK : pk->why;
    default:
        return hwb_fail(ctx, HWB_EFORMAT, "pickle calls %s.%s, which is no function here; refused",
                        globals[fn->i].module, globals[fn->i].name);
    }
}

/* object.__setstate__(state): the attributes of a state dict ("_metadata") are
 * of no use here; a numpy dtype's state holds its byte order. */
hwb_status hwb__pickle_build(hwb_ctx *ctx, hwb__pval *object, const hwb__pval *state) {
    if (object->kind == HWB__P_DICT || object->kind == HWB__P_TENSOR) return HWB_OK;
    if (object->kind != HWB__P_NPDTYPE || state->kind != HWB__P_TUPLE || state->seq.n < 2)
        return odd(ctx, "sets the state of something that has none; refused");
    const hwb__pval *order = state->seq.item[1];
    if (hwb__ptext_is(order, "<") || hwb__ptext_is(order, "|") || hwb__ptext_is(order, "="))
        return HWB_OK;
    return odd(ctx, "a numpy scalar that is not little-endian");
}

static hwb_status add_storage(hwb_ctx *ctx, hwb__pickle *pk, int64_t *id, const hwb__pval *key,
                              hwb__elem elem, int64_t count) {
    int64_t at = hwb__strmap_get(&pk->storage_by_key, key->text.s, key->text.n);
    if (at >= 0) {
        if (pk->storages[at].elem != elem || pk->storages[at].count != count)
            return odd(ctx, "one storage with two types or sizes");
        *id = at;
        return HWB_OK;
    }
    if (pk->storage_count == pk->storage_room) {
        int64_t room = pk->storage_room ? 2 * pk->storage_room : 64;
        hwb__pstorage *bigger = realloc(pk->storages, (size_t)room * sizeof *bigger);
        if (!bigger) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for a pickle");
        pk->storages = bigger;
        pk->storage_room = room;
    }
    char *text = hwb__pickle_alloc(ctx, pk, key->text.n + 1);
    if (!text) return pk->why;
    memcpy(text, key->text.s, key->text.n);
    text[key->text.n] = '\0';
    HWB_TRY(hwb__strmap_put(ctx, &pk->storage_by_key, text, key->text.n, pk->storage_count));
    pk->storages[pk->storage_count] = (hwb__pstorage){.key = text, .elem = elem, .count = count};
    *id = pk->storage_count++;
    return HWB_OK;
}

/* ("storage", type, key, location, count[, None or (view key, first, count)]):
 * the location ("cuda:0") does not matter. */
hwb_status hwb__pickle_persid(hwb_ctx *ctx, hwb__pickle *pk, hwb__pval **out, const hwb__pval *id) {
    if (id->kind != HWB__P_TUPLE || id->seq.n < 5 || !hwb__ptext_is(id->seq.item[0], "storage"))
        return odd(ctx, "a persistent id that is no storage; refused");
    hwb__pval **a = id->seq.item;
    if (a[1]->kind != HWB__P_GLOBAL || globals[a[1]->i].call != CALL_STORAGE)
        return odd(ctx, "a storage of an unknown type");
    if (a[2]->kind != HWB__P_TEXT || memchr(a[2]->text.s, 0, a[2]->text.n) || a[2]->text.n > 200)
        return odd(ctx, "a storage whose key is no text");
    if (a[4]->kind != HWB__P_INT || a[4]->i < 0) return odd(ctx, "a storage with a bad size");
    hwb__pval *v = hwb__pickle_new(ctx, pk, HWB__P_STORAGE);
    if (!v) return pk->why;
    v->storage.elem = globals[a[1]->i].elem;
    v->storage.count = a[4]->i;
    HWB_TRY(add_storage(ctx, pk, &v->storage.id, a[2], v->storage.elem, a[4]->i));
    if (id->seq.n > 5 && a[5]->kind != HWB__P_NONE) { /* a view into that storage */
        const hwb__pval *view = a[5];
        if (view->kind != HWB__P_TUPLE || view->seq.n != 3 ||
            view->seq.item[1]->kind != HWB__P_INT || view->seq.item[2]->kind != HWB__P_INT)
            return odd(ctx, "a bad storage view");
        v->storage.first = view->seq.item[1]->i;
        v->storage.count = view->seq.item[2]->i;
        if (v->storage.first < 0 || v->storage.count < 0 || v->storage.first > a[4]->i ||
            v->storage.count > a[4]->i - v->storage.first)
            return odd(ctx, "a storage view outside its storage");
    }
    *out = v;
    return HWB_OK;
}

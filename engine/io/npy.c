/*
 * npy.c: numpy arrays (.npy) and archives of them (.npz).
 *
 *     93 'NUMPY' major minor   u16 (v1) or u32 (v2, v3) length
 *     {'descr': '<f4', 'fortran_order': False, 'shape': (2, 3), }   spaces, \n
 *     data
 *
 * The header is a Python dict literal; numpy always writes these three keys,
 * and only the shapes of text that it writes are read.  Object arrays (pickles)
 * are refused.
 */
#include "io/elem_i.h"
#include "io/io_i.h"
#include "io/zip_i.h"

#include <stdlib.h>
#include <string.h>

enum { MAX_HEADER = 65536 };

bool hwb__is_npy(const uint8_t *p, size_t n) {
    return n >= 10 && memcmp(p, "\x93NUMPY", 6) == 0;
}

/* What follows 'key': in the header, blanks skipped; NULL when absent. */
static const char *value_of(const char *header, const char *key) {
    const char *p = strstr(header, key);
    if (!p) return NULL;
    p += strlen(key);
    while (*p == ' ') p++;
    if (*p++ != ':') return NULL;
    while (*p == ' ') p++;
    return p;
}

static hwb_status parse_descr(hwb_ctx *ctx, hwb__array *a, const char *p) {
    static const struct {
        const char *text;
        hwb__elem elem;
    } types[] = {{"f8", HWB__ELEM_F64}, {"f4", HWB__ELEM_F32}, {"f2", HWB__ELEM_F16},
                 {"i8", HWB__ELEM_I64}, {"i4", HWB__ELEM_I32}, {"i2", HWB__ELEM_I16},
                 {"i1", HWB__ELEM_I8},  {"u4", HWB__ELEM_U32}, {"u2", HWB__ELEM_U16},
                 {"u1", HWB__ELEM_U8},  {"b1", HWB__ELEM_BOOL}};
    if (p && p[0] == '\'' && strchr("<>|=", p[1]) && p[1]) {
        a->swap = p[1] == '>';
        for (size_t i = 0; i < sizeof types / sizeof *types; i++) {
            if (strncmp(p + 2, types[i].text, 2) != 0 || p[4] != '\'') continue;
            a->elem = types[i].elem;
            return HWB_OK;
        }
    }
    char text[20];
    return hwb_fail(ctx, HWB_EUNSUPPORTED, "npy: element type %s",
                    p ? hwb__printable(text, sizeof text, p, strcspn(p, ",}")) : "missing");
}

/* (), (3,), (2, 3) */
static hwb_status parse_shape(hwb_ctx *ctx, hwb_shape *s, const char *p) {
    if (!p || *p++ != '(') return hwb_fail(ctx, HWB_EFORMAT, "npy: no shape");
    for (s->ndim = 0;;) {
        while (*p == ' ' || *p == ',') p++;
        if (*p == ')') return HWB_OK;
        char *end;
        long long d = *p >= '0' && *p <= '9' ? strtoll(p, &end, 10) : -1;
        if (d < 0 || d == INT64_MAX || s->ndim == HWB_MAX_DIMS)
            return hwb_fail(ctx, HWB_EFORMAT, "npy: a bad shape (or more than 8 dimensions)");
        s->dim[s->ndim++] = d;
        p = *end == 'L' ? end + 1 : end; /* Python 2 wrote 3L */
    }
}

static void fortran_strides(hwb__array *a) {
    int64_t stride = 1;
    for (int i = 0; i < a->shape.ndim; i++) {
        a->stride[i] = stride;
        if (__builtin_mul_overflow(stride, a->shape.dim[i], &stride)) stride = 0;
    }
}

static hwb_status parse_header(hwb_ctx *ctx, hwb__array *a, const char *header) {
    HWB_TRY(parse_descr(ctx, a, value_of(header, "'descr'")));
    HWB_TRY(parse_shape(ctx, &a->shape, value_of(header, "'shape'")));
    const char *order = value_of(header, "'fortran_order'");
    if (!order) return hwb_fail(ctx, HWB_EFORMAT, "npy: no fortran_order");
    if (strncmp(order, "True", 4) == 0) fortran_strides(a);
    else hwb__array_dense(a);
    return HWB_OK;
}

hwb_status hwb__read_npy(hwb_ctx *ctx, hwb_bundle *b, const char *name, const uint8_t *p,
                         size_t n) {
    if (!hwb__is_npy(p, n)) return hwb_fail(ctx, HWB_EFORMAT, "is no npy array");
    size_t start = p[6] == 1 ? 10 : 12;
    if (n < start) return hwb_fail(ctx, HWB_EFORMAT, "npy: cut short");
    size_t size = p[6] == 1 ? hwb__le16(p + 8) : hwb__le32(p + 8);
    if (p[6] < 1 || p[6] > 3 || size > MAX_HEADER)
        return hwb_fail(ctx, HWB_EFORMAT, "npy: a bad version or header length");
    if (size > n - start) return hwb_fail(ctx, HWB_EFORMAT, "npy: cut short");
    char *header = strndup((const char *)p + start, size);
    if (!header) return hwb_fail(ctx, HWB_ENOMEM, "out of memory for an npy header");
    hwb__array a = {.bytes = p + start + size};
    hwb_status status = parse_header(ctx, &a, header);
    free(header);
    HWB_TRY(status);
    a.count = (int64_t)((n - start - size) / hwb__elem_size(a.elem));
    hwb_tensor *t = NULL;
    HWB_TRY(hwb__array_tensor(ctx, &t, &a));
    status = hwb_bundle_add(ctx, b, name, t);
    hwb_tensor_release(t);
    return status == HWB_OK ? hwb_bundle_set_meta(ctx, b, "hwb.format", "npy") : status;
}

hwb_status hwb__read_npz(hwb_ctx *ctx, hwb_bundle *b, hwb__zip *z) {
    for (int64_t i = 0; i < hwb__zip_count(z); i++) {
        const char *entry = hwb__zip_name(z, i);
        size_t size = strlen(entry);
        if (size < 5 || strcmp(entry + size - 4, ".npy") != 0) continue;
        const uint8_t *p;
        size_t n;
        void *owned;
        HWB_TRY(hwb__zip_read(ctx, z, i, &p, &n, &owned));
        char *name = strndup(entry, size - 4);
        hwb_status status = name ? hwb__read_npy(ctx, b, name, p, n)
                                 : hwb_fail(ctx, HWB_ENOMEM, "out of memory for a name");
        free(name);
        hwb_free(owned);
        if (status != HWB_OK) {
            char text[100];
            return hwb_fail_in(ctx, status, "%s", hwb__printable(text, sizeof text, entry, size));
        }
    }
    if (hwb_bundle_count(b) == 0)
        return hwb_fail(ctx, HWB_EFORMAT,
                        "is a zip archive, but holds neither a PyTorch checkpoint nor npy arrays");
    return hwb_bundle_set_meta(ctx, b, "hwb.format", "npz");
}

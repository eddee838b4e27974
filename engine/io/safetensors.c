/*
 * safetensors.c: reading and writing the native checkpoint format.
 *
 *     u64 LE  N            length of the header, at most 100 MB
 *     N bytes JSON         {"__metadata__": {"key": "text", …},
 *                           "name": {"dtype": "F32", "shape": [2,3],
 *                                    "data_offsets": [begin, end]}, …}, spaces
 *     bytes                the tensors, row-major, little-endian
 *
 * Offsets count from the end of the header.  As in the reference reader the
 * tensors must tile the data exactly: no holes, no overlaps, no tail, and no
 * key may appear twice.
 */
#include "io/elem_i.h"
#include "io/io_i.h"

#include <jansson.h>
#include <stdlib.h>
#include <string.h>

#define MAX_HEADER ((uint64_t)100 * 1000 * 1000)

typedef struct span {
    uint64_t begin, end;
    const char *name;
} span;

bool hwb__is_safetensors(const uint8_t *p, size_t n) {
    return n >= 9 && p[8] == '{' && hwb__le64(p) <= MAX_HEADER;
}

/* ---- reading ---------------------------------------------------------------------- */

static hwb_status bad(hwb_ctx *ctx, const char *name, const char *what) {
    char text[100];
    return hwb_fail(ctx, HWB_EFORMAT, "tensor \"%s\": %s",
                    hwb__printable(text, sizeof text, name, strlen(name)), what);
}

static bool size_at(const json_t *array, size_t i, uint64_t *out) {
    const json_t *v = json_array_get(array, i);
    if (!json_is_integer(v) || json_integer_value(v) < 0) return false;
    *out = (uint64_t)json_integer_value(v);
    return true;
}

static hwb_status parse_shape(hwb_ctx *ctx, hwb_shape *s, const char *name, const json_t *shape) {
    if (!json_is_array(shape)) return bad(ctx, name, "no shape");
    size_t ndim = json_array_size(shape);
    if (ndim > HWB_MAX_DIMS) return bad(ctx, name, "more than 8 dimensions");
    s->ndim = (int)ndim;
    for (size_t i = 0; i < ndim; i++) {
        uint64_t d;
        if (!size_at(shape, i, &d)) return bad(ctx, name, "a dimension that is no size");
        s->dim[i] = (int64_t)d;
    }
    return HWB_OK;
}

/* shape * element size, or false when it overflows */
static bool bytes_of(const hwb_shape *s, hwb__elem e, uint64_t *out) {
    int64_t bytes = (int64_t)hwb__elem_size(e);
    bool empty = false;
    for (int i = 0; i < s->ndim; i++) {
        if (s->dim[i] == 0) empty = true;
        else if (!hwb_mul_size(bytes, s->dim[i], &bytes)) return false;
    }
    *out = empty ? 0 : (uint64_t)bytes;
    return true;
}

static hwb_status read_tensor(hwb_ctx *ctx, hwb_bundle *b, const char *name, const json_t *entry,
                              const uint8_t *data, size_t n, span *where) {
    if (!json_is_object(entry)) return bad(ctx, name, "its entry is no object");
    const char *dtype = json_string_value(json_object_get(entry, "dtype"));
    hwb__array a = {0};
    if (!dtype) return bad(ctx, name, "no dtype");
    if (!hwb__elem_parse(dtype, &a.elem)) {
        char text[40];
        hwb__printable(text, sizeof text, dtype, strlen(dtype));
        hwb_fail(ctx, HWB_EUNSUPPORTED, "dtype %s", text);
        return hwb_fail_in(ctx, HWB_EUNSUPPORTED, "tensor \"%.100s\"", name);
    }
    HWB_TRY(parse_shape(ctx, &a.shape, name, json_object_get(entry, "shape")));
    const json_t *offsets = json_object_get(entry, "data_offsets");
    if (json_array_size(offsets) != 2 || !size_at(offsets, 0, &where->begin) ||
        !size_at(offsets, 1, &where->end) || where->begin > where->end)
        return bad(ctx, name, "bad data_offsets");
    where->name = name;
    uint64_t bytes;
    if (where->end > n) return bad(ctx, name, "its data reach past the end of the file");
    if (!bytes_of(&a.shape, a.elem, &bytes) || bytes != where->end - where->begin)
        return bad(ctx, name, "its data_offsets do not fit its shape and dtype");
    a.bytes = data + where->begin;
    a.count = (int64_t)(bytes / hwb__elem_size(a.elem));
    hwb__array_dense(&a);
    hwb_tensor *t = NULL;
    hwb_status status = hwb__array_tensor(ctx, &t, &a);
    if (status == HWB_OK) status = hwb_bundle_add(ctx, b, name, t);
    hwb_tensor_release(t);
    return status == HWB_OK ? HWB_OK : hwb_fail_in(ctx, status, "tensor \"%.100s\"", name);
}

static hwb_status read_metadata(hwb_ctx *ctx, hwb_bundle *b, json_t *object) {
    if (!json_is_object(object)) return hwb_fail(ctx, HWB_EFORMAT, "__metadata__ is no object");
    const char *key;
    json_t *value;
    json_object_foreach(object, key, value) {
        if (!json_is_string(value))
            return hwb_fail(ctx, HWB_EFORMAT, "__metadata__ holds something that is no text");
        HWB_TRY(hwb_bundle_set_meta(ctx, b, key, json_string_value(value)));
    }
    return HWB_OK;
}

static int by_begin(const void *a, const void *b) {
    const span *x = a, *y = b;
    if (x->begin != y->begin) return x->begin < y->begin ? -1 : 1;
    return x->end < y->end ? -1 : x->end > y->end;
}

static hwb_status check_tiling(hwb_ctx *ctx, span *spans, size_t count, size_t n) {
    qsort(spans, count, sizeof *spans, by_begin);
    uint64_t at = 0;
    for (size_t i = 0; i < count; i++) {
        if (spans[i].begin != at)
            return bad(ctx, spans[i].name,
                       spans[i].begin < at ? "its data overlap another's"
                                           : "a hole before its data");
        at = spans[i].end;
    }
    if (at != n)
        return hwb_fail(ctx, HWB_EFORMAT, "%llu bytes follow the last tensor",
                        (unsigned long long)(n - at));
    return HWB_OK;
}

static hwb_status read_header(hwb_ctx *ctx, hwb_bundle *b, json_t *header, span *spans,
                              const uint8_t *data, size_t n) {
    size_t count = 0;
    const char *name;
    json_t *entry;
    json_object_foreach(header, name, entry) {
        if (strcmp(name, "__metadata__") == 0) HWB_TRY(read_metadata(ctx, b, entry));
        else HWB_TRY(read_tensor(ctx, b, name, entry, data, n, &spans[count++]));
    }
    HWB_TRY(check_tiling(ctx, spans, count, n));
    return hwb_bundle_set_meta(ctx, b, "hwb.format", "safetensors");
}

hwb_status hwb__read_safetensors(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n) {
    uint64_t size = hwb__le64(p);
    if (size > n - 8)
        return hwb_fail(ctx, HWB_EFORMAT, "cut short: a header of %llu bytes in a file of %zu",
                        (unsigned long long)size, n);
    json_error_t error;
    json_t *header = json_loadb((const char *)p + 8, size, JSON_REJECT_DUPLICATES, &error);
    if (!json_is_object(header)) {
        char text[120];
        hwb__printable(text, sizeof text, error.text, strlen(error.text));
        json_decref(header);
        return hwb_fail(ctx, HWB_EFORMAT, "header, byte %d: %s", error.position + 8,
                        header ? "no object" : text);
    }
    span *spans = calloc(json_object_size(header) + 1, sizeof *spans);
    hwb_status status = spans ? read_header(ctx, b, header, spans, p + 8 + size, n - 8 - size)
                              : hwb_fail(ctx, HWB_ENOMEM, "out of memory for a header");
    free(spans);
    json_decref(header);
    return status;
}

/* ---- writing ------------------------------------------------------------------------ */

static hwb_status no_json(hwb_ctx *ctx) {
    return hwb_fail(ctx, HWB_ENOMEM, "a name that is no UTF-8, or out of memory, in a header");
}

static json_t *entry_json(const hwb_tensor *t, uint64_t begin) {
    const hwb_shape *s = hwb_tensor_shape(t);
    json_t *shape = json_array();
    for (int i = 0; i < s->ndim; i++) json_array_append_new(shape, json_integer(s->dim[i]));
    return json_pack("{s:s, s:o, s:[I,I]}", "dtype",
                     hwb__elem_text(hwb__elem_of(hwb_tensor_dtype(t))), "shape", shape,
                     "data_offsets", (json_int_t)begin, (json_int_t)(begin + hwb_tensor_bytes(t)));
}

static hwb_status add_metadata(hwb_ctx *ctx, const hwb_bundle *b, json_t *header) {
    json_t *meta = json_object();
    if (!meta || json_object_set_new(header, "__metadata__", meta) != 0) return no_json(ctx);
    for (int64_t i = 0; i < hwb_bundle_meta_count(b); i++) {
        const char *key, *value;
        hwb_bundle_meta_at(b, i, &key, &value);
        if (strcmp(key, "hwb.format") == 0) continue; /* of the file it came from */
        if (json_object_set_new(meta, key, json_string(value)) != 0) return no_json(ctx);
    }
    if (!hwb_bundle_meta(b, "format") &&
        json_object_set_new(meta, "format", json_string("pt")) != 0)
        return no_json(ctx);
    return HWB_OK;
}

/* Data lie in the order of element size, widest first (then bundle order), so
 * that every tensor is aligned to its elements without holes. */
static const size_t widths[] = {8, 4, 1};
enum { WIDTHS = sizeof widths / sizeof *widths };

static bool has_width(const hwb_tensor *t, int w) {
    return hwb_dtype_size(hwb_tensor_dtype(t)) == widths[w];
}

/* The header as text, padded with spaces to a multiple of 8; free() it. */
static hwb_status make_header(hwb_ctx *ctx, const hwb_bundle *b, json_t *header, char **text,
                              size_t *size) {
    int64_t count = hwb_bundle_count(b);
    HWB_TRY(add_metadata(ctx, b, header));
    for (int64_t i = 0; i < count; i++) /* the keys keep the bundle's order */
        if (json_object_set_new(header, hwb_bundle_name(b, i), json_null()) != 0)
            return no_json(ctx);
    uint64_t at = 0;
    for (int w = 0; w < WIDTHS; w++) {
        for (int64_t i = 0; i < count; i++) {
            const hwb_tensor *t = hwb_bundle_at(b, i);
            if (!has_width(t, w)) continue;
            if (json_object_set_new(header, hwb_bundle_name(b, i), entry_json(t, at)) != 0)
                return no_json(ctx);
            at += hwb_tensor_bytes(t);
        }
    }
    char *json = json_dumps(header, JSON_COMPACT);
    if (!json) return no_json(ctx);
    size_t used = strlen(json), padded = (used + 7) / 8 * 8;
    char *grown = realloc(json, padded + 1);
    if (!grown) {
        free(json);
        return no_json(ctx);
    }
    memset(grown + used, ' ', padded - used);
    grown[padded] = '\0';
    *text = grown;
    *size = padded;
    return HWB_OK;
}

static hwb_status write_data(hwb_ctx *ctx, const hwb_bundle *b, hwb_file_out *f) {
    for (int w = 0; w < WIDTHS; w++) {
        for (int64_t i = 0; i < hwb_bundle_count(b); i++) {
            hwb_tensor *dense = NULL;
            if (!has_width(hwb_bundle_at(b, i), w)) continue;
            HWB_TRY(hwb_tensor_contiguous(ctx, &dense, hwb_bundle_at(b, i)));
            hwb_status status =
                hwb_io_write(ctx, f, hwb_tensor_data(dense), hwb_tensor_bytes(dense));
            hwb_tensor_release(dense);
            HWB_TRY(status);
        }
    }
    return HWB_OK;
}

static hwb_status write_all(hwb_ctx *ctx, const hwb_bundle *b, const char *path, const char *header,
                            uint64_t size) {
    hwb_file_out *f = NULL;
    HWB_TRY(hwb_io_begin(ctx, &f, path));
    hwb_status status = hwb_io_write(ctx, f, &size, sizeof size);
    if (status == HWB_OK) status = hwb_io_write(ctx, f, header, size);
    if (status == HWB_OK) status = write_data(ctx, b, f);
    if (status != HWB_OK) {
        hwb_io_abandon(f);
        return status;
    }
    return hwb_io_commit(ctx, f);
}

hwb_status hwb_io_save_safetensors(hwb_ctx *ctx, const hwb_bundle *b, const char *path) {
    if (hwb_bundle_get(b, "__metadata__"))
        return hwb_fail(ctx, HWB_EARG, "%s: a tensor cannot be named __metadata__", path);
    json_t *header = json_object();
    char *text = NULL;
    size_t size = 0;
    if (!header) return no_json(ctx);
    hwb_status status = make_header(ctx, b, header, &text, &size);
    json_decref(header);
    if (status != HWB_OK) return hwb_fail_in(ctx, status, "%s", path);
    status = write_all(ctx, b, path, text, size);
    free(text);
    return status;
}

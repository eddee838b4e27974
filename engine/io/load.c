/*
 * load.c: hwb_io_load: looks at the first bytes and calls the reader.
 *
 *     {8-byte length}{           safetensors (0.1 to 100 MB of JSON follow)
 *     PK\3\4                     zip: PyTorch since 1.6, or npz
 *     80 xx 8a 0a 6c fc 9c …     PyTorch before 1.6
 *     93 NUMPY                   npy
 */
#include "io/io_i.h"
#include "io/zip_i.h"

#include <string.h>

const char *hwb__printable(char *buf, size_t size, const char *text, size_t n) {
    size_t keep = n < size - 1 ? n : size - 1;
    for (size_t i = 0; i < keep; i++) {
        unsigned char c = (unsigned char)text[i];
        buf[i] = c >= 0x20 && c < 0x7F ? (char)c : '?';
    }
    buf[keep] = '\0';
    return buf;
}

static hwb_status read_zip(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n) {
    hwb__zip *z = NULL;
    HWB_TRY(hwb__zip_open(ctx, &z, p, n));
    hwb_status status =
        hwb__is_torch_zip(z) ? hwb__read_torch_zip(ctx, b, z) : hwb__read_npz(ctx, b, z);
    hwb__zip_close(z);
    return status;
}

static hwb_status read_any(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n) {
    if (n == 0) return hwb_fail(ctx, HWB_EFORMAT, "is empty");
    if (n >= 4 && memcmp(p, "PK\3\4", 4) == 0) return read_zip(ctx, b, p, n);
    if (hwb__is_torch_legacy(p, n)) return hwb__read_torch_legacy(ctx, b, p, n);
    if (hwb__is_npy(p, n)) return hwb__read_npy(ctx, b, "array", p, n);
    if (hwb__is_safetensors(p, n)) return hwb__read_safetensors(ctx, b, p, n);
    if (p[0] == 0x80)
        return hwb_fail(ctx, HWB_EFORMAT, "is a pickle, but not one that torch.save wrote");
    return hwb_fail(ctx, HWB_EFORMAT,
                    "is no checkpoint: not safetensors, PyTorch, npy or npz (or it is damaged)");
}

hwb_status hwb_io_load_memory(hwb_ctx *ctx, hwb_bundle **out, const void *bytes, size_t n) {
    hwb_bundle *b = NULL;
    HWB_TRY(hwb_bundle_new(ctx, &b));
    hwb_status status = read_any(ctx, b, bytes, n);
    if (status != HWB_OK) {
        hwb_bundle_free(b);
        return status;
    }
    *out = b;
    return HWB_OK;
}

hwb_status hwb_io_load(hwb_ctx *ctx, hwb_bundle **out, const char *path) {
    uint8_t *bytes = NULL;
    size_t n = 0;
    HWB_TRY(hwb_io_read_file(ctx, &bytes, &n, path, 0));
    hwb_status status = hwb_io_load_memory(ctx, out, bytes, n);
    hwb_free(bytes);
    return status == HWB_OK ? HWB_OK : hwb_fail_in(ctx, status, "%s", path);
}

/*
 * io_i.h: the readers behind hwb_io_load.  Each appends what it finds to an
 * empty bundle; the texts of its failures do not name the file.
 */
#ifndef HWB_IO_IO_I_H
#define HWB_IO_IO_I_H

#include "io/io.h"

typedef struct hwb__zip hwb__zip;

bool hwb__is_safetensors(const uint8_t *p, size_t n);
hwb_status hwb__read_safetensors(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n);

bool hwb__is_torch_legacy(const uint8_t *p, size_t n);
hwb_status hwb__read_torch_legacy(hwb_ctx *ctx, hwb_bundle *b, const uint8_t *p, size_t n);
/* the archive holds <folder>/data.pkl */
bool hwb__is_torch_zip(const hwb__zip *z);
hwb_status hwb__read_torch_zip(hwb_ctx *ctx, hwb_bundle *b, hwb__zip *z);

bool hwb__is_npy(const uint8_t *p, size_t n);
hwb_status hwb__read_npy(hwb_ctx *ctx, hwb_bundle *b, const char *name, const uint8_t *p, size_t n);
hwb_status hwb__read_npz(hwb_ctx *ctx, hwb_bundle *b, hwb__zip *z);

bool hwb__is_jpeg(const uint8_t *p, size_t n);
hwb_status hwb__read_jpeg(hwb_ctx *ctx, hwb_tensor **out, const uint8_t *p, size_t n);
bool hwb__is_png(const uint8_t *p, size_t n);
hwb_status hwb__read_png(hwb_ctx *ctx, hwb_tensor **out, const uint8_t *p, size_t n);

/* Foreign text made fit for a message: at most size-1 bytes, '?' for anything
 * that is no printable ASCII.  Returns buf. */
const char *hwb__printable(char *buf, size_t size, const char *text, size_t n);

static inline uint16_t hwb__le16(const uint8_t *p) {
    return (uint16_t)(p[0] | p[1] << 8);
}

static inline uint32_t hwb__le32(const uint8_t *p) {
    return (uint32_t)hwb__le16(p) | (uint32_t)hwb__le16(p + 2) << 16;
}

static inline uint64_t hwb__le64(const uint8_t *p) {
    return (uint64_t)hwb__le32(p) | (uint64_t)hwb__le32(p + 4) << 32;
}

#endif

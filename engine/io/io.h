/*
 * io: files.  Named-tensor bundles (checkpoints), images, and plain bytes.
 *
 *     hwb_bundle *b;
 *     HWB_TRY(hwb_io_load(ctx, &b, "resnet20.th"));
 *     hwb_tensor *w = hwb_bundle_get(b, "conv1.weight");   -- borrowed
 *     …
 *     hwb_bundle_free(b);
 *
 * What a file is, its first bytes decide, never its name.  Everything read is
 * treated as hostile: sizes are checked against the bytes that are there
 * before memory is asked for, and a pickle is never executed (see pickle_i.h).
 * Failures name the file: HWB_EIO when the system refuses, HWB_EFORMAT when
 * the bytes do, HWB_EUNSUPPORTED when they are fine but not for us.
 */
#ifndef HWB_IO_H
#define HWB_IO_H

#include "tensor/tensor.h"

/* ---- bundles: ordered, named tensors and text metadata ---------------------- */

typedef struct hwb_bundle hwb_bundle;

HWB_API hwb_status hwb_bundle_new(hwb_ctx *ctx, hwb_bundle **out); /* owned by the caller */
HWB_API void hwb_bundle_free(hwb_bundle *b);                       /* NULL is accepted */

/* Append; keeps its own reference to t.  HWB_EARG when the name is taken. */
HWB_API hwb_status hwb_bundle_add(hwb_ctx *ctx, hwb_bundle *b, const char *name, hwb_tensor *t);
HWB_API int64_t hwb_bundle_count(const hwb_bundle *b);
HWB_API hwb_tensor *hwb_bundle_get(const hwb_bundle *b, const char *name); /* borrowed, or NULL */
HWB_API int64_t hwb_bundle_find(const hwb_bundle *b, const char *name);    /* index, or -1 */
HWB_API const char *hwb_bundle_name(const hwb_bundle *b, int64_t i);       /* borrowed */
HWB_API hwb_tensor *hwb_bundle_at(const hwb_bundle *b, int64_t i);         /* borrowed */

/* Text beside the tensors ("epoch" = "90"); setting a key again replaces it. */
HWB_API hwb_status hwb_bundle_set_meta(hwb_ctx *ctx, hwb_bundle *b, const char *key,
                                       const char *value);
HWB_API const char *hwb_bundle_meta(const hwb_bundle *b, const char *key); /* borrowed, or NULL */
HWB_API int64_t hwb_bundle_meta_count(const hwb_bundle *b);
HWB_API void hwb_bundle_meta_at(const hwb_bundle *b, int64_t i, const char **key,
                                const char **value); /* borrowed */

/* ---- checkpoints -------------------------------------------------------------- */

/* Reads safetensors, PyTorch files (zip, and the older bare pickles), .npy and
 * .npz.  Of a PyTorch file: the state dict, be it the top level or under
 * state_dict, model_state_dict, model or net; a "module." prefix that all
 * names share is dropped; numbers and text beside it become metadata.  The
 * metadata key "hwb.format" says what was read.
 *   float16, bfloat16 -> float32;  int8, int16, uint16 -> int32;  uint32 -> int64
 * Tensors are dense copies; the file is closed when the call returns. */
HWB_API hwb_status hwb_io_load(hwb_ctx *ctx, hwb_bundle **out, const char *path);
HWB_API hwb_status hwb_io_load_memory(hwb_ctx *ctx, hwb_bundle **out, const void *bytes, size_t n);

/* Atomic; readable by every safetensors library.  Metadata go to __metadata__,
 * with "format": "pt" added where absent, which loaders of that world expect. */
HWB_API hwb_status hwb_io_save_safetensors(hwb_ctx *ctx, const hwb_bundle *b, const char *path);

/* ---- plain files ----------------------------------------------------------------- */

/* The whole of a regular file of at most `max` bytes (0 = no limit); release
 * with hwb_free.  One NUL follows the n bytes. */
HWB_API hwb_status hwb_io_read_file(hwb_ctx *ctx, uint8_t **out, size_t *n, const char *path,
                                    size_t max);

/* A file that appears under its name complete or not at all: written beside
 * the target as <path>.tmp-…, synced, renamed.  A symbolic link is followed;
 * a device or directory is refused. */
typedef struct hwb_file_out hwb_file_out;
HWB_API hwb_status hwb_io_begin(hwb_ctx *ctx, hwb_file_out **out, const char *path);
HWB_API hwb_status hwb_io_write(hwb_ctx *ctx, hwb_file_out *f, const void *bytes, size_t n);
HWB_API hwb_status hwb_io_commit(hwb_ctx *ctx, hwb_file_out *f); /* takes f, also on failure */
HWB_API void hwb_io_abandon(hwb_file_out *f); /* takes f, leaves nothing; NULL is accepted */

HWB_API hwb_status hwb_io_write_file_atomic(hwb_ctx *ctx, const char *path, const void *bytes,
                                            size_t n);

/* ---- images: uint8 [H,W,3], RGB ------------------------------------------------------ */

/* JPEG (gray, YCbCr, CMYK, YCCK) or PNG (any kind; alpha is dropped, 16 bits
 * become 8).  At most HWB_IMAGE_MAX_PIXELS. */
#define HWB_IMAGE_MAX_PIXELS ((int64_t)1 << 27)
HWB_API hwb_status hwb_image_load(hwb_ctx *ctx, hwb_tensor **out, const char *path);
HWB_API hwb_status hwb_image_load_memory(hwb_ctx *ctx, hwb_tensor **out, const void *bytes,
                                         size_t n);
/* image u8[H,W,3] or gray u8[H,W]; atomic */
HWB_API hwb_status hwb_image_save_png(hwb_ctx *ctx, const hwb_tensor *image, const char *path);

/* u8[H,W,3] -> new ref u8[h,w,3]; triangle filter whose support grows with the
 * reduction, in two passes with 8-bit results: PIL's BILINEAR, torchvision's
 * antialiased resize. */
HWB_API hwb_status hwb_image_resize(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *image, int64_t h,
                                    int64_t w);
/* u8[H,W,3] -> new ref u8[size,size,3]: the shorter side is resized to `shorter`
 * (0 = left as it is), then the centre is cut out; black where the image is
 * smaller.  The arithmetic of torchvision's Resize + CenterCrop. */
HWB_API hwb_status hwb_image_resize_crop(hwb_ctx *ctx, hwb_tensor **out, hwb_tensor *image,
                                         int64_t shorter, int64_t size);

#endif

/*
 * fuzz_jpeg.c: a whole image, and its middle resized.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hwb_ctx *ctx = fuzz_begin();
    hwb_tensor *image = NULL, *cut = NULL;
    hwb_status status = hwb_image_load_memory(ctx, &image, data, size);
    if (status == HWB_OK && hwb_tensor_numel(image) < 1 << 20)
        status = hwb_image_resize_crop(ctx, &cut, image, 9, 7);
    hwb_tensor_release(image);
    hwb_tensor_release(cut);
    return fuzz_end(ctx, status);
}

/*
 * fuzz_cifar.c: rows of CIFAR-10 or CIFAR-100 (even or odd first byte).
 */
#include "fuzz.h"

#include "data/data.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    if (size == 0) return 0;
    hwb_ctx *ctx = fuzz_begin();
    hwb_dataset *ds = NULL;
    hwb_tensor *x = NULL, *y = NULL;
    hwb_status status =
        hwb_dataset_cifar_memory(ctx, &ds, data[0] % 2 ? 100 : 10, data + 1, size - 1);
    if (status == HWB_OK) status = hwb_dataset_batch(ctx, ds, 0, hwb_dataset_count(ds), &x, &y);
    if (status == HWB_OK && hwb_tensor_numel(y) != hwb_dataset_count(ds)) abort();
    hwb_tensor_release(x);
    hwb_tensor_release(y);
    hwb_dataset_release(ds);
    return fuzz_end(ctx, status);
}

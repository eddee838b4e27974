/*
 * fuzz_folder_index.c: the index of an image folder.  Its checksum, which no mutation
 * would hit, is put right first.
 */
#include "fuzz.h"

#include "data/data_i.h"

#include <zlib.h>

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    hwb_ctx *ctx = fuzz_begin();
    hwb__index x = {.bytes = hwb_alloc(ctx, size + sizeof(uint32_t))};
    if (!x.bytes) return fuzz_end(ctx, HWB_ENOMEM);
    uint32_t sum = (uint32_t)crc32_z(0, data, size);
    if (size) memcpy(x.bytes, data, size);
    memcpy(x.bytes + size, &sum, sizeof sum);
    if (hwb__index_parse(&x, size + sizeof sum)) {
        volatile size_t letters = 0;
        for (int64_t k = 0; k < x.n; k++) {
            const char *at = x.classes[k].names;
            for (int64_t i = 0; i < x.classes[k].n; i++) {
                letters = letters + strlen(at);
                at += strlen(at) + 1;
            }
            hwb__index_find(&x, x.classes[k].name);
        }
    }
    hwb__index_free(&x);
    return fuzz_end(ctx, HWB_OK);
}

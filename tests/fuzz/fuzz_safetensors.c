/*
 * fuzz_safetensors.c: a whole file through hwb_io_load_memory.
 */
#include "fuzz.h"

int LLVMFuzzerTestOneInput(const uint8_t *data, size_t size) {
    return fuzz_load(data, size);
}

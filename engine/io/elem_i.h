/*
 * elem_i.h: element types as files have them, and their way into tensors.
 *
 * A file may hold types that the engine does not: they become the nearest one
 * that keeps every value (f16, bf16 -> f32; i8, i16, u16 -> i32; u32 -> i64).
 */
#ifndef HWB_IO_ELEM_I_H
#define HWB_IO_ELEM_I_H

#include "tensor/tensor.h"

_Static_assert(__BYTE_ORDER__ == __ORDER_LITTLE_ENDIAN__, "files are read in place");

/* name, bytes, dtype of the tensor made from it, safetensors' name */
#define HWB__ELEM_MAP(XX)                                                                          \
    XX(F64, 8, HWB_F64, "F64")                                                                     \
    XX(F32, 4, HWB_F32, "F32")                                                                     \
    XX(F16, 2, HWB_F32, "F16")                                                                     \
    XX(BF16, 2, HWB_F32, "BF16")                                                                   \
    XX(I64, 8, HWB_I64, "I64")                                                                     \
    XX(I32, 4, HWB_I32, "I32")                                                                     \
    XX(I16, 2, HWB_I32, "I16")                                                                     \
    XX(I8, 1, HWB_I32, "I8")                                                                       \
    XX(U32, 4, HWB_I64, "U32")                                                                     \
    XX(U16, 2, HWB_I32, "U16")                                                                     \
    XX(U8, 1, HWB_U8, "U8")                                                                        \
    XX(BOOL, 1, HWB_BOOL, "BOOL")

typedef enum hwb__elem {
#define XX(name, bytes, dtype, text) HWB__ELEM_##name,
    HWB__ELEM_MAP(XX)
#undef XX
        HWB__ELEM_COUNT
} hwb__elem;

size_t hwb__elem_size(hwb__elem e);
hwb_dtype hwb__elem_dtype(hwb__elem e);
const char *hwb__elem_text(hwb__elem e);
bool hwb__elem_parse(const char *text, hwb__elem *out); /* safetensors' names */
hwb__elem hwb__elem_of(hwb_dtype dtype);                /* the one that holds it exactly */

float hwb__half_to_float(uint16_t h);     /* IEEE binary16, subnormals included */
float hwb__bfloat16_to_float(uint16_t h); /* upper half of a binary32 */

/* A strided array inside foreign bytes; strides and offset count elements. */
typedef struct hwb__array {
    hwb__elem elem;
    const uint8_t *bytes;
    int64_t count; /* elements that are there */
    int64_t offset;
    hwb_shape shape;
    int64_t stride[HWB_MAX_DIMS];
    bool swap; /* big-endian */
} hwb__array;

void hwb__array_dense(hwb__array *a); /* row-major strides for its shape */
/* Checks shape, strides and bounds, then copies: new ref, dense. */
hwb_status hwb__array_tensor(hwb_ctx *ctx, hwb_tensor **out, const hwb__array *a);

#endif

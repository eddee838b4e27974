/*
 * cuda_prelude.c: what every kernel's source begins with: names of types, and the
 * element functions of ops.def where CUDA has none of that meaning.
 *
 * f_bf16 rounds to nearest, ties to even, or widens.
 * R is the type of a group's registers.  A NaN operand makes every result but a
 * comparison's NaN, as on the other backends.  Conversions to integers truncate
 * toward zero and saturate; NaN gives 0.  f_fault records an index out of range, the
 * first to come (cuda_fault.c).
 */
#include "cuda_i.h"

const char hwb__cuda_prelude[] =
    "typedef unsigned char u8;\n"
    "typedef unsigned short u16;\n"
    "typedef unsigned int u32;\n"
    "typedef long long i64;\n"
    "typedef unsigned long long u64;\n"
    "template <class T, int V> struct alignas(sizeof(T) * V) pack { T at[V]; };\n"
    "__device__ inline u16 f_bf16(float a) {\n"
    "    const u32 b = __float_as_uint(a);\n"
    "    return (u16)(a != a ? 0x7fff : (b + 0x7fff + (b >> 16 & 1)) >> 16); }\n"
    "__device__ inline float f_bf16(u16 a) { return __uint_as_float((u32)a << 16); }\n"
    "template <class R> __device__ inline R f_relu(R a) { return a <= (R)0 ? (R)0 : a; }\n"
    "template <class R> __device__ inline R f_max(R a, R b) { return a > b || a != a ? a : b; }\n"
    "template <class R> __device__ inline R f_min(R a, R b) { return a < b || a != a ? a : b; }\n"
    "template <class R> __device__ inline R f_sign(R a) {\n"
    "    return a > (R)0 ? (R)1 : a < (R)0 ? (R)-1 : a; }\n"
    "__device__ inline float f_sigmoid(float a) {\n"
    "    float e = expf(-fabsf(a));\n"
    "    return a >= 0 ? 1.0f / (1.0f + e) : a < 0 ? e / (1.0f + e) : a; }\n"
    "__device__ inline double f_sigmoid(double a) {\n"
    "    double e = exp(-fabs(a));\n"
    "    return a >= 0 ? 1.0 / (1.0 + e) : a < 0 ? e / (1.0 + e) : a; }\n"
    "__device__ inline void f_fault(void *fault, i64 id, i64 place, i64 value) {\n"
    "    u64 *f = (u64 *)fault;\n"
    "    if (atomicCAS(f, 0ull, (u64)place + 1) == 0) { f[1] = (u64)value; f[2] = (u64)id; } }\n"
    "__device__ inline i64 f_whole(double x, double low, double high, i64 least, i64 most) {\n"
    "    return x >= high ? most : x <= low ? least : x == x ? (i64)x : 0; }\n";

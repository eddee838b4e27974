/* cpu_vec_avx2.c: the pointwise loops with AVX2 and FMA; the base loops elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#endif
#define VEC_NAME  "avx2"
#define VEC_TABLE hwb__vec_avx2
#include "backend/cpu/cpu_vec_body.h"

/* cpu_vec_avx512.c: the pointwise loops with AVX-512; the base loops elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#endif
#define VEC_NAME  "avx512"
#define VEC_TABLE hwb__vec_avx512
#include "backend/cpu/cpu_vec_body.h"

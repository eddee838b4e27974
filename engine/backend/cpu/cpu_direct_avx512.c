/* cpu_direct_avx512.c: convolutions as matrix products with AVX-512; empty elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#define DIRECT_NAME  "avx512"
#define DIRECT_TABLE hwb__direct_avx512
#define DIRECT_LANES 16
#include "backend/cpu/cpu_direct_body.h"
#endif

/* cpu_direct_avx2.c: convolutions as matrix products with AVX2 and FMA; empty elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define DIRECT_NAME  "avx2"
#define DIRECT_TABLE hwb__direct_avx2
#define DIRECT_LANES 8
#include "backend/cpu/cpu_direct_body.h"
#endif

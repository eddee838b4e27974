/* cpu_wino_avx2.c: Winograd's convolution with AVX2 and FMA; empty elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx2,fma")
#define WINO_NAME  "avx2"
#define WINO_TABLE hwb__wino_avx2
#define WINO_LANES 8
#define WINO_ROWS  4
#include "backend/cpu/cpu_wino_body.h"
#endif

/* cpu_wino_avx512.c: Winograd's convolution with AVX-512; empty elsewhere. */
#if defined(__x86_64__)
#pragma GCC target("avx512f,avx512bw,avx512dq,avx512vl,fma,prefer-vector-width=512")
#define WINO_NAME  "avx512"
#define WINO_TABLE hwb__wino_avx512
#define WINO_LANES 16
#define WINO_ROWS  8
#include "backend/cpu/cpu_wino_body.h"
#endif

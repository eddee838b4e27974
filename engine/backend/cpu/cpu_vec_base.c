/* cpu_vec_base.c: the pointwise loops for any machine. */
#define VEC_NAME  "base"
#define VEC_TABLE hwb__vec_base
#include "backend/cpu/cpu_vec_body.h"

/*
 * cpu_vec_loops.h: the loops of one precision; included by cpu_vec_body.h with
 * T, FN, MATH (ours or libm) and LIBM defined.
 */
#define LOOP(expr)                                                                                 \
    do {                                                                                           \
        _Pragma("omp simd") for (int64_t i = 0; i < n; i++) dst[i] = (expr);                       \
    } while (0);                                                                                   \
    break

static void FN(op)(int op, int64_t n, T *dst, const T *a, const T *b, const T *c) {
    switch (op) {
    case HWB_OP_NEG: LOOP(-a[i]);
    case HWB_OP_EXP: LOOP(MATH(exp)(a[i]));
    case HWB_OP_LOG: LOOP(MATH(log)(a[i]));
    case HWB_OP_LOG1P: LOOP(MATH(log1p)(a[i]));
    case HWB_OP_SQRT: LOOP(LIBM(sqrt)(a[i]));
    case HWB_OP_TANH: LOOP(MATH(tanh)(a[i]));
    case HWB_OP_SIGMOID: LOOP(MATH(sigmoid)(a[i]));
    case HWB_OP_ERF: LOOP(MATH(erf)(a[i]));
    case HWB_OP_SIN: LOOP(LIBM(sin)(a[i]));
    case HWB_OP_COS: LOOP(LIBM(cos)(a[i]));
    case HWB_OP_ADD: LOOP(a[i] + b[i]);
    case HWB_OP_SUB: LOOP(a[i] - b[i]);
    case HWB_OP_MUL: LOOP(a[i] * b[i]);
    case HWB_OP_DIV: LOOP(a[i] / b[i]);
    case HWB_OP_POW: LOOP(LIBM(pow)(a[i], b[i]));
    case HWB_OP_RELU: LOOP(a[i] <= 0 ? 0 : a[i]);
    case HWB_OP_ABS: LOOP(LIBM(fabs)(a[i]));
    case HWB_OP_MAXIMUM: LOOP(a[i] > b[i] || a[i] != a[i] ? a[i] : b[i]);
    case HWB_OP_MINIMUM: LOOP(a[i] < b[i] || a[i] != a[i] ? a[i] : b[i]);
    case HWB_OP_LT: LOOP(a[i] < b[i] ? 1 : 0);
    case HWB_OP_LE: LOOP(a[i] <= b[i] ? 1 : 0);
    case HWB_OP_EQ: LOOP(a[i] == b[i] ? 1 : 0);
    case HWB_OP_NE: LOOP(a[i] != b[i] ? 1 : 0);
    case HWB_OP_WHERE: LOOP(a[i] != 0 ? b[i] : c[i]);
    case HWB_OP_SIGN: LOOP(a[i] > 0 ? 1 : a[i] < 0 ? -1 : a[i]);
    case HWB_OP_FLOOR: LOOP(LIBM(floor)(a[i]));
    case HWB_OP_ROUND:
    case HWB_OP_ROUND_ST: LOOP(LIBM(rint)(a[i]));
    case HWB_OP_STOP:
    case HWB_OP_CAST: LOOP(a[i]);
    case VEC_MUL_ADD: LOOP(a[i] * b[i] + c[i]);
    case VEC_MUL_SUB: LOOP(a[i] * b[i] - c[i]);
    case VEC_SUB_PROD: LOOP(c[i] - a[i] * b[i]);
    case VEC_ADD_ADD: LOOP((a[i] + b[i]) + c[i]);
    case VEC_ADD_MUL: LOOP((a[i] + b[i]) * c[i]);
    case VEC_SUB_MUL: LOOP((a[i] - b[i]) * c[i]);
    case VEC_CHOOSE: LOOP(((const uint8_t *)a)[i] ? b[i] : c[i]);
    default: break; /* supports refuses the rest */
    }
}
#undef LOOP

static void FN(from_bool)(int64_t n, T *dst, const uint8_t *a) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = (T)a[i];
}

static void FN(to_bool)(int64_t n, uint8_t *dst, const T *a) {
#pragma omp simd
    for (int64_t i = 0; i < n; i++) dst[i] = a[i] != 0;
}

/* 32 running sums hide the latency of the additions; the same on every machine. */
static double FN(sum)(int64_t n, const T *a) {
    double lane[32] = {0};
    int64_t i = 0;
    for (; i + 32 <= n; i += 32) {
#pragma omp simd
        for (int j = 0; j < 32; j++) lane[j] += (double)a[i + j];
    }
    for (int j = 0; i < n; i++, j++) lane[j] += (double)a[i];
    for (int width = 16; width > 0; width /= 2)
        for (int j = 0; j < width; j++) lane[j] += lane[j + width];
    return lane[0];
}

static void FN(rows)(int64_t rows, int64_t n, double *acc, const T *a) {
    int64_t j = 0;
    for (; n <= 64 && j + 16 <= n; j += 16) { /* 16 columns stay in registers */
        double lane[16];
        memcpy(lane, acc + j, sizeof lane);
        for (int64_t i = 0; i < rows; i++) {
            const T *row = a + i * n + j;
#pragma omp simd
            for (int k = 0; k < 16; k++) lane[k] += (double)row[k];
        }
        memcpy(acc + j, lane, sizeof lane);
    }
    if (j == n) return;
    for (int64_t i = 0; i < rows; i++) { /* long rows: in the order they lie */
#pragma omp simd
        for (int64_t k = j; k < n; k++) acc[k] += (double)a[i * n + k];
    }
}

/*
 * test_emulator_dnn.c: the cuDNN stand-in against the definition, by way of the
 * three inner products that must be one: <y, conv(x, w)> = <bwd_data(y, w), x>
 * = <bwd_filter(x, y), w>; a case by hand for which way the filter lies; and
 * what is refused.
 */
#include "testing.h"

#include <cuda_runtime_api.h>
#include <cudnn.h>

#define OK(call) assert_int_equal((call), 0)

typedef struct rig {
    cudnnHandle_t h;
    cudnnTensorDescriptor_t x, y;
    cudnnFilterDescriptor_t w;
    cudnnConvolutionDescriptor_t v;
    int nx, nw, ny;
    float *host[3], *device[3], *space; /* x, w, y */
    size_t bytes;
} rig;

typedef struct shape {
    int n, c, h, w, k, r, s, groups, pad[2], stride[2], dilation[2];
} shape;

static int out_size(const shape *s, int in, int filter, int i) {
    return 1 + (in + 2 * s->pad[i] - ((filter - 1) * s->dilation[i] + 1)) / s->stride[i];
}

static void rig_make(rig *r, const shape *s, cudnnTensorFormat_t format, cudnnMathType_t math) {
    int oh = out_size(s, s->h, s->r, 0), ow = out_size(s, s->w, s->s, 1);
    OK(cudnnCreate(&r->h));
    OK(cudnnCreateTensorDescriptor(&r->x));
    OK(cudnnCreateTensorDescriptor(&r->y));
    OK(cudnnCreateFilterDescriptor(&r->w));
    OK(cudnnCreateConvolutionDescriptor(&r->v));
    OK(cudnnSetTensor4dDescriptor(r->x, format, CUDNN_DATA_FLOAT, s->n, s->c, s->h, s->w));
    OK(cudnnSetTensor4dDescriptor(r->y, format, CUDNN_DATA_FLOAT, s->n, s->k, oh, ow));
    OK(cudnnSetFilter4dDescriptor(r->w, CUDNN_DATA_FLOAT, format, s->k, s->c / s->groups, s->r,
                                  s->s));
    OK(cudnnSetConvolution2dDescriptor(r->v, s->pad[0], s->pad[1], s->stride[0], s->stride[1],
                                       s->dilation[0], s->dilation[1], CUDNN_CROSS_CORRELATION,
                                       CUDNN_DATA_FLOAT));
    OK(cudnnSetConvolutionGroupCount(r->v, s->groups));
    OK(cudnnSetConvolutionMathType(r->v, math));
    r->nx = s->n * s->c * s->h * s->w;
    r->nw = s->k * s->c / s->groups * s->r * s->s;
    r->ny = s->n * s->k * oh * ow;
    r->bytes = (size_t)r->ny * 4;
    OK(cudaMalloc((void **)&r->space, r->bytes));
    int count[3] = {r->nx, r->nw, r->ny};
    for (int i = 0; i < 3; i++) {
        hwb_rng rng = {3, (uint64_t)i};
        r->host[i] = calloc((size_t)count[i], 4);
        for (int j = 0; j < count[i]; j++) r->host[i][j] = (float)hwb_rng_normal(rng, (uint64_t)j);
        OK(cudaMalloc((void **)&r->device[i], (size_t)count[i] * 4));
    }
}

static void put_all(rig *r) {
    int count[3] = {r->nx, r->nw, r->ny};
    for (int i = 0; i < 3; i++)
        OK(cudaMemcpyAsync(r->device[i], r->host[i], (size_t)count[i] * 4, cudaMemcpyHostToDevice,
                           NULL));
}

static void rig_drop(rig *r) {
    for (int i = 0; i < 3; i++) {
        OK(cudaFree(r->device[i]));
        free(r->host[i]);
    }
    OK(cudaFree(r->space));
    OK(cudnnDestroyConvolutionDescriptor(r->v));
    OK(cudnnDestroyFilterDescriptor(r->w));
    OK(cudnnDestroyTensorDescriptor(r->x));
    OK(cudnnDestroyTensorDescriptor(r->y));
    OK(cudnnDestroy(r->h));
}

/* What the direction gives on fresh operands. */
static float *forward(rig *r, float beta) {
    const float one = 1;
    put_all(r);
    OK(cudnnConvolutionForward(r->h, &one, r->x, r->device[0], r->w, r->device[1], r->v,
                               CUDNN_CONVOLUTION_FWD_ALGO_IMPLICIT_PRECOMP_GEMM, r->space, r->bytes,
                               &beta, r->y, r->device[2]));
    float *out = calloc((size_t)r->ny, 4);
    OK(cudaMemcpyAsync(out, r->device[2], (size_t)r->ny * 4, cudaMemcpyDeviceToHost, NULL));
    return out;
}

static float *backward_data(rig *r) {
    const float one = 1, zero = 0;
    put_all(r);
    OK(cudnnConvolutionBackwardData(r->h, &one, r->w, r->device[1], r->y, r->device[2], r->v,
                                    CUDNN_CONVOLUTION_BWD_DATA_ALGO_1, r->space, r->bytes, &zero,
                                    r->x, r->device[0]));
    float *out = calloc((size_t)r->nx, 4);
    OK(cudaMemcpyAsync(out, r->device[0], (size_t)r->nx * 4, cudaMemcpyDeviceToHost, NULL));
    return out;
}

static float *backward_filter(rig *r) {
    const float one = 1, zero = 0;
    put_all(r);
    OK(cudnnConvolutionBackwardFilter(r->h, &one, r->x, r->device[0], r->y, r->device[2], r->v,
                                      CUDNN_CONVOLUTION_BWD_FILTER_ALGO_1, r->space, r->bytes,
                                      &zero, r->w, r->device[1]));
    float *out = calloc((size_t)r->nw, 4);
    OK(cudaMemcpyAsync(out, r->device[1], (size_t)r->nw * 4, cudaMemcpyDeviceToHost, NULL));
    return out;
}

static double dot_free(float *a, const float *b, int n) {
    double sum = 0;
    for (int i = 0; i < n; i++) sum += (double)a[i] * b[i];
    free(a);
    return sum;
}

static void test_adjoint(void **state) {
    (void)state;
    static const shape shapes[] = {
        {2, 3, 7, 6, 4, 3, 2, 1, {1, 0}, {1, 1}, {1, 1}},
        {1, 4, 9, 8, 6, 3, 3, 2, {2, 1}, {2, 3}, {2, 1}},
    };
    for (int i = 0; i < 4; i++) {
        rig r;
        rig_make(&r, &shapes[i / 2], i % 2 ? CUDNN_TENSOR_NCHW : CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
        double a = dot_free(forward(&r, 0), r.host[2], r.ny);
        double b = dot_free(backward_data(&r), r.host[0], r.nx);
        double c = dot_free(backward_filter(&r), r.host[1], r.nw);
        assert_near(b, a, 1e-5);
        assert_near(c, a, 1e-5);
        rig_drop(&r);
    }
}

/* 1x3 image [1 2 4], filter [1 10 100]: no flip, and beta adds. */
static void test_by_hand(void **state) {
    (void)state;
    static const shape s = {1, 1, 1, 3, 1, 1, 3, 1, {0, 1}, {1, 1}, {1, 1}};
    static const float x[] = {1, 2, 4}, w[] = {1, 10, 100}, y[] = {1, 1, 1};
    static const float want[] = {210, 421, 42};
    rig r;
    rig_make(&r, &s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    memcpy(r.host[0], x, sizeof x);
    memcpy(r.host[1], w, sizeof w);
    memcpy(r.host[2], y, sizeof y);
    for (int beta = 0; beta < 2; beta++) {
        float *got = forward(&r, (float)beta);
        for (int i = 0; i < 3; i++) assert_true(got[i] == want[i] + (float)beta);
        free(got);
    }
    rig_drop(&r);
}

/* The default math may round to TF32. */
static void test_tf32(void **state) {
    (void)state;
    static const shape s = {1, 8, 4, 4, 3, 3, 3, 1, {1, 1}, {1, 1}, {1, 1}};
    double sum[2], norm = 0;
    for (int i = 0; i < 2; i++) {
        rig r;
        rig_make(&r, &s, CUDNN_TENSOR_NHWC, i ? CUDNN_DEFAULT_MATH : CUDNN_FMA_MATH);
        norm = r.ny;
        sum[i] = dot_free(forward(&r, 0), r.host[2], r.ny);
        rig_drop(&r);
    }
    assert_true(fabs(sum[0] - sum[1]) > 1e-6 * norm && fabs(sum[0] - sum[1]) < 1e-2 * norm);
}

static void test_refused(void **state) {
    (void)state;
    static const shape s = {1, 2, 4, 4, 3, 3, 3, 1, {1, 1}, {1, 1}, {1, 1}};
    const float one = 1, zero = 0;
    cudnnConvolutionBwdDataAlgoPerf_t perf[8];
    int count = 0;
    size_t bytes = 0;
    rig r;
    rig_make(&r, &s, CUDNN_TENSOR_NHWC, CUDNN_FMA_MATH);
    OK(cudnnGetConvolutionBackwardDataAlgorithm_v7(r.h, r.w, r.y, r.v, r.x, 8, &count, perf));
    assert_int_equal(count, 3);
    assert_int_equal(perf[0].status, CUDNN_STATUS_NOT_SUPPORTED);
    assert_int_equal(perf[1].determinism, CUDNN_NON_DETERMINISTIC);
    assert_int_equal(perf[2].status, CUDNN_STATUS_SUCCESS);
    OK(cudnnGetConvolutionBackwardDataWorkspaceSize(r.h, r.w, r.y, r.v, r.x, perf[2].algo, &bytes));
    assert_int_equal(bytes, perf[2].memory);
    assert_int_equal(cudnnConvolutionBackwardData(r.h, &one, r.w, r.device[1], r.y, r.device[2],
                                                  r.v, perf[2].algo, r.space, bytes - 1, &zero, r.x,
                                                  r.device[0]),
                     CUDNN_STATUS_BAD_PARAM_SIZE_INSUFFICIENT);
    OK(cudnnSetTensor4dDescriptor(r.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_FLOAT, 1, 3, 5, 4));
    assert_int_equal(
        cudnnGetConvolutionBackwardDataWorkspaceSize(r.h, r.w, r.y, r.v, r.x, perf[2].algo, &bytes),
        CUDNN_STATUS_BAD_PARAM);
    OK(cudnnSetTensor4dDescriptor(r.y, CUDNN_TENSOR_NHWC, CUDNN_DATA_DOUBLE, 1, 3, 4, 4));
    assert_int_equal(
        cudnnGetConvolutionBackwardDataWorkspaceSize(r.h, r.w, r.y, r.v, r.x, perf[2].algo, &bytes),
        CUDNN_STATUS_BAD_PARAM);
    rig_drop(&r);
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_adjoint),
        cmocka_unit_test(test_by_hand),
        cmocka_unit_test(test_tf32),
        cmocka_unit_test(test_refused),
    };
    return RUN_TESTS(tests);
}

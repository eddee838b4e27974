/*
 * test_emulator.c: the stand-ins themselves: what they compute, the errors they
 * answer with, and that every kind of misuse they are there for is caught.
 *
 * What ends the process runs in a child; the test looks for its last words.
 */
#include "testing.h"

#include <cublas_v2.h>
#include <cuda_runtime_api.h>
#include <cudnn.h>
#include <nvrtc.h>
#include <sys/wait.h>

#define OK(call) assert_int_equal((call), 0)

/* ---- kernels ----------------------------------------------------------------------- */

typedef struct params {
    const float *in;
    float *out;
    long long n;
} params;

#define HEAD                                                                                       \
    "typedef struct { const float *in; float *out; long long n; } params;\n"                       \
    "extern \"C\" __global__ void __launch_bounds__(256) hwb_kernel(const params p) {\n"           \
    "    int t = threadIdx.x; __shared__ float s[256]; (void)s;\n"

/* out[block] = sum of in[0..n) dealt to the threads of all blocks */
static const char SUM[] =
    HEAD "    float a = 0;\n"
         "    for (long long i = t + 256ll * blockIdx.x; i < p.n; i += 256ll * gridDim.x)\n"
         "        a += p.in[i];\n"
         "    s[t] = a;\n"
         "    for (int h = 128; h > 0; h >>= 1) {\n"
         "        __syncthreads();\n"
         "        if (t < h) s[t] += s[t + h];\n"
         "    }\n"
         "    if (t == 0) p.out[blockIdx.x] = s[0]; }\n";
/* the same without a barrier between the steps, one block */
static const char RACE[] = HEAD "    s[t] = p.in[t];\n"
                                "    p.out[t] = s[(t + 1) % 256]; }\n";
static const char UNSET[] = HEAD "    p.out[t] = s[t]; }\n";
static const char SPLIT[] = HEAD "    if (t < 128) { __syncthreads(); p.out[t] = 1; }\n"
                                 "    else { __syncthreads(); p.out[t] = 2; } }\n";
static const char BOUNDS[] = HEAD "    s[t + 1] = 1; p.out[t] = s[t]; }\n";
static const char COPY[] = HEAD "    if (t < p.n) p.out[t] = p.in[t]; }\n";
static const char POINTER[] = "extern \"C\" __global__ void hwb_kernel(float *out) { *out = 1; }\n";

static nvrtcResult translate(const char *source, const char *arch, char **image, char **log) {
    nvrtcProgram p = NULL;
    size_t n = 0;
    const char *options[] = {arch, "--fmad=false", "--std=c++17"};
    OK(nvrtcCreateProgram(&p, source, "test", 0, NULL, NULL));
    nvrtcResult e = nvrtcCompileProgram(p, 3, options);
    OK(nvrtcGetProgramLogSize(p, &n));
    *log = malloc(n);
    OK(nvrtcGetProgramLog(p, *log));
    if (e == NVRTC_SUCCESS) {
        OK(nvrtcGetCUBINSize(p, &n));
        *image = malloc(n + 1);
        OK(nvrtcGetCUBIN(p, *image));
    }
    OK(nvrtcDestroyProgram(&p));
    return e;
}

static cudaError_t load(const char *source, cudaKernel_t *kernel) {
    char *image = NULL, *log = NULL;
    cudaLibrary_t library = NULL;
    OK(translate(source, "--gpu-architecture=sm_90", &image, &log));
    cudaError_t e = cudaLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0);
    if (e == cudaSuccess) OK(cudaLibraryGetKernel(kernel, library, "hwb_kernel"));
    free(image);
    free(log);
    return e;
}

typedef struct rig {
    cudaStream_t stream;
    float *in, *out; /* N floats on the device, 256 */
    cudaKernel_t kernel;
} rig;

enum { N = 1000 };

static void rig_make(rig *r, const char *source) {
    float values[N];
    for (int i = 0; i < N; i++) values[i] = (float)(i % 7);
    cudaGetLastError(); /* of the tests before */
    OK(load(source, &r->kernel));
    OK(cudaStreamCreateWithFlags(&r->stream, cudaStreamNonBlocking));
    OK(cudaMalloc((void **)&r->in, sizeof values));
    OK(cudaMalloc((void **)&r->out, 256 * sizeof(float)));
    OK(cudaMemcpyAsync(r->in, values, sizeof values, cudaMemcpyHostToDevice, r->stream));
    OK(cudaStreamSynchronize(r->stream)); /* `values` ends here */
}

static void rig_drop(rig *r) {
    OK(cudaStreamSynchronize(r->stream));
    OK(cudaFree(r->in));
    OK(cudaFree(r->out));
    OK(cudaStreamDestroy(r->stream));
}

static cudaError_t launch(const rig *r, unsigned blocks, unsigned threads, long long n) {
    params p = {r->in, r->out, n};
    void *args[] = {&p};
    return cudaLaunchKernel(r->kernel, (dim3){blocks, 1, 1}, (dim3){threads, 1, 1}, args, 0,
                            r->stream);
}

static float result(const rig *r, int i) {
    float x;
    OK(cudaMemcpyAsync(&x, r->out + i, sizeof x, cudaMemcpyDeviceToHost, r->stream));
    return x;
}

/* ---- what works ------------------------------------------------------------------------ */

static void test_sum(void **state) {
    (void)state;
    rig r;
    rig_make(&r, SUM);
    OK(launch(&r, 3, 256, N));
    float want = 0;
    for (int i = 0; i < N; i++) want += (float)(i % 7);
    assert_true(result(&r, 0) + result(&r, 1) + result(&r, 2) == want);
    rig_drop(&r);
}

/* Nothing runs before somebody waits; pinned memory shows it. */
static void test_later(void **state) {
    (void)state;
    rig r;
    float *pinned;
    rig_make(&r, SUM);
    OK(cudaMallocHost((void **)&pinned, sizeof(float)));
    *pinned = -1;
    OK(launch(&r, 1, 256, 10));
    OK(cudaMemcpyAsync(pinned, r.out, sizeof(float), cudaMemcpyDeviceToHost, r.stream));
    assert_true(*pinned == -1);
    assert_int_equal(cudaStreamQuery(r.stream), cudaErrorNotReady);
    OK(cudaStreamSynchronize(r.stream));
    assert_true(*pinned == 24);
    OK(cudaStreamQuery(r.stream));
    OK(cudaFreeHost(pinned));
    rig_drop(&r);
}

static void test_graph(void **state) {
    (void)state;
    rig r;
    cudaGraph_t graph;
    cudaGraphExec_t exec;
    void *p;
    rig_make(&r, SUM);
    OK(cudaMemsetAsync(r.out, 0, 256 * sizeof(float), r.stream));
    OK(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal));
    OK(launch(&r, 1, 256, 10));
    OK(cudaStreamEndCapture(r.stream, &graph));
    OK(cudaGraphInstantiate(&exec, graph, 0));
    OK(cudaGraphDestroy(graph));
    assert_true(result(&r, 0) == 0); /* a capture runs nothing */
    for (int turn = 0; turn < 2; turn++) {
        OK(cudaMemsetAsync(r.out, 0, 256 * sizeof(float), r.stream));
        OK(cudaGraphLaunch(exec, r.stream));
        assert_true(result(&r, 0) == 24);
    }
    OK(cudaGraphExecDestroy(exec));
    /* what may not happen during a capture */
    OK(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(cudaMalloc(&p, 16), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(launch(&r, 1, 256, 10), cudaErrorStreamCaptureInvalidated);
    assert_int_equal(cudaStreamEndCapture(r.stream, &graph), cudaErrorStreamCaptureInvalidated);
    assert_null(graph);
    OK(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal));
    assert_int_equal(cudaStreamSynchronize(r.stream), cudaErrorStreamCaptureUnsupported);
    assert_int_equal(cudaStreamEndCapture(r.stream, &graph), cudaErrorStreamCaptureInvalidated);
    rig_drop(&r);
}

static void test_errors(void **state) {
    (void)state;
    rig r;
    float host[4] = {0};
    void *p;
    rig_make(&r, SUM);
    assert_int_equal(launch(&r, 0, 256, N), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&r, 1, 0, N), cudaErrorInvalidConfiguration);
    assert_int_equal(launch(&r, 1, 512, N), cudaErrorInvalidConfiguration); /* launch bounds */
    assert_int_equal(cudaGetLastError(), cudaErrorInvalidConfiguration);
    assert_int_equal(cudaGetLastError(), cudaSuccess);
    assert_int_equal(cudaMemcpyAsync(host, r.in, 16, cudaMemcpyHostToDevice, r.stream),
                     cudaErrorInvalidValue);
    assert_int_equal(cudaMalloc(&p, (size_t)1 << 40), cudaErrorMemoryAllocation);
    assert_int_equal(cudaFree(r.in + 1), cudaErrorInvalidValue);
    assert_int_equal(cudaSetDevice(7), cudaErrorInvalidDevice);
    rig_drop(&r);
}

/* A cubin of another major architecture, text that is none, code that does not compile. */
static void test_images(void **state) {
    (void)state;
    char *image = NULL, *log = NULL;
    cudaLibrary_t library;
    OK(translate(COPY, "--gpu-architecture=sm_80", &image, &log));
    assert_int_equal(cudaLibraryLoadData(&library, image, NULL, NULL, 0, NULL, NULL, 0),
                     cudaErrorNoKernelImageForDevice);
    free(image);
    free(log);
    assert_int_equal(cudaLibraryLoadData(&library, "no image", NULL, NULL, 0, NULL, NULL, 0),
                     cudaErrorInvalidKernelImage);
    assert_int_equal(translate(HEAD "nonsense; }", "--gpu-architecture=sm_90", &image, &log),
                     NVRTC_ERROR_COMPILATION);
    assert_non_null(strstr(log, "nonsense"));
    free(log);
}

/* ---- what ends the process ---------------------------------------------------------------- */

/* Runs in a child with one variable set; its exit status and what it wrote to stderr. */
static int in_child(void (*what)(void), const char *variable, const char *value, char *words,
                    size_t size) {
    int pipes[2], status = 0;
    size_t n = 0;
    ssize_t got;
    assert_int_equal(pipe(pipes), 0);
    pid_t pid = fork();
    assert_true(pid >= 0);
    if (pid == 0) {
        dup2(pipes[1], 2);
        close(pipes[0]);
        close(pipes[1]);
        if (variable) setenv(variable, value, 1);
        what();
        exit(0);
    }
    close(pipes[1]);
    while (n < size - 1 && (got = read(pipes[0], words + n, size - 1 - n)) > 0) n += (size_t)got;
    words[n] = 0;
    close(pipes[0]);
    assert_int_equal(waitpid(pid, &status, 0), pid);
    return WIFEXITED(status) ? WEXITSTATUS(status) : -1;
}

static void run_kernel(const char *source, long long n) {
    rig r;
    rig_make(&r, source);
    OK(launch(&r, 1, 256, n));
    rig_drop(&r);
}

static void host_reads(void) {
    rig r;
    rig_make(&r, SUM);
    OK(cudaStreamSynchronize(r.stream));
    fprintf(stderr, "%g", (double)*(volatile float *)r.in);
}
static void reads_behind(void) {
    run_kernel(SUM, N + 4096);
}
static void reads_freed(void) {
    rig r;
    rig_make(&r, SUM);
    OK(cudaStreamSynchronize(r.stream));
    OK(cudaFree(r.in));
    OK(launch(&r, 1, 256, N));
    cudaStreamSynchronize(r.stream);
}
static void writes_near(void) { /* the block's 256-byte granule is not full */
    rig r;
    float *small;
    rig_make(&r, COPY);
    OK(cudaMalloc((void **)&small, 40));
    r.out = small;
    OK(launch(&r, 1, 256, 11));
    cudaStreamSynchronize(r.stream);
}
static void host_pointer(void) {
    rig r;
    float host = 0, *p = &host;
    void *args[] = {&p};
    rig_make(&r, POINTER);
    OK(cudaLaunchKernel(r.kernel, (dim3){1, 1, 1}, (dim3){1, 1, 1}, args, 0, r.stream));
    cudaStreamSynchronize(r.stream);
}
static void host_pointer_inside(void) {
    rig r;
    float *host = calloc(N, sizeof(float));
    rig_make(&r, COPY);
    r.in = host;
    OK(launch(&r, 1, 256, 10));
    cudaStreamSynchronize(r.stream);
}
static void changes_pageable(void) {
    rig r;
    float x = 1;
    rig_make(&r, COPY);
    OK(cudaMemcpyAsync(r.in, &x, sizeof x, cudaMemcpyHostToDevice, r.stream));
    x = 2;
    cudaStreamSynchronize(r.stream);
}
static cublasStatus_t product(cublasHandle_t h, float *a) {
    const float one = 1, zero = 0;
    return cublasGemmStridedBatchedEx_64(h, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 2, &one, a, CUDA_R_32F,
                                         2, 0, a + 4, CUDA_R_32F, 2, 0, &zero, a + 8, CUDA_R_32F, 2,
                                         0, 1, CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT);
}
static void captures_without_space(void) {
    rig r;
    cublasHandle_t h;
    rig_make(&r, COPY);
    OK(cublasCreate(&h));
    OK(cublasSetStream(h, r.stream));
    OK(cudaStreamBeginCapture(r.stream, cudaStreamCaptureModeThreadLocal));
    product(h, r.in);
}
static void frees_space(void) {
    rig r;
    cublasHandle_t h;
    void *space;
    rig_make(&r, COPY);
    OK(cudaMalloc(&space, 4096));
    OK(cublasCreate(&h));
    OK(cublasSetStream(h, r.stream));
    OK(cublasSetWorkspace(h, space, 4096));
    OK(cudaFree(space));
    OK(product(h, r.in));
    cudaStreamSynchronize(r.stream);
}
static void splits(void) {
    run_kernel(SPLIT, N);
}
static void leaves_bounds(void) {
    run_kernel(BOUNDS, N);
}
static void races(void) {
    run_kernel(RACE, N);
}
static void no_race(void) {
    run_kernel(SUM, N);
}
static void leaks(void) {
    rig r;
    rig_make(&r, SUM);
}
static void ends_clean(void) {
    rig r;
    rig_make(&r, SUM);
    rig_drop(&r);
}
static void uses_destroyed(void) {
    rig r;
    rig_make(&r, SUM);
    OK(cudaStreamDestroy(r.stream));
    cudaStreamSynchronize(r.stream);
}

static void test_misuse(void **state) {
    (void)state;
    static const struct {
        void (*what)(void);
        const char *variable, *words; /* words NULL: must end well */
    } cases[] = {
        {host_reads, NULL, "host code touched device memory"},
        {reads_behind, NULL, "byte 4096 of a block of 4000 bytes"},
        {reads_freed, NULL, "of a block of 4000 bytes that was freed"},
        {writes_near, NULL, "the bytes behind a block of 40 bytes were written"},
        {host_pointer, NULL, "is no device memory"},
        {host_pointer_inside, NULL, "of its arguments is the host address"},
        {changes_pageable, NULL, "4 bytes of pageable memory changed before they were copied"},
        {captures_without_space, NULL, "would allocate its workspace while the stream"},
        {frees_space, NULL, "cublasGemm: workspace: 4096 bytes are wanted at"},
        {splits, NULL, "wait at different barriers"},
        {leaves_bounds, NULL, "index out of bounds"},
        {races, "HWB_EMU_RACES", "depends on the order of its threads"},
        {no_race, "HWB_EMU_RACES", NULL},
        {leaks, "HWB_EMU_LEAKS", "2 device blocks were never freed"},
        {ends_clean, "HWB_EMU_LEAKS", NULL},
        {uses_destroyed, NULL, "a stream that was destroyed"},
    };
    char words[2000];
    for (size_t i = 0; i < sizeof cases / sizeof cases[0]; i++) {
        int status = in_child(cases[i].what, cases[i].variable, "1", words, sizeof words);
        if (!cases[i].words) assert_int_equal(status, 0);
        else if (status == 0 || !strstr(words, cases[i].words))
            fail_msg("case %zu ends with %d and \"%s\", not \"%s\"", i, status, words,
                     cases[i].words);
    }
}

/* "Not ready" is the last error until somebody asks for it; a library takes it for its own. */
static void test_last_error(void **state) {
    (void)state;
    rig r;
    cublasHandle_t h;
    rig_make(&r, COPY);
    OK(cublasCreate(&h));
    OK(cublasSetStream(h, r.stream));
    OK(launch(&r, 1, 256, 10));
    assert_int_equal(cudaStreamQuery(r.stream), cudaErrorNotReady);
    assert_int_equal(product(h, r.in), CUBLAS_STATUS_EXECUTION_FAILED);
    assert_int_equal(cudaGetLastError(), cudaErrorNotReady);
    OK(product(h, r.in));
    rig_drop(&r);
    OK(cublasDestroy(h));
}

/* Shared memory begins as NaN. */
static void test_poison(void **state) {
    (void)state;
    rig r;
    rig_make(&r, UNSET);
    OK(launch(&r, 1, 256, N));
    assert_true(isnan(result(&r, 17)));
    rig_drop(&r);
}

/* ---- cuBLAS ----------------------------------------------------------------------------------- */

static float *to_device(const float *values, int n) {
    float *p;
    OK(cudaMalloc((void **)&p, (size_t)n * sizeof(float)));
    OK(cudaMemcpyAsync(p, values, (size_t)n * sizeof(float), cudaMemcpyHostToDevice, NULL));
    return p;
}

static void from_device(float *values, const float *p, int n) {
    OK(cudaMemcpyAsync(values, p, (size_t)n * sizeof(float), cudaMemcpyDeviceToHost, NULL));
}

/* [1 3 5; 2 4 6] [1 4; 2 5; 3 6] + C, column-major, plain and with A given transposed */
static void test_gemm(void **state) {
    (void)state;
    static const float values[] = {1, 2, 3, 4, 5, 6}, transposed[] = {1, 3, 5, 2, 4, 6},
                       want[] = {22, 28, 49, 64}, ones[] = {1, 1, 1, 1};
    const float one = 1, zero = 0;
    float got[4];
    cublasHandle_t h;
    cudaGetLastError(); /* of the tests before */
    OK(cublasCreate(&h));
    float *a = to_device(values, 6), *at = to_device(transposed, 6), *c = to_device(ones, 4);
    for (int turn = 0; turn < 4; turn++) {
        bool t = turn & 1, add = turn & 2;
        if (add) OK(cudaMemcpyAsync(c, ones, sizeof ones, cudaMemcpyHostToDevice, NULL));
        OK(cublasGemmStridedBatchedEx_64(h, t ? CUBLAS_OP_T : CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3,
                                         &one, t ? at : a, CUDA_R_32F, t ? 3 : 2, 0, a, CUDA_R_32F,
                                         3, 0, add ? &one : &zero, c, CUDA_R_32F, 2, 0, 1,
                                         CUBLAS_COMPUTE_32F, CUBLAS_GEMM_DEFAULT));
        from_device(got, c, 4);
        for (int i = 0; i < 4; i++) assert_true(got[i] == want[i] + (add ? 1 : 0));
    }
    assert_int_equal(cublasGemmStridedBatchedEx_64(h, CUBLAS_OP_N, CUBLAS_OP_N, 2, 2, 3, &one, a,
                                                   CUDA_R_32F, 1, 0, a, CUDA_R_32F, 3, 0, &zero, c,
                                                   CUDA_R_32F, 2, 0, 1, CUBLAS_COMPUTE_32F,
                                                   CUBLAS_GEMM_DEFAULT),
                     CUBLAS_STATUS_INVALID_VALUE); /* lda below m */
    OK(cublasDestroy(h));
    OK(cudaFree(a));
    OK(cudaFree(at));
    OK(cudaFree(c));
}

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_sum),        cmocka_unit_test(test_later),
        cmocka_unit_test(test_graph),      cmocka_unit_test(test_errors),
        cmocka_unit_test(test_images),     cmocka_unit_test(test_misuse),
        cmocka_unit_test(test_poison),     cmocka_unit_test(test_gemm),
        cmocka_unit_test(test_last_error),
    };
    return RUN_TESTS(tests);
}

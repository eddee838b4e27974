/*
 * test_cuda_nvrtc.c: every kernel that the cases of cases.h ask for compiles, for the
 * architectures of HWB_TEST_SM (default: 80, 90 and 100), with the real NVRTC and no
 * device.  The plug-in's own sources are linked in; what needs a device (memory,
 * handles, the store of loaded kernels) is replaced here.
 *
 * A handful of sources is compiled for all of them, the others for one in turn.
 */
#include "cases.h"

#include "cuda_i.h"

#include <elf.h>

/* ---- in place of a device ------------------------------------------------------- */

static hwb_ctx *ctx;
static hwb__cuda state;
static int archs[8], n_archs;

enum { TABLE = 8192, EVERYWHERE = 12, MOST_FRAME = 48 };
static uint64_t seen[TABLE];
static int distinct, compiled;

static bool is_new(const char *text) {
    uint64_t h = 0xcbf29ce484222325u;
    for (; *text; text++) h = (h ^ (unsigned char)*text) * 0x100000001b3u;
    h += h == 0;
    for (uint64_t i = h;; i++) {
        uint64_t *slot = &seen[i % TABLE];
        if (*slot == h) return false;
        if (*slot) continue;
        *slot = h;
        return true;
    }
}

/* The frame of a kernel in local memory, which is as slow as the device's: arrays that a
 * run-time index moved there, spilled registers; for sin, cos and pow what their slow ways
 * need.  In the section .nv.info of a cubin, an ELF file, entries
 *     u8 format (4)  u8 attribute (0x11)  u16 bytes (8)  u32 symbol  u32 frame */
static unsigned frame_of(const char *cubin) {
    const Elf64_Ehdr *head = (const void *)cubin;
    const Elf64_Shdr *all = (const void *)(cubin + head->e_shoff);
    const char *names = cubin + all[head->e_shstrndx].sh_offset;
    unsigned most = 0, found = 0;
    for (int i = 0; i < head->e_shnum; i++) {
        if (strcmp(names + all[i].sh_name, ".nv.info") != 0) continue;
        const char *at = cubin + all[i].sh_offset, *end = at + all[i].sh_size;
        while (at + 4 <= end) {
            uint16_t bytes;
            unsigned pair[2];
            memcpy(&bytes, at + 2, sizeof bytes);
            if (at[0] == 4 && at[1] == 0x11) {
                memcpy(pair, at + 4, sizeof pair);
                most = pair[1] > most ? pair[1] : most;
                found++;
            }
            at += 4 + (at[0] == 4 ? bytes : 0);
        }
    }
    assert_true(found > 0);
    return most;
}

static void translate(int cc, const char *name, const char *text) {
    char *code = NULL;
    size_t bytes = 0;
    if (hwb__cuda_translate(ctx, cc, name, text, &code, &bytes) != HWB_OK) {
        print_error("%s\n%s\n", hwb_message(ctx), text);
        fail_msg("%s does not compile for sm_%d", name, cc);
    }
    assert_true(bytes > 64);
    const unsigned frame = frame_of(code);
    if (frame > MOST_FRAME) {
        print_error("%s\n", text);
        fail_msg("%s keeps %u bytes in local memory on sm_%d", name, frame, cc);
    }
    free(code);
    compiled++;
}

hwb_status hwb__cuda_function(hwb_ctx *c, hwb__cuda *s, cudaKernel_t *out, const char *name,
                              const hwb__cuda_text *source) {
    (void)c, (void)s;
    assert_false(source->failed);
    *out = (cudaKernel_t)&state;
    if (!is_new(source->at)) return HWB_OK;
    assert_true(++distinct < TABLE / 2);
    for (int i = 0; i < n_archs; i++)
        if (distinct <= EVERYWHERE || distinct % n_archs == i)
            translate(archs[i], name, source->at);
    return HWB_OK;
}

hwb_status hwb__cuda_fail(hwb_ctx *c, hwb_status status, const char *fmt, ...) {
    char text[1024];
    va_list args;
    va_start(args, fmt);
    vsnprintf(text, sizeof text, fmt, args);
    va_end(args);
    return hwb_fail(c, status, "%s", text);
}

hwb_status hwb__cuda_oom(hwb_ctx *c) {
    return hwb_fail(c, HWB_ENOMEM, "out of memory");
}

hwb_status hwb__cuda_check(hwb_ctx *c, cudaError_t e, const char *call) {
    return e == cudaSuccess ? HWB_OK : hwb_fail(c, HWB_EDEVICE, "%s", call);
}

hwb_status hwb__cuda_check_blas(hwb_ctx *c, cublasStatus_t e, const char *call) {
    return e == CUBLAS_STATUS_SUCCESS ? HWB_OK : hwb_fail(c, HWB_EDEVICE, "%s", call);
}

hwb_status hwb__cuda_check_dnn(hwb_ctx *c, cudnnStatus_t e, const char *call) {
    return e == CUDNN_STATUS_SUCCESS ? HWB_OK : hwb_fail(c, HWB_EDEVICE, "%s", call);
}

/* In place of cuDNN: without it convolutions go to the next family; with it, every one is
 * said to be supported, so that the copies of its operands compile. */
hwb__cudnn hwb__dnn;
static bool dnn_there;
#pragma GCC diagnostic ignored "-Wunused-parameter"

hwb_status hwb__cuda_dnn(hwb_ctx *c, hwb__cuda *s) {
    return dnn_there ? HWB_OK : hwb_fail(c, HWB_EUNSUPPORTED, "no cuDNN");
}

#define STUB(name, ...)                                                                            \
    static cudnnStatus_t name(__VA_ARGS__) {                                                       \
        return CUDNN_STATUS_SUCCESS;                                                               \
    }
STUB(tensor_new, cudnnTensorDescriptor_t *d)
STUB(filter_new, cudnnFilterDescriptor_t *d)
STUB(conv_new, cudnnConvolutionDescriptor_t *d)
STUB(set_tensor, cudnnTensorDescriptor_t d, cudnnTensorFormat_t f, cudnnDataType_t t, int n, int c,
     int h, int w)
STUB(set_filter, cudnnFilterDescriptor_t d, cudnnDataType_t t, cudnnTensorFormat_t f, int k, int c,
     int h, int w)
STUB(set_conv, cudnnConvolutionDescriptor_t d, int ph, int pw, int u, int v, int dh, int dw,
     cudnnConvolutionMode_t m, cudnnDataType_t t)
STUB(set_groups, cudnnConvolutionDescriptor_t d, int groups)
STUB(set_math, cudnnConvolutionDescriptor_t d, cudnnMathType_t m)

#define DIRECTION(name, space, A, B, C, D, perf_t, algo_t)                                         \
    static cudnnStatus_t name(cudnnHandle_t h, const A a, const B b, const C c, const D d,         \
                              const int most, int *n, perf_t *perf) {                              \
        *n = 0;                                                                                    \
        return CUDNN_STATUS_NOT_SUPPORTED;                                                         \
    }                                                                                              \
    static cudnnStatus_t space(cudnnHandle_t h, const A a, const B b, const C c, const D d,        \
                               algo_t algo, size_t *bytes) {                                       \
        *bytes = 0;                                                                                \
        return CUDNN_STATUS_SUCCESS;                                                               \
    }
#define T cudnnTensorDescriptor_t
#define F cudnnFilterDescriptor_t
#define V cudnnConvolutionDescriptor_t
DIRECTION(forward, forward_space, T, F, V, T, cudnnConvolutionFwdAlgoPerf_t,
          cudnnConvolutionFwdAlgo_t)
DIRECTION(data, data_space, F, T, V, T, cudnnConvolutionBwdDataAlgoPerf_t,
          cudnnConvolutionBwdDataAlgo_t)
DIRECTION(weights, weights_space, T, T, V, F, cudnnConvolutionBwdFilterAlgoPerf_t,
          cudnnConvolutionBwdFilterAlgo_t)
#undef T
#undef F
#undef V
#pragma GCC diagnostic warning "-Wunused-parameter"

static void fill_dnn(void) {
    hwb__dnn = (hwb__cudnn){
        .cudnnCreateTensorDescriptor = tensor_new,
        .cudnnCreateFilterDescriptor = filter_new,
        .cudnnCreateConvolutionDescriptor = conv_new,
        .cudnnSetTensor4dDescriptor = set_tensor,
        .cudnnSetFilter4dDescriptor = set_filter,
        .cudnnSetConvolution2dDescriptor = set_conv,
        .cudnnSetConvolutionGroupCount = set_groups,
        .cudnnSetConvolutionMathType = set_math,
        .cudnnGetConvolutionForwardAlgorithm_v7 = forward,
        .cudnnGetConvolutionBackwardDataAlgorithm_v7 = data,
        .cudnnGetConvolutionBackwardFilterAlgorithm_v7 = weights,
        .cudnnGetConvolutionForwardWorkspaceSize = forward_space,
        .cudnnGetConvolutionBackwardDataWorkspaceSize = data_space,
        .cudnnGetConvolutionBackwardFilterWorkspaceSize = weights_space,
    };
}

hwb_status hwb__cuda_blas(hwb_ctx *c, hwb__cuda *s) {
    (void)c, (void)s;
    return HWB_OK;
}

hwb_status hwb__cuda_scratch(hwb_ctx *c, hwb__cuda *s, size_t bytes) {
    (void)c, (void)s, (void)bytes;
    return HWB_OK;
}

void *hwb__cuda_mem_alloc(hwb_ctx *c, void *s, size_t bytes) {
    (void)c, (void)s;
    return malloc(bytes + 1);
}

void hwb__cuda_mem_free(void *s, void *p) {
    (void)s;
    free(p);
}

/* What only the table of cuda.c names. */
#define ABSENT(name, ...)                                                                          \
    hwb_status name(__VA_ARGS__) {                                                                 \
        return HWB_EDEVICE;                                                                        \
    }
#pragma GCC diagnostic ignored "-Wunused-parameter"
ABSENT(hwb__cuda_open, hwb_ctx *c, void **s)
ABSENT(hwb__cuda_configure, hwb_ctx *c, void *s, const hwb_device_options *o)
ABSENT(hwb__cuda_describe, hwb_ctx *c, void *s, char *text, size_t size)
ABSENT(hwb__cuda_mem_put, hwb_ctx *c, void *s, void *dst, const void *host, size_t bytes)
ABSENT(hwb__cuda_mem_get, hwb_ctx *c, void *s, void *host, const void *src, size_t bytes)
ABSENT(hwb__cuda_mem_copy, hwb_ctx *c, void *s, void *dst, const void *src, size_t bytes)
ABSENT(hwb__cuda_sync, hwb_ctx *c, void *s)
cudaError_t hwb__cuda_query(cudaStream_t stream) {
    return cudaErrorNotReady;
}
void hwb__cuda_close(void *s) {}
#pragma GCC diagnostic warning "-Wunused-parameter"

/* ---- the tests -------------------------------------------------------------------------- */

static const hwb_backend *backend;
static bool met[HWB_OP_COUNT];

static void compile_case(check *c) {
    hwb_kernel *k = NULL;
    c->d.in = c->in;
    c->d.out = c->out;
    met[c->d.op] = true;
    assert_true(backend->supports(&state, &c->d));
    assert_ok(ctx, backend->prepare(ctx, &state, &k, &c->d));
    backend->kernel_free(&state, k);
}

static void test_kernels(void **unused) {
    (void)unused;
    each_case(compile_case);
    dnn_there = true;
    state.deterministic = true;
    for (int math = HWB_MATH_EXACT; math <= HWB_MATH_BF16; math++) {
        state.math = (hwb_math)math;
        cases_conv(compile_case);
    }
    for (int op = HWB_OP_FILL; op < HWB_OP_COUNT; op++)
        if (!met[op] && op != HWB_OP_ALLREDUCE) fail_msg("no case for %s", hwb_op_name((hwb_op)op));
    print_message("%d kernels, %d translations\n", distinct, compiled);
}

/* Beyond 2^31 elements indices are 64 bits wide. */
static void test_huge(void **unused) {
    (void)unused;
    static const hwb_op ops[] = {HWB_OP_EXP, HWB_OP_SUM, HWB_OP_MAX, HWB_OP_PERMUTE};
    for (int i = 0; i < 4; i++) {
        check c = {.d = {.op = ops[i], .n_in = 1, .n_out = 1}};
        c.in[0] = c.out[0] = (hwb_vdesc){HWB_F32, hwb_shape_of(3, 3, 100, 0)};
        c.in[0].shape.dim[2] = c.out[0].shape.dim[2] = (int64_t)1 << 24;
        c.d.attrs.axes = 2;
        if (i == 1 || i == 2) c.out[0].shape.dim[1] = 1;
        c.d.attrs.perm[0] = 0, c.d.attrs.perm[1] = 2, c.d.attrs.perm[2] = 1;
        compile_case(&c);
    }
}

static void test_error_is_shown(void **unused) {
    (void)unused;
    char *code = NULL;
    size_t bytes = 0;
    assert_fails(ctx, hwb__cuda_translate(ctx, 90, "broken", "int x = ;\n", &code, &bytes),
                 HWB_EINTERNAL, "broken does not compile");
    assert_fails(ctx, hwb__cuda_translate(ctx, 35, "old", "__device__ int x;\n", &code, &bytes),
                 HWB_EDEVICE, "nothing as old as sm_35");
    /* newer than NVRTC knows: PTX, which is text */
    assert_ok(ctx, hwb__cuda_translate(ctx, 999, "new", "__device__ int x;\n", &code, &bytes));
    assert_non_null(strstr(code, ".target sm_"));
    free(code);
}

static void read_archs(void) {
    const char *text = getenv("HWB_TEST_SM");
    if (!text || !*text) text = "80,90,100";
    while (*text && n_archs < 8) {
        char *end;
        long n = strtol(text, &end, 10);
        if (end == text) break;
        archs[n_archs++] = (int)n;
        text = *end ? end + 1 : end;
    }
}

/* In place of the library's own, which want a device. */
cudaError_t cudaSetDevice(int device) {
    (void)device;
    return cudaSuccess;
}

const hwb_backend *hwb_backend_entry(uint32_t abi, const hwb_host *host);

int main(void) {
    const struct CMUnitTest tests[] = {
        cmocka_unit_test(test_kernels),
        cmocka_unit_test(test_huge),
        cmocka_unit_test(test_error_is_shown),
    };
    static const hwb_host host = {hwb_fail, hwb_memory_count_device, hwb_interrupted};
    state.sms = 132;
    state.cc = 90;
    read_archs();
    fill_dnn();
    ctx = test_ctx_new();
    backend = hwb_backend_entry(HWB_BACKEND_ABI, &host);
    int failed = cmocka_run_group_tests(tests, NULL, NULL);
    hwb_ctx_free(ctx);
    return failed;
}

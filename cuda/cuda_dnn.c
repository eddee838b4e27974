/*
 * cuda_dnn.c: cuDNN, opened when the first convolution wants it: a gigabyte of libraries
 * that other programs have no use for.  Where it is absent, or does not start, that is
 * HWB_EUNSUPPORTED with the reason, and convolutions are matrix products
 * (cuda_conv_gemm.c).
 */
#include "cuda_i.h"

#include <dlfcn.h>
#include <pthread.h>
#include <stdio.h>

hwb__cudnn hwb__dnn;

static pthread_mutex_t opening = PTHREAD_MUTEX_INITIALIZER;
static char absent[200]; /* why it is not there, once that is known */

static void open_library(void) {
    void *library = dlopen("libcudnn.so.9", RTLD_NOW | RTLD_LOCAL);
    const char *why = library ? NULL : dlerror();
    if (!library) {
        snprintf(absent, sizeof(absent), "%s", why ? why : "libcudnn.so.9 does not open");
        return;
    }
#define XX(name)                                                                                   \
    *(void **)&hwb__dnn.name = dlsym(library, #name); /* the cast that POSIX prescribes */         \
    if (!hwb__dnn.name) snprintf(absent, sizeof(absent), "libcudnn.so.9 has no " #name);
    HWB__CUDNN_MAP(XX)
#undef XX
    hwb__dnn.library = library;
}

hwb_status hwb__cuda_dnn_load(hwb_ctx *ctx) {
    pthread_mutex_lock(&opening);
    if (!hwb__dnn.library && !absent[0]) open_library();
    pthread_mutex_unlock(&opening);
    if (!absent[0]) return HWB_OK;
    return hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: no cuDNN: %s", absent);
}

/* Of a call that may say that cuDNN cannot: another way is then taken.  What the device has
 * no memory for stays a failure, and so does what broke it. */
hwb_status hwb__cuda_check_dnn(hwb_ctx *ctx, cudnnStatus_t e, const char *call) {
    if (e == CUDNN_STATUS_SUCCESS) return HWB_OK;
    cudaGetLastError();
    hwb_status st = HWB_EUNSUPPORTED;
    if (CUDNN_STATUS_CATEGORY((int)e) == CUDNN_STATUS_EXECUTION_FAILED) st = HWB_EDEVICE;
    if (e == CUDNN_STATUS_ALLOC_FAILED || e == CUDNN_STATUS_INTERNAL_ERROR_DEVICE_ALLOCATION_FAILED)
        st = HWB_ENOMEM;
    return hwb__cuda_fail(ctx, st, "cuda: %s at %.120s", hwb__dnn.cudnnGetErrorString(e), call);
}

static hwb_status start(hwb_ctx *ctx, hwb__cuda *s) {
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnCreate(&s->dnn));
    HWB_CUDNN_TRY(ctx, hwb__dnn.cudnnSetStream(s->dnn, s->stream));
    return HWB_OK;
}

hwb_status hwb__cuda_dnn(hwb_ctx *ctx, hwb__cuda *s) {
    if (s->dnn) return HWB_OK;
    if (s->dnn_failed) return hwb__cuda_fail(ctx, HWB_EUNSUPPORTED, "cuda: cuDNN did not start");
    HWB_TRY(hwb__cuda_dnn_load(ctx));
    hwb_status st = start(ctx, s);
    s->dnn_failed = st == HWB_EUNSUPPORTED;
    return st;
}

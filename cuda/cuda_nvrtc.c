/*
 * cuda_nvrtc.c: device code from text by NVRTC, which needs no device.
 */
#include "cuda_i.h"

#include <nvrtc.h>
#include <stdarg.h>
#include <stdio.h>
#include <stdlib.h>

/* ---- text --------------------------------------------------------------------- */

/* At least `more` bytes and one behind the text. */
static bool make_room(hwb__cuda_text *t, size_t more) {
    if (t->length + more < t->room) return true;
    const size_t room = 2 * t->room + more + 1024;
    char *at = realloc(t->at, room);
    t->failed = !at;
    if (!at) return false;
    t->at = at;
    t->room = room;
    return true;
}

void hwb__cuda_say(hwb__cuda_text *t, const char *fmt, ...) {
    va_list args, again;
    va_start(args, fmt);
    va_copy(again, args);
    const int n = vsnprintf(NULL, 0, fmt, args);
    if (n > 0 && !t->failed && make_room(t, (size_t)n)) {
        vsnprintf(t->at + t->length, (size_t)n + 1, fmt, again);
        t->length += (size_t)n;
    }
    va_end(again);
    va_end(args);
}

/* ---- NVRTC ----------------------------------------------------------------------- */

static hwb_status fail_nvrtc(hwb_ctx *ctx, nvrtcResult e, const char *name) {
    return hwb__cuda_fail(ctx, e == NVRTC_ERROR_OUT_OF_MEMORY ? HWB_ENOMEM : HWB_EINTERNAL,
                          "cuda: NVRTC: %s in kernel %s", nvrtcGetErrorString(e), name);
}

/* "sm_90" where NVRTC knows the device, else "compute_<newest it knows>": the driver
 * then translates the PTX.  Returns whether it is the former. */
static hwb_status architecture(hwb_ctx *ctx, int cc, char text[32], bool *own) {
    int n = 0, archs[64], newest = 0;
    nvrtcResult e = nvrtcGetNumSupportedArchs(&n);
    if (e == NVRTC_SUCCESS && n <= 64) e = nvrtcGetSupportedArchs(archs);
    if (e != NVRTC_SUCCESS) return fail_nvrtc(ctx, e, "(architectures)");
    *own = false;
    for (int i = 0; i < n && i < 64; i++) {
        if (archs[i] == cc) *own = true;
        if (archs[i] <= cc && archs[i] > newest) newest = archs[i];
    }
    if (!newest)
        return hwb__cuda_fail(ctx, HWB_EDEVICE, "cuda: NVRTC knows nothing as old as sm_%d", cc);
    snprintf(text, 32, "%s_%d", *own ? "sm" : "compute", *own ? cc : newest);
    return HWB_OK;
}

static hwb_status fail_compile(hwb_ctx *ctx, nvrtcProgram program, nvrtcResult e,
                               const char *name) {
    size_t n = 0;
    char *log = nvrtcGetProgramLogSize(program, &n) == NVRTC_SUCCESS ? calloc(1, n + 1) : NULL;
    if (!log || nvrtcGetProgramLog(program, log) != NVRTC_SUCCESS) {
        free(log);
        return fail_nvrtc(ctx, e, name);
    }
    hwb_status st =
        hwb__cuda_fail(ctx, HWB_EINTERNAL, "cuda: kernel %s does not compile: %.700s", name, log);
    free(log);
    return st;
}

static hwb_status fetch(hwb_ctx *ctx, nvrtcProgram program, bool own, const char *name, char **out,
                        size_t *bytes) {
    nvrtcResult e = own ? nvrtcGetCUBINSize(program, bytes) : nvrtcGetPTXSize(program, bytes);
    if (e != NVRTC_SUCCESS) return fail_nvrtc(ctx, e, name);
    char *code = malloc(*bytes + 1);
    if (!code) return hwb__cuda_oom(ctx);
    e = own ? nvrtcGetCUBIN(program, code) : nvrtcGetPTX(program, code);
    if (e == NVRTC_SUCCESS) {
        *out = code;
        return HWB_OK;
    }
    free(code);
    return fail_nvrtc(ctx, e, name);
}

/* No fused multiply-adds made by the compiler: a group gives bit for bit what its
 * operations give one by one. */
hwb_status hwb__cuda_translate(hwb_ctx *ctx, int cc, const char *name, const char *source,
                               char **out, size_t *bytes) {
    nvrtcProgram program = NULL;
    char arch[32], option[64];
    bool own = false;
    hwb__cuda_text all = {0};
    HWB_TRY(architecture(ctx, cc, arch, &own));
    snprintf(option, sizeof(option), "--gpu-architecture=%s", arch);
    const char *options[] = {option, "--fmad=false", "--std=c++17"};
    hwb__cuda_say(&all, "%s%s", hwb__cuda_prelude, source);
    if (all.failed) {
        free(all.at);
        return hwb__cuda_oom(ctx);
    }
    nvrtcResult e = nvrtcCreateProgram(&program, all.at, name, 0, NULL, NULL);
    free(all.at);
    if (e != NVRTC_SUCCESS) return fail_nvrtc(ctx, e, name);
    e = nvrtcCompileProgram(program, 3, options);
    hwb_status st = e == NVRTC_SUCCESS ? fetch(ctx, program, own, name, out, bytes)
                                       : fail_compile(ctx, program, e, name);
    nvrtcDestroyProgram(&program);
    return st;
}

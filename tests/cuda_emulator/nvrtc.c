/*
 * nvrtc.c: the libnvrtc stand-in.
 *
 * A program is compiled twice: by g++ with device/device.h into a shared library
 * (gxx.c), and meanwhile by the real NVRTC where the build found one: its errors
 * are the result, its register counts go into the image.  Both are kept in a
 * cache folder, by a hash of everything that decides the outcome.
 */
#include "nvrtc_i.h"

#include <dlfcn.h>
#include <nvrtc.h>
#include <stdarg.h>
#include <stdint.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#define API __attribute__((visibility("default")))

struct _nvrtcProgram {
    char *source;
    char name[64];
    char log[4096];
    emu_image image;
};

/* ---- the real library ------------------------------------------------------------- */

typedef struct real {
    bool there;
    nvrtcResult (*create)(nvrtcProgram *, const char *, const char *, int, const char *const *,
                          const char *const *);
    nvrtcResult (*compile)(nvrtcProgram, int, const char *const *);
    nvrtcResult (*log_size)(nvrtcProgram, size_t *);
    nvrtcResult (*log)(nvrtcProgram, char *);
    nvrtcResult (*cubin_size)(nvrtcProgram, size_t *);
    nvrtcResult (*cubin)(nvrtcProgram, char *);
    nvrtcResult (*destroy)(nvrtcProgram *);
} real;

static const real *real_nvrtc(void) {
    static real r;
    static bool tried;
    if (tried) return &r;
    tried = true;
    void *lib = emu_real_wanted() ? dlopen(EMU_REAL_NVRTC, RTLD_NOW | RTLD_LOCAL) : NULL;
    if (!lib) return &r;
    *(void **)&r.create = dlsym(lib, "nvrtcCreateProgram");
    *(void **)&r.compile = dlsym(lib, "nvrtcCompileProgram");
    *(void **)&r.log_size = dlsym(lib, "nvrtcGetProgramLogSize");
    *(void **)&r.log = dlsym(lib, "nvrtcGetProgramLog");
    *(void **)&r.cubin_size = dlsym(lib, "nvrtcGetCUBINSize");
    *(void **)&r.cubin = dlsym(lib, "nvrtcGetCUBIN");
    *(void **)&r.destroy = dlsym(lib, "nvrtcDestroyProgram");
    r.there = r.create && r.compile && r.log_size && r.log && r.cubin_size && r.cubin && r.destroy;
    return &r;
}

/* ---- one compilation ----------------------------------------------------------------- */

__attribute__((format(printf, 2, 3))) static nvrtcResult refuse(nvrtcProgram p, const char *format,
                                                                ...) {
    va_list args;
    va_start(args, format);
    vsnprintf(p->log, sizeof p->log, format, args);
    va_end(args);
    return NVRTC_ERROR_COMPILATION;
}

/* To a cubin, also where PTX was asked for; its registers go into the image. */
static nvrtcResult compile_real(nvrtcProgram p, int n, const char *const *options,
                                emu_image *image) {
    const real *r = real_nvrtc();
    const char *all[EMU_MAX_OPTIONS + 1];
    char option[64];
    nvrtcProgram q = NULL;
    size_t size = 0;
    snprintf(option, sizeof option, "--gpu-architecture=sm_%d", image->arch);
    all[0] = option;
    for (int i = 0; i < n; i++) all[i + 1] = options[i];
    nvrtcResult e = r->create(&q, p->source, p->name, 0, NULL, NULL);
    if (e == NVRTC_SUCCESS) e = r->compile(q, n + 1, all);
    if (e == NVRTC_ERROR_COMPILATION && r->log_size(q, &size) == NVRTC_SUCCESS) {
        char *log = calloc(1, size + 1);
        if (log && r->log(q, log) == NVRTC_SUCCESS) snprintf(p->log, sizeof p->log, "%s", log);
        free(log);
    }
    if (e == NVRTC_SUCCESS && r->cubin_size(q, &size) == NVRTC_SUCCESS) {
        char *cubin = malloc(size + 1);
        if (cubin && r->cubin(q, cubin) == NVRTC_SUCCESS) emu_cubin_read(image, cubin, size);
        free(cubin);
    }
    r->destroy(&q);
    return e;
}

/* Takes --gpu-architecture out of the options; the rest must be known here. */
static nvrtcResult read_options(nvrtcProgram p, int n, const char *const *options,
                                const char **rest, int *n_rest) {
    static const char *const known[] = {"--fmad=false", "--std=c++17"};
    static const char arch[] = "--gpu-architecture=";
    p->image.arch = 0;
    *n_rest = 0;
    for (int i = 0; i < n; i++) {
        const char *o = options[i];
        bool ok = strcmp(o, known[0]) == 0 || strcmp(o, known[1]) == 0;
        if (strncmp(o, arch, strlen(arch)) == 0) {
            const char *name = o + strlen(arch);
            p->image.is_ptx = strncmp(name, "compute_", 8) == 0;
            p->image.arch = atoi(name + (p->image.is_ptx ? 8 : 3));
        } else if (!ok || *n_rest == EMU_MAX_OPTIONS) return NVRTC_ERROR_INVALID_OPTION;
        else rest[(*n_rest)++] = o;
    }
    bool fused = true;
    for (int i = 0; i < *n_rest; i++) fused = fused && strcmp(rest[i], known[0]) != 0;
    if (fused) return refuse(p, "only --fmad=false is emulated"), NVRTC_ERROR_INVALID_OPTION;
    return p->image.arch >= 75 ? NVRTC_SUCCESS : NVRTC_ERROR_INVALID_OPTION;
}

static nvrtcResult compile(nvrtcProgram p, int n, const char *const *options) {
    const char *rest[EMU_MAX_OPTIONS];
    char path[EMU_PATH], words[sizeof p->log];
    int n_rest = 0;
    p->log[0] = 0;
    nvrtcResult e = read_options(p, n, options, rest, &n_rest);
    if (e != NVRTC_SUCCESS) return e;
    emu_image image = p->image;
    if (!emu_cache_path(path, p->source, &image)) return refuse(p, "no folder for the cache");
    if (emu_cache_read(&p->image, path)) return NVRTC_SUCCESS;
    snprintf(image.text, sizeof image.text, "HWBEMU1\nshim %s\narch %d\nkind %s\n", EMU_SHIM,
             image.arch, image.is_ptx ? "ptx" : "cubin");
    emu_gxx gxx;
    if (!emu_gxx_start(&gxx, p->source, path)) return refuse(p, "%s does not run", EMU_CXX);
    if (real_nvrtc()->there) e = compile_real(p, n_rest, rest, &image);
    bool made = emu_gxx_finish(&gxx, e == NVRTC_SUCCESS ? p->log : words, sizeof p->log);
    if (e != NVRTC_SUCCESS) return e;
    if (!made) return NVRTC_ERROR_COMPILATION;
    size_t used = strlen(image.text);
    snprintf(image.text + used, sizeof image.text - used, "module %s.so\n", path);
    if (!emu_cache_write(image.text, path)) return refuse(p, "cannot write %s", path);
    p->image = image;
    return NVRTC_SUCCESS;
}

/* ---- the library's calls ---------------------------------------------------------------- */

API nvrtcResult nvrtcVersion(int *major, int *minor) {
    *major = CUDART_VERSION / 1000;
    *minor = CUDART_VERSION % 1000 / 10;
    return NVRTC_SUCCESS;
}

static const int archs[] = {75, 80, 86, 87, 88, 89, 90, 100, 103, 110, 120, 121};

API nvrtcResult nvrtcGetNumSupportedArchs(int *n) {
    *n = sizeof archs / sizeof archs[0];
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcGetSupportedArchs(int *out) {
    memcpy(out, archs, sizeof archs);
    return NVRTC_SUCCESS;
}

API const char *nvrtcGetErrorString(nvrtcResult e) {
    switch (e) {
    case NVRTC_SUCCESS: return "NVRTC_SUCCESS";
    case NVRTC_ERROR_OUT_OF_MEMORY: return "NVRTC_ERROR_OUT_OF_MEMORY";
    case NVRTC_ERROR_INVALID_INPUT: return "NVRTC_ERROR_INVALID_INPUT";
    case NVRTC_ERROR_INVALID_PROGRAM: return "NVRTC_ERROR_INVALID_PROGRAM";
    case NVRTC_ERROR_INVALID_OPTION: return "NVRTC_ERROR_INVALID_OPTION";
    case NVRTC_ERROR_COMPILATION: return "NVRTC_ERROR_COMPILATION";
    default: return "NVRTC_ERROR unknown";
    }
}

API nvrtcResult nvrtcCreateProgram(nvrtcProgram *out, const char *source, const char *name,
                                   int n_headers, const char *const *headers,
                                   const char *const *names) {
    (void)headers, (void)names;
    *out = NULL;
    if (!source || n_headers != 0) return NVRTC_ERROR_INVALID_INPUT;
    nvrtcProgram p = calloc(1, sizeof *p);
    if (!p || !(p->source = strdup(source))) {
        free(p);
        return NVRTC_ERROR_OUT_OF_MEMORY;
    }
    snprintf(p->name, sizeof p->name, "%s", name ? name : "default_program");
    *out = p;
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcDestroyProgram(nvrtcProgram *p) {
    if (!p || !*p) return NVRTC_ERROR_INVALID_PROGRAM;
    free((*p)->source);
    free(*p);
    *p = NULL;
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcCompileProgram(nvrtcProgram p, int n, const char *const *options) {
    if (!p) return NVRTC_ERROR_INVALID_PROGRAM;
    return compile(p, n, options);
}

API nvrtcResult nvrtcGetProgramLogSize(nvrtcProgram p, size_t *size) {
    *size = strlen(p->log) + 1;
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcGetProgramLog(nvrtcProgram p, char *log) {
    strcpy(log, p->log);
    return NVRTC_SUCCESS;
}

/* A virtual architecture has no cubin: size 0. */
API nvrtcResult nvrtcGetCUBINSize(nvrtcProgram p, size_t *size) {
    *size = p->image.is_ptx ? 0 : strlen(p->image.text) + 1;
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcGetCUBIN(nvrtcProgram p, char *out) {
    if (!p->image.is_ptx) strcpy(out, p->image.text);
    return p->image.is_ptx ? NVRTC_ERROR_INVALID_PROGRAM : NVRTC_SUCCESS;
}

API nvrtcResult nvrtcGetPTXSize(nvrtcProgram p, size_t *size) {
    *size = strlen(p->image.text) + 1;
    return NVRTC_SUCCESS;
}

API nvrtcResult nvrtcGetPTX(nvrtcProgram p, char *out) {
    strcpy(out, p->image.text);
    return NVRTC_SUCCESS;
}

/*
 * facts.c: versions at build and at run, the processor, the thread pools; for
 * `hwb doctor` and run.json.
 */
#include "program.h"

#include <cairo.h>
#include <dnnl.h>
#include <jansson.h>
#include <omp.h>
#include <png.h>
#include <stdlib.h>
#include <string.h>
#include <unistd.h>
#include <zlib.h>
#include <jpeglib.h>

#include "../lua/bind/bind.h"
#include "backend/backend.h"

/* OpenBLAS; its own header does not declare them everywhere. */
char *openblas_get_config(void);
int openblas_get_parallel(void);
int openblas_get_num_threads(void);

#ifndef HWB_BUILD_TYPE
#define HWB_BUILD_TYPE "unknown"
#endif

/* {name, build, run} appended to the list on top */
static void add_library(lua_State *L, const char *name, const char *build, const char *run) {
    lua_createtable(L, 0, 3);
    lua_pushstring(L, name);
    lua_setfield(L, -2, "name");
    lua_pushstring(L, build);
    lua_setfield(L, -2, "build");
    lua_pushstring(L, run);
    lua_setfield(L, -2, "run");
    lua_rawseti(L, -2, (lua_Integer)lua_rawlen(L, -2) + 1);
}

static int facts_libraries(lua_State *L) {
    char build[96], run[96];
    lua_getglobal(L, "_VERSION"); /* stays below, so that its text stays valid */
    lua_newtable(L);
    add_library(L, "Lua", LUA_RELEASE, lua_tostring(L, -2));
    const dnnl_version_t *v = dnnl_version();
    snprintf(build, sizeof build, "%d.%d.%d", DNNL_VERSION_MAJOR, DNNL_VERSION_MINOR,
             DNNL_VERSION_PATCH);
    snprintf(run, sizeof run, "%d.%d.%d", v->major, v->minor, v->patch);
    add_library(L, "oneDNN", build, run);
    add_library(L, "OpenBLAS", "", openblas_get_config());
    add_library(L, "libpng", PNG_LIBPNG_VER_STRING, png_get_libpng_ver(NULL));
    snprintf(build, sizeof build, "%d (libjpeg API)", JPEG_LIB_VERSION);
    add_library(L, "libjpeg", build, build);
    add_library(L, "jansson", JANSSON_VERSION, jansson_version_str());
    add_library(L, "zlib", ZLIB_VERSION, zlibVersion());
    add_library(L, "cairo", CAIRO_VERSION_STRING, cairo_version_string());
    return 1;
}

static const char *onednn_isa(void) {
    switch (dnnl_get_effective_cpu_isa()) {
    case dnnl_cpu_isa_sse41: return "SSE4.1";
    case dnnl_cpu_isa_avx: return "AVX";
    case dnnl_cpu_isa_avx2: return "AVX2";
    case dnnl_cpu_isa_avx512_mic:
    case dnnl_cpu_isa_avx512_mic_4ops: return "AVX512 (MIC)";
    case dnnl_cpu_isa_avx512_core: return "AVX512";
    case dnnl_cpu_isa_avx512_core_vnni: return "AVX512 VNNI";
    case dnnl_cpu_isa_avx512_core_bf16: return "AVX512 BF16";
    case dnnl_cpu_isa_avx512_core_amx: return "AVX512 AMX";
    case dnnl_cpu_isa_avx2_vnni: return "AVX2 VNNI";
    default: return "generic";
    }
}

/* cpu() -> {model, cores, isa, threads, blas_threading, blas_threads, convolutions, wait_policy,
 * memory} */
static int facts_cpu(lua_State *L) {
    char line[256], model[256] = "unknown";
    FILE *f = fopen("/proc/cpuinfo", "r");
    while (f && fgets(line, sizeof line, f)) {
        char *colon = strchr(line, ':');
        if (strncmp(line, "model name", 10) != 0 || !colon) continue;
        colon[strcspn(colon, "\n")] = '\0';
        snprintf(model, sizeof model, "%s", colon + 2);
        break;
    }
    if (f) fclose(f);
    static const char *const threading[] = {"none", "pthreads", "OpenMP"};
    int parallel = openblas_get_parallel();
    lua_newtable(L);
    lua_pushstring(L, model);
    lua_setfield(L, -2, "model");
    lua_pushinteger(L, sysconf(_SC_NPROCESSORS_ONLN));
    lua_setfield(L, -2, "cores");
    lua_pushstring(L, onednn_isa());
    lua_setfield(L, -2, "isa");
    lua_pushinteger(L, omp_get_max_threads());
    lua_setfield(L, -2, "threads");
    lua_pushstring(L, parallel >= 0 && parallel <= 2 ? threading[parallel] : "unknown");
    lua_setfield(L, -2, "blas_threading");
    lua_pushinteger(L, openblas_get_num_threads());
    lua_setfield(L, -2, "blas_threads");
    lua_pushstring(L, hwb_backend_cpu_convolutions());
    lua_setfield(L, -2, "convolutions");
    const char *wait = getenv("OMP_WAIT_POLICY");
    lua_pushstring(L, wait ? wait : "default");
    lua_setfield(L, -2, "wait_policy");
    lua_pushinteger(L, (lua_Integer)sysconf(_SC_PHYS_PAGES) * sysconf(_SC_PAGESIZE));
    lua_setfield(L, -2, "memory");
    return 1;
}

/* build() -> {type, compiler, sanitizers} */
static int facts_build(lua_State *L) {
    lua_newtable(L);
    lua_pushliteral(L, HWB_BUILD_TYPE);
    lua_setfield(L, -2, "type");
    lua_pushliteral(L, "gcc " __VERSION__);
    lua_setfield(L, -2, "compiler");
#ifdef __SANITIZE_ADDRESS__
    lua_pushboolean(L, 1);
    lua_setfield(L, -2, "sanitizers");
#endif
    return 1;
}

/* device(name) -> true, or nil and why it cannot be used */
static int facts_device(lua_State *L) {
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_device *device;
    if (hwb_device_open(ctx, &device, luaL_checkstring(L, 1)) == HWB_OK) {
        char text[512];
        lua_pushboolean(L, 1);
        if (hwb_device_describe(ctx, device, text, sizeof text) != HWB_OK) text[0] = 0;
        lua_pushstring(L, text);
        return 2;
    }
    lua_pushnil(L);
    lua_pushstring(L, hwb_message(ctx));
    return 2;
}

void sys_add_facts(lua_State *L) {
    static const luaL_Reg functions[] = {{"libraries", facts_libraries},
                                         {"cpu", facts_cpu},
                                         {"build", facts_build},
                                         {"device", facts_device},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

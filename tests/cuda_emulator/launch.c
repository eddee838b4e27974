/*
 * launch.c: modules and launches.
 *
 * What the nvrtc stand-in calls a cubin is a short text (image.h): the file of
 * the compiled module, the architecture asked for and, where the real NVRTC is
 * at hand, the registers and static shared memory that its compiler used for
 * each kernel.  A launch is held against the limits of a device by them.
 */
#define _GNU_SOURCE
#include "block_i.h"
#include "image.h"

#include <dlfcn.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/mman.h>

enum { LIBRARY_MAGIC = 0x4c494252, KERNEL_MAGIC = 0x4b45524e };
enum { MAX_ARGS = 64, MAX_REGISTERS = 65536, DEFAULT_SHARED = 48 * 1024, MAX_PARAMETERS = 32764 };

struct CUlib_st {
    unsigned magic;
    emu_image image;
    const emu_module *module;
};

struct CUkern_st {
    unsigned magic;
    struct CUlib_st *library;
    const emu_kernel_info *info;
    int registers; /* 0: not known */
};

/* ---- libraries -------------------------------------------------------------------- */

/* A cubin runs on its own major version, from its minor version on; PTX of an
 * older architecture is translated by the driver. */
static bool fits_device(const emu_image *image) {
    int device = emu_capability();
    if (image->is_ptx) return image->arch <= device;
    return image->arch / 10 == device / 10 && image->arch <= device;
}

static cudaError_t library_load(cudaLibrary_t *out, const void *code) {
    cudaError_t e = emu_unsafe_call();
    *out = NULL;
    if (e != cudaSuccess) return e;
    if (emu_fail_now()) return cudaErrorMemoryAllocation;
    struct CUlib_st *l = calloc(1, sizeof *l);
    if (!l) return cudaErrorMemoryAllocation;
    if (!code || !emu_image_read(&l->image, code)) {
        free(l);
        return cudaErrorInvalidKernelImage;
    }
    if (!fits_device(&l->image)) {
        free(l);
        return cudaErrorNoKernelImageForDevice;
    }
    void *lib = dlopen(l->image.path, RTLD_NOW | RTLD_LOCAL);
    if (!lib) { /* an image kept from an emulator that is gone */
        free(l);
        return cudaErrorInvalidKernelImage;
    }
    l->module = dlsym(lib, "hwb_emu_module");
    if (!l->module || l->module->abi != HWB_EMU_ABI) emu_fatal("%s: not a module", l->image.path);
    l->magic = LIBRARY_MAGIC;
    emu_keep(l);
    *out = l;
    return cudaSuccess;
}

static struct CUlib_st *library_of(cudaLibrary_t l) {
    if (!l || l->magic != LIBRARY_MAGIC) emu_fatal("something that is no library");
    return l;
}

static cudaError_t kernel_get(cudaKernel_t *out, cudaLibrary_t library, const char *name) {
    struct CUlib_st *l = library_of(library);
    *out = NULL;
    for (int i = 0; i < l->module->n_kernels; i++) {
        if (strcmp(l->module->kernels[i].name, name) != 0) continue;
        struct CUkern_st *k = calloc(1, sizeof *k);
        if (!k) return cudaErrorMemoryAllocation;
        emu_keep(k);
        *k = (struct CUkern_st){KERNEL_MAGIC, l, &l->module->kernels[i],
                                emu_image_registers(&l->image, name)};
        *out = k;
        return cudaSuccess;
    }
    return cudaErrorSymbolNotFound;
}

/* ---- launching ---------------------------------------------------------------------- */

static unsigned round_to(unsigned n, unsigned to) {
    return (n + to - 1) / to * to;
}

static cudaError_t check_limits(const struct CUkern_st *k, dim3 grid, dim3 block, size_t shared) {
    unsigned long long threads = (unsigned long long)block.x * block.y * block.z;
    const emu_kernel_info *info = k->info;
    size_t fixed = (size_t)(k->library->module->shared_hi - k->library->module->shared_lo);
    if (!grid.x || !grid.y || !grid.z || grid.x > 2147483647u || grid.y > 65535u ||
        grid.z > 65535u || !threads || block.x > 1024 || block.y > 1024 || block.z > 64 ||
        threads > EMU_MAX_THREADS)
        return cudaErrorInvalidConfiguration;
    if (info->max_threads && threads > (unsigned)info->max_threads)
        return cudaErrorInvalidConfiguration;
    if (shared) emu_fatal("kernel %s: dynamic shared memory is not emulated", info->name);
    if (fixed > DEFAULT_SHARED) return cudaErrorInvalidValue;
    unsigned warps = round_to((unsigned)threads, 32);
    if (round_to((unsigned)k->registers, 8) * warps > MAX_REGISTERS)
        return cudaErrorLaunchOutOfResources;
    return cudaSuccess;
}

/* Plain pointers must point to device (or pinned) memory, or be NULL. */
static void check_pointers(const emu_kernel_info *info, void *const *args) {
    for (int i = 0; i < info->n_args; i++) {
        const void *p = NULL;
        if (!info->arg_is_pointer[i]) continue;
        memcpy(&p, args[i], sizeof p);
        if (p && !emu_memory_valid(p, 0) && !emu_memory_pinned(p, 0))
            emu_fatal("kernel %s, argument %d: %p is no device memory", info->name, i + 1, p);
    }
}

/* The same for pointers inside of structs: a word of the arguments that is the address of
 * some of this process's own memory is no number by chance. */
static void check_words(const emu_kernel_info *info, const char *args, size_t bytes) {
    static const uintptr_t lowest = (uintptr_t)1 << 40, highest = (uintptr_t)1 << 47;
    unsigned char mapped;
    for (size_t at = 0; at + sizeof(uintptr_t) <= bytes; at += sizeof(uintptr_t)) {
        uintptr_t word;
        memcpy(&word, args + at, sizeof word);
        const void *p = (const void *)word;
        if (word < lowest || word >= highest || emu_memory_on_device(p) || emu_memory_pinned(p, 0))
            continue;
        if (mincore((void *)(word & ~(uintptr_t)4095), 1, &mapped) == 0)
            emu_fatal("kernel %s: byte %zu of its arguments is the host address %p", info->name, at,
                      p);
    }
}

typedef struct queued {
    struct CUkern_st *kernel;
    emu_launch launch;
    unsigned offset[MAX_ARGS];
    _Alignas(16) char data[]; /* launch.bytes */
} queued;

static void run_queued(void *args) {
    queued *q = args;
    void *at[MAX_ARGS];
    const emu_kernel_info *info = q->kernel->info;
    for (int i = 0; i < info->n_args; i++) at[i] = q->data + q->offset[i];
    check_pointers(info, at);
    check_words(info, q->data, q->launch.bytes);
    q->launch.args = q->data;
    emu_launch_run(&q->launch, q->kernel->library->module, info, at);
}

static cudaError_t launch(const void *func, dim3 grid, dim3 block, void **args, size_t shared,
                          cudaStream_t stream) {
    struct CUkern_st *k = (struct CUkern_st *)(uintptr_t)func;
    if (!k || k->magic != KERNEL_MAGIC) emu_fatal("a launch of something that is no kernel");
    cudaError_t e = check_limits(k, grid, block, shared);
    if (e != cudaSuccess) return e;
    const emu_kernel_info *info = k->info;
    size_t bytes = sizeof(queued);
    if (info->n_args > MAX_ARGS) emu_fatal("kernel %s: too many arguments", info->name);
    for (int i = 0; i < info->n_args; i++) bytes += (info->arg_bytes[i] + 15u) / 16u * 16u;
    if (bytes - sizeof(queued) > MAX_PARAMETERS) return cudaErrorInvalidValue;
    queued *q = calloc(1, bytes);
    if (!q) return cudaErrorMemoryAllocation;
    q->kernel = k;
    q->launch = (emu_launch){
        {grid.x, grid.y, grid.z}, {block.x, block.y, block.z}, NULL, bytes - sizeof(queued)};
    unsigned at = 0;
    for (int i = 0; i < info->n_args; i++) {
        q->offset[i] = at;
        memcpy(q->data + at, args[i], info->arg_bytes[i]);
        at += (info->arg_bytes[i] + 15u) / 16u * 16u;
    }
    e = emu_enqueue(stream, info->name, run_queued, q, bytes);
    free(q);
    return e;
}

/* ---- the runtime's calls ---------------------------------------------------------------- */

EMU_API cudaError_t cudaLibraryLoadData(cudaLibrary_t *out, const void *code,
                                        enum cudaJitOption *jit, void **jit_values, unsigned n_jit,
                                        enum cudaLibraryOption *options, void **values,
                                        unsigned n_options) {
    (void)jit, (void)jit_values, (void)options, (void)values;
    if (n_jit || n_options) emu_fatal("cudaLibraryLoadData: options are not emulated");
    emu_lock();
    cudaError_t e = library_load(out, code);
    emu_unlock();
    return emu_error(e);
}

EMU_API cudaError_t cudaLibraryGetKernel(cudaKernel_t *out, cudaLibrary_t library,
                                         const char *name) {
    emu_lock();
    cudaError_t e = kernel_get(out, library, name);
    emu_unlock();
    return emu_error(e);
}

EMU_API cudaError_t cudaLaunchKernel(const void *func, dim3 grid, dim3 block, void **args,
                                     size_t shared, cudaStream_t stream) {
    emu_lock();
    cudaError_t e = launch(func, grid, block, args, shared, stream);
    emu_unlock();
    return emu_error(e);
}

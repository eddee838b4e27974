/*
 * nvrtc_i.h: what nvrtc.c, gxx.c and cubin.c share.
 */
#ifndef HWB_EMU_NVRTC_I_H
#define HWB_EMU_NVRTC_I_H

#include "image.h"

#include <cuda_runtime_api.h>
#include <stddef.h>
#include <sys/types.h>

enum { EMU_PATH = 900, EMU_MAX_OPTIONS = 8 };

bool emu_real_wanted(void); /* the real NVRTC compiles too: there, and not $HWB_EMU_NVRTC=no */

/* gxx.c: <folder>/<hash>, without ending; .image and .so lie there. */
bool emu_cache_path(char path[EMU_PATH], const char *source, const emu_image *image);
bool emu_cache_read(emu_image *image, const char *path);
bool emu_cache_write(const char *text, const char *path);
/* Compiles kernels to path.so, while the caller does something else; false with
 * the compiler's words in log. */
typedef struct emu_gxx {
    pid_t pid;
    char path[EMU_PATH], source[EMU_PATH + 64], made[EMU_PATH + 64], words[EMU_PATH + 64];
} emu_gxx;
bool emu_gxx_start(emu_gxx *g, const char *source, const char *path);
bool emu_gxx_finish(emu_gxx *g, char *log, size_t size);

/* cubin.c: adds a line "kernel NAME REGISTERS" for each kernel of a real cubin. */
void emu_cubin_read(emu_image *image, const char *cubin, size_t size);

#endif

/*
 * block_i.h: running a launched kernel, for launch.c and memory.c.
 */
#ifndef HWB_EMU_BLOCK_I_H
#define HWB_EMU_BLOCK_I_H

#include "abi.h"
#include "emu.h"

typedef struct emu_launch {
    emu_xyz grid, block;
    const void *args; /* as one piece */
    size_t bytes;
} emu_launch;

void emu_launch_run(const emu_launch *l, const emu_module *m, const emu_kernel_info *k,
                    void *const *args);
/* Kernel, block and thread that run now; NULL outside kernels. */
const char *emu_block_where(void);

#endif

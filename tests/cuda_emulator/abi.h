/*
 * abi.h: what a compiled kernel module and the emulator know of each other.
 * Plain structs of C and C++ alike; included by the emulator (C) and by every
 * kernel module (C++, through device/device.h).
 *
 * A module is a shared library that exports one `hwb_emu_module`.  A kernel's
 * `run` executes threads of the current block, one after the other, from
 * `state->cursor` on; a thread that reaches a barrier leaves through a hook
 * and comes back when all others have arrived (block.c).
 */
#ifndef HWB_EMU_ABI_H
#define HWB_EMU_ABI_H

#define HWB_EMU_ABI 1u

typedef struct emu_xyz {
    unsigned x, y, z;
} emu_xyz;

enum { EMU_MAX_THREADS = 1024 };

/* One block as it runs. */
typedef struct emu_block_state {
    emu_xyz thread, block, block_dim, grid_dim; /* the built-in variables */
    unsigned cursor, total;                     /* next entry of `order`; number of threads */
    const emu_xyz *order;                       /* the threads in the order they start */
} emu_block_state;

/* What device code asks of the emulator.  `site` numbers the place in the source. */
typedef struct emu_hooks {
    int (*barrier)(int site, int vote); /* the sum of the votes of the block's threads */
    void (*die)(const char *what);      /* device-side misuse; does not return */
} emu_hooks;

typedef struct emu_kernel_info {
    const char *name;
    int n_args;
    const unsigned *arg_bytes;
    const unsigned char *arg_is_pointer;
    int max_threads; /* of __launch_bounds__, 0 = none */
    void (*run)(void *const *args);
} emu_kernel_info;

typedef struct emu_module {
    unsigned abi;
    emu_block_state *state;
    const emu_hooks **hooks;     /* the emulator's, set once after loading */
    char *shared_lo, *shared_hi; /* shared memory of all kernels of the module */
    int n_kernels;
    const emu_kernel_info *kernels;
} emu_module;

#endif

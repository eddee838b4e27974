/*
 * cpu_fused_i.h: the plan of a fused pointwise group.
 *
 * Axes of length 1 are dropped and neighbouring axes merged where every operand
 * treats them alike.  One axis t is cut into tiles:
 *
 *     space = outer axes (0..t-1)  x  axis t, `rows` a tile  x  inner axes (one
 *             whole copy is `inner` elements, rows*inner fit a tile)
 *
 * An item, the unit of work of a thread, is `tiles` tiles of axis t times a
 * chunk of the outer indices; within it outer runs fastest, so that an operand
 * that does not depend on outer (a primal against K tangents) stays in cache.
 * Items depend on shapes only and every one has its own partial sums, so that
 * results do not depend on the number of threads.
 */
#ifndef HWB_CPU_FUSED_I_H
#define HWB_CPU_FUSED_I_H

#include "backend/cpu/cpu_i.h"
#include "backend/cpu/cpu_vec_i.h"

enum { FUSED_MAX_REGS = HWB_FUSED_MAX_IN + HWB_FUSED_MAX_INSTR };

typedef struct fused_in {
    bool direct; /* a tile is contiguous: read in place */
    bool is_bool;
    bool dense;                   /* a tile is contiguous */
    bool bytes;                   /* bools that only choose: never made numbers */
    int slot;                     /* else expanded into this slot */
    int last_use;                 /* step; n_steps = at the end */
    int64_t stride[HWB_MAX_DIMS]; /* elements; 0 = broadcast */
} fused_in;

typedef struct fused_out {
    int reg;
    bool reduce, is_bool, narrow; /* narrow: float32 storage */
    int def;                      /* step that makes reg; -1: an input or a constant */
    /* sums: which axes stay, and where the partial sums lie */
    bool keep[HWB_MAX_DIMS];
    bool direct;                 /* complete after one tile, stored at once */
    int64_t local[HWB_MAX_DIMS]; /* strides of axes t.. in the sums of a tile; 0 = summed */
    bool all_kept[HWB_MAX_DIMS], all_summed[HWB_MAX_DIMS]; /* from this axis on */
    int64_t kept_inner;         /* sums a row, or a tile when t is summed */
    int64_t slots, slot_size;   /* partial sums: slots x slot_size doubles */
    bool outer_all, outer_none; /* outer axes all kept, or none */
    size_t partial, total;      /* byte offsets in scratch: partial sums, final sums */
    int64_t numel;
} fused_out;

typedef struct fused_step {
    int op, dst, src[3]; /* registers; -1 = none */
} fused_step;

typedef struct fused_kernel {
    hwb__cpu_kernel base;
    bool narrow; /* float32 */
    size_t size; /* bytes of an element */
    int n_in, n_steps, n_out, n_regs, n_fill;
    fused_in in[HWB_FUSED_MAX_IN];
    fused_step step[HWB_FUSED_MAX_INSTR];
    fused_out out[HWB_FUSED_MAX_OUT];
    int fill[HWB_FUSED_MAX_INSTR]; /* registers with a constant */
    double fill_value[HWB_FUSED_MAX_INSTR];
    int slot[FUSED_MAX_REGS]; /* tile buffer of a register; -1 = none */
    /* geometry */
    int nd, t;
    int64_t dim[HWB_MAX_DIMS];
    int order[HWB_MAX_DIMS];     /* axes as they lie in memory, innermost last */
    int64_t place[HWB_MAX_DIMS]; /* strides of a full result, elements */
    bool apart;                  /* the rows of a tile do not lie one behind the other there */
    int64_t outer, inner, rows, n_tiles; /* rows a tile, tiles along t */
    int64_t tiles, n_blocks;             /* tiles an item, items along t */
    int64_t chunk, n_chunks;             /* outer indices an item, items along outer */
    bool given, given_dense; /* input 0 is handed over by rows; its rows are `inner` long */
    int workers;             /* threads */
    bool stream;             /* more than the caches hold: full outputs are stored past them */
    /* scratch: workers x worker_bytes, then the sums */
    size_t tile_bytes, worker_bytes, acc_offset;
} fused_kernel;

/* What one thread needs while it works. */
typedef struct fused_worker {
    const fused_kernel *k;
    const struct hwb__vec *vec;
    const void *const *in;
    void *const *out;
    char *scratch;                      /* the whole scratch */
    char *tiles;                        /* its own tile buffers */
    double *acc;                        /* its own sums of one tile */
    const char *held[HWB_FUSED_MAX_IN]; /* what expanded buffers hold */
    void *reg[FUSED_MAX_REGS];
    bool stream[HWB_FUSED_MAX_OUT];   /* stored past the caches */
    bool in_place[HWB_FUSED_MAX_OUT]; /* the register is the output's memory */
    /* input 0 from row values_row on, rows values_step bytes apart; NULL: as described */
    const char *values;
    int64_t values_row, values_step;
} fused_worker;

/* ---- plan ---------------------------------------------------------------- */

/* Which operands broadcast (or sum) axis d: bit i for input i, 16 + i for output i. */
uint32_t hwb__fused_pattern(const hwb_vdesc *in, const hwb_vdesc *out, const hwb_fused *f, int d);
/* Rows of a tile of an axis of that length, `inner` elements of `size` bytes a row. */
int64_t hwb__fused_rows(int64_t inner, int64_t axis, size_t size);
/* Operands, steps and scratch (its bytes are returned) of a kernel whose axes, tiles, items
 * and workers are known; pattern[d]: of its axis d. */
size_t hwb__fused_plan(fused_kernel *k, const hwb_vdesc *in, const hwb_vdesc *out,
                       const hwb_fused *f, const uint32_t *pattern);
/* Steps, constants and tile buffers of the program; the number of buffers. */
int hwb__fused_registers(fused_kernel *k, const hwb_fused *f);

/* ---- run ----------------------------------------------------------------- */

hwb_status hwb__fused_run(hwb_ctx *ctx, hwb__cpu_kernel *kernel, const void *const *in,
                          const uint64_t *versions, void *const *out);
/* Worker `index` for one run. */
void hwb__fused_start(fused_worker *w, const fused_kernel *k, const void *const *in,
                      void *const *out, char *scratch, int index);
/* Partial sums of o for an outer index, at row or block; to be zeroed before its tiles. */
double *hwb__fused_partial(const fused_worker *w, const fused_out *o, int64_t outer, int64_t row,
                           int64_t block);
/* Rows row..row+rows-1 of axis t. */
void hwb__fused_tile(fused_worker *w, int64_t outer, int64_t row, int64_t rows, int64_t block);
/* Adds up the partial sums. */
void hwb__fused_finish(const fused_kernel *k, char *scratch, void *const *out);

#endif

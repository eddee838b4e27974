/*
 * cuda_group_i.h: pointwise groups with trailing sums as device code.
 *
 * A group runs as passes.  Without sums there is one, a map: thread i computes
 * elements i*V..i*V+V-1 of the space (V as many as fill 16 bytes, where the last
 * axis allows).  Sums over one set of axes need one pass of tiles:
 *
 *     256 threads = KT kept x RT reduced; block (x, y) owns kept elements
 *     x*KT.. and the y-th of S equal parts of the reduced ones; each thread adds
 *     its elements in double, the RT threads of one kept element add up by a tree
 *     in shared memory, and the S parts are added by a second kernel (finish).
 *
 * Threads lie along whichever of kept and reduced the last axis is, so that loads
 * are coalesced, and step by V along it: V kept sums a thread, or V terms of one.
 * All of that depends on shapes alone, so the bits do not depend on the device.  Full
 * results are stored by the last pass, sums after all passes: a result may share its
 * buffer with an input of its own shape.
 */
#ifndef HWB_CUDA_GROUP_I_H
#define HWB_CUDA_GROUP_I_H

#include "cuda_i.h"

typedef int64_t i64;

/* One text for the host's struct and the device's. */
#define HWB__CUDA_STRINGIFY(...) #__VA_ARGS__
#define HWB__CUDA_TEXT(...)      HWB__CUDA_STRINGIFY(__VA_ARGS__)

#define HWB__CUDA_MAP_PARAMS                                                                       \
    {                                                                                              \
        void *in[16];                                                                              \
        void *out[8];                                                                              \
        i64 n;                                                                                     \
    }
typedef struct HWB__CUDA_MAP_PARAMS hwb__cuda_map_params;

/* nk: kept packs; partial: [sums of this pass][kept elements][parts] */
#define HWB__CUDA_TILE_PARAMS                                                                      \
    {                                                                                              \
        void *in[16];                                                                              \
        void *out[8];                                                                              \
        void *partial;                                                                             \
        i64 nk;                                                                                    \
        i64 nr;                                                                                    \
        i64 length;                                                                                \
        i64 parts;                                                                                 \
    }
typedef struct HWB__CUDA_TILE_PARAMS hwb__cuda_tile_params;

/* nk: kept elements; sum y of the pass goes to out[y] */
#define HWB__CUDA_FINISH_PARAMS                                                                    \
    {                                                                                              \
        void *partial;                                                                             \
        void *out[8];                                                                              \
        i64 nk;                                                                                    \
        i64 parts;                                                                                 \
    }
typedef struct HWB__CUDA_FINISH_PARAMS hwb__cuda_finish_params;

/* What a group computes; registers are of type `reg`, sums of type `acc`. */
typedef struct hwb__cuda_group {
    const hwb_fused *f;
    const hwb_vdesc *in, *out;
    const char *reg, *acc;
    bool narrow; /* 32-bit indices */
} hwb__cuda_group;

/* ---- text (cuda_emit.c) ---------------------------------------------------------- */

/* "typedef …R; typedef …A; typedef …I;" and the params struct of that body */
void hwb__cuda_emit_head(hwb__cuda_text *t, const hwb__cuda_group *g, const char *params);
/* Every register, from x0.. (inputs as loaded) to r<n>, as declarations. */
void hwb__cuda_emit_registers(hwb__cuda_text *t, const hwb__cuda_group *g);
/* Register `reg` converted for a buffer of `dtype`, as an expression. */
void hwb__cuda_emit_value(hwb__cuda_text *t, const hwb__cuda_group *g, int reg, hwb_dtype dtype);
/* Offsets o<j> of operands from..to-1 (bits of `mask`) from the linear index `index`
 * over the walk's axes of `tag`, innermost first: "I o3 = base3 + ...". */
void hwb__cuda_emit_offsets(hwb__cuda_text *t, const hwb__cuda_walk *w, int tag, uint32_t mask,
                            const char *index, const char *base);
/* Elements a thread handles at once: 16 bytes of the group's type, where the last axis
 * of the space (and so of every operand that steps along it) is a multiple of that; every
 * address is then one of 16 bytes. */
int hwb__cuda_pack_of(const hwb__cuda_group *g, const hwb__cuda_walk *w);
/* "v<input> = ..", one element or a pack, from the text `offset` on */
void hwb__cuda_emit_load(hwb__cuda_text *t, const hwb__cuda_group *g, int input, int v,
                         const char *offset);
/* Opens the loop over a pack (v > 1) and declares every register of element e; the walk is
 * that of the inputs. */
void hwb__cuda_emit_elements(hwb__cuda_text *t, const hwb__cuda_group *g, const hwb__cuda_walk *w,
                             int v);

/* ---- passes ---------------------------------------------------------------------------- */

typedef struct hwb__cuda_map { /* cuda_map.c */
    cudaKernel_t f;
    hwb__cuda_grid grid;
    hwb__cuda_map_params p;
} hwb__cuda_map;

hwb_status hwb__cuda_map_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_map *m,
                              const hwb__cuda_group *g);

/* How kept and reduced elements lie on threads and blocks. */
typedef struct hwb__cuda_tiling {
    int64_t nk, nr;
    bool row;      /* threads lie along the reduced elements */
    int kt, rt;    /* powers of two, kt*rt = 256 */
    int64_t parts; /* S */
    int64_t length;
    int64_t tiles; /* blocks along the kept elements */
} hwb__cuda_tiling;

hwb__cuda_tiling hwb__cuda_tiling_of(int64_t nk, int64_t nr, bool row, bool split);

typedef struct hwb__cuda_tile { /* cuda_tile.c */
    cudaKernel_t f, finish;
    hwb__cuda_tiling tiling, finish_tiling;
    int width, n_sums, sum[HWB_FUSED_MAX_OUT]; /* V; outputs summed by this pass */
    int64_t kept;                              /* elements of each */
    bool direct;                               /* sums go to their outputs, not to parts */
    bool stores;                               /* this pass stores the full outputs */
    hwb__cuda_tile_params p;
} hwb__cuda_tile;

/* The pass that sums outputs sum[0..n) over the axes set in `axes`. */
hwb_status hwb__cuda_tile_make(hwb_ctx *ctx, hwb__cuda *s, hwb__cuda_tile *t,
                               const hwb__cuda_group *g, uint32_t axes);
/* "const int tid, kt, rt; I k" of a tiling */
void hwb__cuda_emit_tile_index(hwb__cuda_text *t, const hwb__cuda_tiling *g);
size_t hwb__cuda_tile_scratch(const hwb__cuda_tile *t);

#endif

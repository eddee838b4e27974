/*
 * bind_tensor_i.h: what the files that make up the tensor type share.
 *
 *   bind_tensor.c   the userdata, facts, conversion        bind_make.c    makers
 *   bind_memory.c   garbage collection, scopes             bind_random.c  random tensors
 *   bind_index.c    t[...], t[...] =                       bind_ops.c     calling operations
 *   bind_view.c     views                                  bind_pointwise.c, bind_reduce.c,
 *   bind_inplace.c  methods that end in _                  bind_compose.c, bind_gather.c
 *   bind_host.c     sorting and the like                   bind_ad.c      derivatives
 */
#ifndef HWB_LUA_BIND_TENSOR_I_H
#define HWB_LUA_BIND_TENSOR_I_H

#include "bind_i.h"

/* What a Lua state remembers beside its context. */
typedef struct hwb__lstate {
    size_t soft_limit;    /* live bytes at which the collector is run */
    int open_scopes;      /* hwb.scope()s that wait for their end */
    uint64_t seed, draws; /* random tensors: draw i uses stream i of the seed */
    hwb_graph *trace;     /* the graph that is being traced (borrowed), or NULL */
} hwb__lstate;
hwb__lstate *hwb__lstate_of(lua_State *L);

/* Add methods of tensors; add functions to the table at the top. */
void hwb__lset_methods(lua_State *L, const luaL_Reg *methods);
void hwb__lset_metamethods(lua_State *L, const luaL_Reg *methods);

/* The parts that hwb__lopen_tensor and hwb__lopen_ops put together. */
void hwb__lopen_memory(lua_State *L);
void hwb__lopen_make(lua_State *L);
void hwb__lopen_index(lua_State *L);
void hwb__lopen_view(lua_State *L);
void hwb__lopen_inplace(lua_State *L);
void hwb__lopen_host(lua_State *L);
void hwb__lopen_pointwise(lua_State *L);
void hwb__lopen_reduce(lua_State *L);
void hwb__lopen_compose(lua_State *L);
void hwb__lopen_gather(lua_State *L);

/* Push a new tensor (not initialised); when memory is short, after a collection. */
hwb_tensor *hwb__lpush_new(lua_State *L, hwb_dtype dtype, hwb_shape shape);
/* Called when a tensor has come to lie in a userdata (at the top of the stack). */
void hwb__lcount(lua_State *L);

/* "tensor 2x3 float32" pieces of messages */
int hwb__ltraced_error(lua_State *L);
/* Element `flat` as a Lua number or boolean. */
void hwb__lpush_element(lua_State *L, const hwb_tensor *t, int64_t flat);
/* The number of a Lua number or boolean at `arg`. */
double hwb__lcheck_number(lua_State *L, int arg);

/* Table with string keys, or nothing: the options of a call. */
bool hwb__lis_options(lua_State *L, int arg);
/* dtype= of an options table that may hold nothing else. */
hwb_dtype hwb__lopt_dtype(lua_State *L, int arg, hwb_dtype otherwise);
/* 1-based, negative from the end -> 0-based index below n; raises with `what`. */
int64_t hwb__lcheck_index(lua_State *L, int arg, int64_t n, const char *what);

/* Axes of a reduction: nothing = all, a number, or a list; then options with
 * `known` keys, whose position (or 0) is *options. */
uint32_t hwb__lcheck_axes(lua_State *L, int arg, int rank, const char *const *known, int *options);

/* Lift the number at `arg` as a scalar of `dtype`; a non-integral number beside
 * integers is float32. */
hwb_status hwb__llift_number(hwb__lcall *c, hwb_id *out, lua_State *L, int arg, hwb_dtype dtype);
/* One-based indices -> zero-based int64. */
hwb_status hwb__lzero_based(hwb_graph *g, hwb_id *out, hwb_id index);
/* Raise when a concrete index tensor at `arg` leaves 1..n (`what` in the text). */
void hwb__lcheck_indices(lua_State *L, int arg, int64_t n, const char *what);
/* uint8 and bool have no arithmetic: int64 in their place. */
hwb_status hwb__las_number(hwb_graph *g, hwb_id *x);
/* integers become float32 */
hwb_status hwb__las_float(hwb_graph *g, hwb_id *x);

#endif

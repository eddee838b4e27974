/*
 * bind_i.h: what the binding files share: the tensor userdata, argument and
 * option readers, and the one way in which an operation is called.
 */
#ifndef HWB_LUA_BIND_I_H
#define HWB_LUA_BIND_I_H

#include "bind.h"

#include "hwb.h"

/* A Lua tensor is concrete (t) or traced (node `id` of g). */
typedef struct hwb__ltensor {
    hwb_tensor *t; /* owned */
    hwb_graph *g;  /* owned */
    hwb_id id;
} hwb__ltensor;

#define HWB_LTENSOR "hwb.tensor"
#define HWB_LMODEL  "hwb.model"

/* Raise unless OK. */
static inline void hwb__lcheck(lua_State *L, hwb_status st) {
    if (st != HWB_OK) hwb_lua_raise(L, st);
}
/* nil, message, code: how the outside world (files, devices) fails. */
int hwb__lfail(lua_State *L, hwb_status st);

/* ---- tensors (bind_tensor.c) -------------------------------------------------- */

hwb__ltensor *hwb__lnew(lua_State *L);        /* pushes an empty one */
void hwb__lpush(lua_State *L, hwb_tensor *t); /* takes t */
void hwb__lpush_traced(lua_State *L, hwb_graph *g, hwb_id id);
hwb__ltensor *hwb__ltest(lua_State *L, int arg);       /* NULL if it is none */
hwb__ltensor *hwb__lcheck_any(lua_State *L, int arg);  /* concrete or traced */
hwb_tensor *hwb__lcheck_tensor(lua_State *L, int arg); /* concrete; borrowed */
const hwb_shape *hwb__lshape(const hwb__ltensor *t);
hwb_dtype hwb__ldtype(const hwb__ltensor *t);

/* Sizes from numbers at first.. (or one table there); *next = argument after. */
hwb_shape hwb__lcheck_shape(lua_State *L, int first, int *next);
hwb_dtype hwb__lcheck_dtype(lua_State *L, int arg);
/* 1-based axis, negative from the end -> 0-based; raises when out of range. */
int hwb__lcheck_axis(lua_State *L, int arg, int rank);

/* ---- options: a last table whose keys must be known ------------------------------- */

/* Raise when table `arg` (or nil) has a key not in the NULL-terminated list. */
void hwb__lcheck_options(lua_State *L, int arg, const char *const *known);
lua_Integer hwb__lopt_integer(lua_State *L, int arg, const char *key, lua_Integer otherwise);
lua_Number hwb__lopt_number(lua_State *L, int arg, const char *key, lua_Number otherwise);
bool hwb__lopt_boolean(lua_State *L, int arg, const char *key, bool otherwise);
/* Borrowed while the table lives. */
const char *hwb__lopt_string(lua_State *L, int arg, const char *key, const char *otherwise);

/* ---- results: fields of the table at the top (bind_fields.c) --------------------------- */

void hwb__lset_integer(lua_State *L, const char *key, lua_Integer v);
void hwb__lset_number(lua_State *L, const char *key, lua_Number v);
void hwb__lset_boolean(lua_State *L, const char *key, bool v);
void hwb__lset_string(lua_State *L, const char *key, const char *v);
void hwb__lset_numbers(lua_State *L, const char *key, int64_t n, const double *v);
/* push a list of n numbers */
void hwb__lpush_numbers(lua_State *L, int64_t n, const double *v);
/* The metatable `name` of a userdata class: metamethods (NULL: none), methods, locked. */
void hwb__lclass(lua_State *L, const char *name, const luaL_Reg *meta, const luaL_Reg *methods);

/* ---- calling an operation (bind_ops.c) ---------------------------------------------- */

enum { HWB_LCALL_MAX = 64 };
typedef struct hwb__lcall {
    lua_State *L;
    hwb_ctx *ctx;
    hwb_eager *e; /* NULL when some argument is traced */
    hwb_graph *g;
    hwb_id in[HWB_LCALL_MAX];
} hwb__lcall;

/* Lift arguments first..first+n-1 (tensors; numbers take the dtype of a tensor
 * beside them; nil gives HWB_NONE, except for the first) into the graph of a
 * traced one, or into a scratch graph. */
void hwb__lbegin(hwb__lcall *c, lua_State *L, int first, int n);
/* Lift one more argument. */
void hwb__llift(hwb__lcall *c, int arg, hwb_id *out);
/* st is that of building: raise, or push n results.  Returns n. */
int hwb__lend(hwb__lcall *c, hwb_status st, int n, const hwb_id *outs);

/* A loader at `arg` as a curvature source of its own; false if it is none (bind_data.c). */
bool hwb__lloader_source(lua_State *L, int arg, hwb_source *out);

/* Option "loss" of the table at `options` (cross-entropy by default); pushes what
 * must live as long as *fn may be called: a userdata or nil (bind_loss.c). */
void hwb__lread_loss(lua_State *L, int options, hwb_loss_fn *fn, void **user);
/* From now on the functions that the userdata at `arg` keeps as user values 2 (the
 * loss) and 3 (the module) run on thread L and with the module as it is now. */
void hwb__luse_callbacks(lua_State *L, int arg);

/* Targets for the engine: labels, 1-based in Lua, become 0-based int64; others
 * are the same tensor.  *out is a new reference. */
hwb_status hwb__lzero_based_targets(lua_State *L, hwb_tensor **out, hwb_tensor *y);

/* Say which graph is being traced (NULL: none); returns the one before, to be
 * put back.  Derivatives taken meanwhile extend that graph. */
hwb_graph *hwb__ltrace_set(lua_State *L, hwb_graph *g);

/* ---- models (bind_model.c) ------------------------------------------------------------- */

/* The engine model of the module at `arg` (a Lua table with :engine() or the
 * userdata itself); borrowed while that value lives. */
hwb_model *hwb__lcheck_model(lua_State *L, int arg);
/* The same, and push the userdata: whoever keeps the model keeps that, and hands
 * it to hwb__lcheck_model before the forward pass may be called. */
hwb_model *hwb__lpush_model(lua_State *L, int arg);
/* Call the function at the top of the stack - n arguments - for a C callback:
 * an error becomes HWB_* in the context. */
hwb_status hwb__lpcall(lua_State *L, int n_args, int n_results);

/* ---- the parts of the hwb table: each sets fields of the table at the top ------------------ */

void hwb__lopen_tensor(lua_State *L);
void hwb__lopen_ops(lua_State *L);
void hwb__lopen_ad(lua_State *L);
void hwb__lopen_model(lua_State *L);
void hwb__lopen_random(lua_State *L);
void hwb__lopen_io(lua_State *L);
void hwb__lopen_device(lua_State *L);
void hwb__lopen_bundle(lua_State *L);
void hwb__lopen_data(lua_State *L);
void hwb__lopen_curvature(lua_State *L);
void hwb__lopen_quant(lua_State *L);
void hwb__lopen_allocate(lua_State *L);
void hwb__lopen_train(lua_State *L);
void hwb__lopen_controller(lua_State *L);
void hwb__lopen_comm(lua_State *L);

#endif

/*
 * bind_data.c: datasets and loaders.
 *
 * A dataset is userdata: #ds, ds:batch(first, last) -> x, y (1-based, both
 * ends included), ds:loader{...}, ds:subset(first, last).  Labels are 1-based.
 * The makers are in lua/hwb/data.lua on top of hwb.engine.dataset.
 */
#include "bind_tensor_i.h"

#include <string.h>

#define DATASET "hwb.dataset"
#define LOADER  "hwb.loader"

/* ---- datasets ------------------------------------------------------------------------ */

static hwb_dataset **new_dataset(lua_State *L) {
    hwb_dataset **u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = NULL;
    luaL_setmetatable(L, DATASET);
    return u;
}

static hwb_dataset *check(lua_State *L, int arg) {
    hwb_dataset **u = luaL_checkudata(L, arg, DATASET);
    luaL_argcheck(L, *u, arg, "closed dataset");
    return *u;
}

static int dataset_gc(lua_State *L) {
    hwb_dataset **u = luaL_checkudata(L, 1, DATASET);
    hwb_dataset_release(*u);
    *u = NULL;
    return 0;
}

/* Files: nil, message on failure, the dataset otherwise. */
static int finish(lua_State *L, hwb_status st) {
    if (st == HWB_EIO || st == HWB_EFORMAT) return hwb__lfail(L, st);
    hwb__lcheck(L, st);
    return 1;
}

static int cifar(lua_State *L) { /* (classes, root, split) */
    hwb_dataset **u = new_dataset(L);
    return finish(L, hwb_dataset_cifar(hwb_lua_ctx(L), u, (int)luaL_checkinteger(L, 1),
                                       luaL_checkstring(L, 2), luaL_checkstring(L, 3)));
}

static int folder(lua_State *L) { /* (root, shorter, size) */
    hwb_dataset **u = new_dataset(L);
    return finish(L, hwb_dataset_folder(hwb_lua_ctx(L), u, luaL_checkstring(L, 1),
                                        luaL_checkinteger(L, 2), luaL_checkinteger(L, 3)));
}

/* (root, write) -> {classes=, images=, ...}: see hwb_folder_index */
static int folder_index(lua_State *L) {
    hwb_folder_index_info i;
    hwb_status st =
        hwb_folder_index(hwb_lua_ctx(L), luaL_checkstring(L, 1), lua_toboolean(L, 2), &i);
    if (st == HWB_EIO || st == HWB_EFORMAT) return hwb__lfail(L, st);
    hwb__lcheck(L, st);
    lua_createtable(L, 0, 6);
    hwb__lset_integer(L, "classes", i.classes);
    hwb__lset_integer(L, "images", i.images);
    hwb__lset_integer(L, "bytes", i.bytes);
    hwb__lset_integer(L, "stale", i.stale);
    hwb__lset_boolean(L, "found", i.found);
    hwb__lset_boolean(L, "damaged", i.damaged);
    return 1;
}

static int shapes10(lua_State *L) { /* (split, seed, count) */
    hwb_dataset **u = new_dataset(L);
    return finish(L,
                  hwb_dataset_shapes10(hwb_lua_ctx(L), u, luaL_checkstring(L, 1),
                                       (uint64_t)luaL_checkinteger(L, 2), luaL_checkinteger(L, 3)));
}

static int tensors(lua_State *L) { /* (x, y): y is 1-based */
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_tensor *x = hwb__lcheck_tensor(L, 1), *y = hwb__lcheck_tensor(L, 2), *zero_based;
    hwb_dataset **u = new_dataset(L);
    hwb__lcheck(L, hwb__lzero_based_targets(L, &zero_based, y));
    hwb_status st = hwb_dataset_tensors(ctx, u, x, zero_based);
    hwb_tensor_release(zero_based);
    hwb__lcheck(L, st);
    return 1;
}

static int resized(lua_State *L) { /* (dataset, h, w) */
    hwb_dataset *ds = check(L, 1);
    hwb_dataset **u = new_dataset(L);
    hwb__lcheck(L, hwb_dataset_resized(hwb_lua_ctx(L), u, ds, luaL_checkinteger(L, 2),
                                       luaL_checkinteger(L, 3)));
    return 1;
}

static int subset(lua_State *L) { /* ds:subset(first, last) */
    hwb_dataset *ds = check(L, 1);
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    hwb_dataset **u = new_dataset(L);
    if (first < 1 || last < first || last > hwb_dataset_count(ds))
        return luaL_error(L, "subset: %I..%I is not within 1..%I", first, last,
                          (lua_Integer)hwb_dataset_count(ds));
    hwb__lcheck(L, hwb_dataset_subset(hwb_lua_ctx(L), u, ds, first - 1, last - first + 1));
    return 1;
}

static int set_norm(lua_State *L) { /* ds:set_norm(mean, std) */
    hwb_dataset *ds = check(L, 1);
    double v[2][16];
    int n = (int)luaL_len(L, 2);
    if (n > 16 || n != (int)luaL_len(L, 3))
        return luaL_error(L, "mean and std must be lists of equal length, a number a channel");
    for (int k = 0; k < 2; k++)
        for (int i = 0; i < n; i++) {
            lua_geti(L, 2 + k, i + 1);
            v[k][i] = luaL_checknumber(L, -1);
            lua_pop(L, 1);
        }
    hwb__lcheck(L, hwb_dataset_set_norm(hwb_lua_ctx(L), ds, n, v[0], v[1]));
    return 0;
}

static int set_dtype(lua_State *L) {
    hwb__lcheck(L, hwb_dataset_set_dtype(hwb_lua_ctx(L), check(L, 1), hwb__lcheck_dtype(L, 2)));
    return 0;
}

/* "dataset shapes10: 10000 samples of 3x32x32, 10 classes" */
static int dataset_text(lua_State *L) {
    hwb_dataset *ds = check(L, 1);
    char shape[HWB_SHAPE_TEXT];
    lua_pushfstring(L, "dataset %s: %I samples of %s, %I classes", hwb_dataset_kind(ds),
                    (LUAI_UACINT)hwb_dataset_count(ds),
                    hwb_shape_text(hwb_dataset_sample_shape(ds), shape),
                    (LUAI_UACINT)hwb_dataset_classes(ds));
    return 1;
}

static int dataset_len(lua_State *L) {
    lua_pushinteger(L, hwb_dataset_count(check(L, 1)));
    return 1;
}

/* Labels leave the engine 1-based.  The pair (x, y) goes into two empty Lua
 * tensors made beforehand: an interrupt between two pushes would lose one. */
static int fill_batch(lua_State *L, hwb__ltensor *pair[2], hwb_tensor *x, hwb_tensor *y) {
    int64_t *label = hwb_tensor_data(y);
    pair[0]->t = x;
    pair[1]->t = y;
    for (int64_t i = 0; i < hwb_tensor_numel(y); i++) label[i]++;
    hwb_tensor_touch(y);
    lua_pushvalue(L, -2); /* each enters the open scope */
    hwb__lcount(L);
    lua_pop(L, 1);
    hwb__lcount(L);
    return 2;
}

/* ds:batch(first, last) -> x, y */
static int batch(lua_State *L) {
    hwb_dataset *ds = check(L, 1);
    lua_Integer first = luaL_checkinteger(L, 2), last = luaL_checkinteger(L, 3);
    hwb_tensor *x, *y;
    if (first < 1 || last < first || last > hwb_dataset_count(ds))
        return luaL_error(L, "batch: %I..%I is not within 1..%I", first, last,
                          (lua_Integer)hwb_dataset_count(ds));
    hwb__ltensor *pair[2] = {hwb__lnew(L), hwb__lnew(L)};
    hwb__lcheck(L, hwb_dataset_batch(hwb_lua_ctx(L), ds, first - 1, last - first + 1, &x, &y));
    return fill_batch(L, pair, x, y);
}

/* ds:info() -> {kind=, classes=, names=, sample={C,H,W}, dtype=} */
static int info(lua_State *L) {
    hwb_dataset *ds = check(L, 1);
    const hwb_shape *s = hwb_dataset_sample_shape(ds);
    lua_createtable(L, 0, 5);
    hwb__lset_string(L, "kind", hwb_dataset_kind(ds));
    hwb__lset_integer(L, "classes", hwb_dataset_classes(ds));
    hwb__lset_string(L, "dtype", hwb_dtype_name(hwb_dataset_dtype(ds)));
    lua_createtable(L, s->ndim, 0);
    for (int i = 0; i < s->ndim; i++) {
        lua_pushinteger(L, s->dim[i]);
        lua_rawseti(L, -2, i + 1);
    }
    lua_setfield(L, -2, "sample");
    lua_newtable(L);
    for (int64_t k = 0; k < hwb_dataset_classes(ds) && hwb_dataset_class_name(ds, k); k++) {
        lua_pushstring(L, hwb_dataset_class_name(ds, k));
        lua_rawseti(L, -2, k + 1);
    }
    lua_setfield(L, -2, "names");
    return 1;
}

/* ---- loaders ------------------------------------------------------------------------------ */

static int new_loader(lua_State *L) { /* ds:loader{...} */
    static const char *const known[] = {"batch",   "shuffle", "drop_last", "seed",
                                        "augment", "workers", "split",     NULL};
    static const char *const known_augment[] = {"crop", "flip", "cutout", "resized", NULL};
    hwb_dataset *ds = check(L, 1);
    hwb_loader_options o = hwb_loader_defaults();
    hwb__lcheck_options(L, 2, known);
    o.batch = hwb__lopt_integer(L, 2, "batch", o.batch);
    o.shuffle = hwb__lopt_boolean(L, 2, "shuffle", false);
    o.drop_last = hwb__lopt_boolean(L, 2, "drop_last", false);
    o.seed = (uint64_t)hwb__lopt_integer(L, 2, "seed", 0);
    o.workers = (int)hwb__lopt_integer(L, 2, "workers", o.workers);
    if (hwb__lopt_boolean(L, 2, "split", false)) { /* this rank's part of every batch */
        hwb_comm_place here = hwb_comm_where(hwb_lua_ctx(L));
        o.part = here.rank;
        o.parts = here.size;
    }
    if (lua_istable(L, 2) && lua_getfield(L, 2, "augment") == LUA_TTABLE) {
        int at = lua_gettop(L);
        hwb__lcheck_options(L, at, known_augment);
        o.crop = hwb__lopt_integer(L, at, "crop", 0);
        o.flip = hwb__lopt_boolean(L, at, "flip", false);
        o.resized = hwb__lopt_boolean(L, at, "resized", false);
        o.cutout = hwb__lopt_integer(L, at, "cutout", 0);
    }
    hwb_loader **u = lua_newuserdatauv(L, sizeof *u, 1);
    *u = NULL;
    luaL_setmetatable(L, LOADER);
    hwb__lcheck(L, hwb_loader_new(hwb_lua_ctx(L), u, ds, &o));
    lua_pushvalue(L, 1);
    lua_setiuservalue(L, -2, 1); /* loader.dataset */
    return 1;
}

static hwb_loader *check_loader(lua_State *L, int arg) {
    hwb_loader **u = luaL_checkudata(L, arg, LOADER);
    luaL_argcheck(L, *u, arg, "closed loader");
    return *u;
}

static int loader_gc(lua_State *L) {
    hwb_loader **u = luaL_checkudata(L, 1, LOADER);
    hwb_loader_free(*u);
    *u = NULL;
    return 0;
}

/* for x, y in loader do … end: one epoch; the next loop is the next epoch */
static int loader_next(lua_State *L) {
    hwb_tensor *x, *y;
    hwb_loader *loader = check_loader(L, 1);
    hwb__ltensor *pair[2] = {hwb__lnew(L), hwb__lnew(L)};
    hwb__lcheck(L, hwb_loader_next(hwb_lua_ctx(L), loader, &x, &y));
    return x ? fill_batch(L, pair, x, y) : 0;
}

static int loader_tell(lua_State *L) {
    int64_t epoch, position;
    hwb_loader_tell(check_loader(L, 1), &epoch, &position);
    lua_pushinteger(L, epoch);
    lua_pushinteger(L, position);
    return 2;
}

static int loader_seek(lua_State *L) {
    hwb__lcheck(L, hwb_loader_seek(hwb_lua_ctx(L), check_loader(L, 1), luaL_checkinteger(L, 2),
                                   luaL_optinteger(L, 3, 0)));
    return 0;
}

static int loader_set_batch(lua_State *L) {
    hwb__lcheck(L,
                hwb_loader_set_batch(hwb_lua_ctx(L), check_loader(L, 1), luaL_checkinteger(L, 2)));
    return 0;
}

static int loader_len(lua_State *L) {
    lua_pushinteger(L, hwb_loader_batches(check_loader(L, 1)));
    return 1;
}

/* loader:info() -> {batch=, shuffle=, drop_last=, seed=, workers=} */
static int loader_info(lua_State *L) {
    hwb_loader_options o = hwb_loader_get_options(check_loader(L, 1));
    lua_createtable(L, 0, 5);
    hwb__lset_integer(L, "batch", o.batch);
    hwb__lset_boolean(L, "shuffle", o.shuffle);
    hwb__lset_boolean(L, "drop_last", o.drop_last);
    hwb__lset_integer(L, "seed", (lua_Integer)o.seed);
    hwb__lset_integer(L, "workers", o.workers);
    hwb__lset_boolean(L, "split", o.parts > 1);
    return 1;
}

/* "loader: 79 batches of 128, shuffled (seed 0)" */
static int loader_text(lua_State *L) {
    hwb_loader *l = check_loader(L, 1);
    hwb_loader_options o = hwb_loader_get_options(l);
    lua_pushfstring(L, "loader: %I batches of %I", (LUAI_UACINT)hwb_loader_batches(l),
                    (LUAI_UACINT)o.batch);
    if (o.shuffle) lua_pushfstring(L, ", shuffled (seed %I)", (LUAI_UACINT)o.seed);
    else lua_pushliteral(L, ", in order");
    lua_concat(L, 2);
    return 1;
}

static int loader_dataset(lua_State *L) {
    check_loader(L, 1);
    lua_getiuservalue(L, 1, 1);
    return 1;
}

/* ---- a loader as the data of a curvature operator --------------------------------------------- */

static hwb_status source_rewind(hwb_ctx *ctx, void *self) {
    return hwb_loader_seek(ctx, self, 0, 0);
}

static hwb_status source_next(hwb_ctx *ctx, void *self, hwb_tensor **x, hwb_tensor **y) {
    return hwb_loader_next(ctx, self, x, y);
}

static void source_free(void *self) {
    hwb_loader_free(self);
}

static bool source_take_part(void *self, int part, int parts) {
    return hwb_loader_set_part(NULL, self, part, parts) == HWB_OK;
}

bool hwb__lloader_source(lua_State *L, int arg, hwb_source *out) {
    hwb_loader **u = luaL_testudata(L, arg, LOADER);
    if (!u) return false;
    hwb_loader_options o = hwb_loader_get_options(check_loader(L, arg));
    hwb_loader *l; /* a loader of its own: the user's keeps its position */
    hwb__lcheck(L, hwb_loader_new(hwb_lua_ctx(L), &l, hwb_loader_dataset(*u), &o));
    *out = (hwb_source){l, source_rewind, source_next, source_free, source_take_part};
    return true;
}

/* ---- registration ---------------------------------------------------------------------------------- */

static const luaL_Reg dataset_methods[] = {
    {"batch", batch},         {"loader", new_loader}, {"subset", subset},   {"set_norm", set_norm},
    {"set_dtype", set_dtype}, {"info", info},         {"resized", resized}, {NULL, NULL},
};

static const luaL_Reg loader_methods[] = {
    {"next", loader_next},
    {"tell", loader_tell},
    {"seek", loader_seek},
    {"set_batch", loader_set_batch},
    {"dataset", loader_dataset},
    {"info", loader_info},
    {NULL, NULL},
};

static const luaL_Reg makers[] = {
    {"cifar", cifar},       {"folder", folder},   {"index", folder_index},
    {"shapes10", shapes10}, {"tensors", tensors}, {NULL, NULL},
};

void hwb__lopen_data(lua_State *L) {
    static const luaL_Reg dataset_meta[] = {
        {"__gc", dataset_gc}, {"__len", dataset_len}, {"__tostring", dataset_text}, {NULL, NULL}};
    static const luaL_Reg loader_meta[] = {{"__gc", loader_gc},
                                           {"__len", loader_len},
                                           {"__call", loader_next},
                                           {"__tostring", loader_text},
                                           {NULL, NULL}};
    hwb__lclass(L, DATASET, dataset_meta, dataset_methods);
    hwb__lclass(L, LOADER, loader_meta, loader_methods);
    lua_getfield(L, -1, "engine");
    luaL_newlib(L, makers);
    lua_setfield(L, -2, "dataset");
    lua_pop(L, 1);
}

/*
 * bind_quant.c: quantizers, packing, observers and sizes as hwb.engine.quant.
 *
 * A quantizer is described by {bits=, scheme=, granularity=, group=, range=,
 * percentile=}.  lua/hwb/quant.lua is written on top.
 */
#include "bind_i.h"

#include <string.h>

#define OBSERVER "hwb.observer"

/* ---- descriptions --------------------------------------------------------------------- */

/* Index of the option's text in the NULL-terminated list. */
static int opt_word(lua_State *L, int arg, const char *key, const char *const *words,
                    int otherwise) {
    const char *text = hwb__lopt_string(L, arg, key, words[otherwise]);
    for (int i = 0; words[i]; i++)
        if (strcmp(words[i], text) == 0) return i;
    luaL_Buffer b;
    luaL_buffinit(L, &b);
    for (int i = 0; words[i]; i++) {
        if (i) luaL_addstring(&b, ", ");
        luaL_addstring(&b, words[i]);
    }
    luaL_pushresult(&b);
    return luaL_error(L, "option '%s' must be one of %s, not \"%s\"", key, lua_tostring(L, -1),
                      text);
}

static hwb_quant_scheme opt_scheme(lua_State *L, int arg) {
    static const char *const words[] = {"symmetric", "asymmetric", NULL};
    return opt_word(L, arg, "scheme", words, 0) ? HWB_QUANT_ASYMMETRIC : HWB_QUANT_SYMMETRIC;
}

static hwb_quant_spec check_spec(lua_State *L, int arg) {
    static const char *const known[] = {"bits",  "scheme",     "granularity", "group",
                                        "range", "percentile", NULL};
    static const char *const granularities[] = {"tensor", "channel", "group", NULL};
    static const char *const ranges[] = {"minmax", "percentile", "mse", NULL};
    hwb_quant_spec s = hwb_quant_defaults();
    luaL_checktype(L, arg, LUA_TTABLE);
    hwb__lcheck_options(L, arg, known);
    s.bits = (int)hwb__lopt_integer(L, arg, "bits", s.bits);
    s.scheme = opt_scheme(L, arg);
    s.granularity = (hwb_quant_granularity)opt_word(L, arg, "granularity", granularities, 1);
    s.group_rows = hwb__lopt_integer(L, arg, "group", s.group_rows);
    s.ranging = (hwb_quant_ranging)opt_word(L, arg, "range", ranges, 0);
    s.percentile = hwb__lopt_number(L, arg, "percentile", s.percentile);
    hwb__lcheck(L, hwb_quant_check(hwb_lua_ctx(L), &s));
    return s;
}

/* (…, scale, zero, spec) from `arg` on: borrowed tensors */
static hwb_quant_params check_params(lua_State *L, int arg) {
    hwb_quant_params p = {.spec = check_spec(L, arg + 2)};
    p.scale = hwb__lcheck_tensor(L, arg);
    p.zero = hwb__lcheck_tensor(L, arg + 1);
    luaL_argcheck(
        L, hwb_dtype_is_float(hwb_tensor_dtype(p.scale)) && hwb_tensor_is_contiguous(p.scale), arg,
        "dense float scales expected");
    luaL_argcheck(L, hwb_tensor_dtype(p.zero) == HWB_I32 && hwb_tensor_is_contiguous(p.zero),
                  arg + 1, "dense int32 zero points expected");
    return p;
}

/* ---- weights --------------------------------------------------------------------------------- */

static int quant_error(lua_State *L) { /* (w, spec) -> ‖Q(w) - w‖² */
    hwb_quant_spec s = check_spec(L, 2);
    double e;
    hwb__lcheck(L, hwb_quant_error(hwb_lua_ctx(L), &e, hwb__lcheck_tensor(L, 1), &s));
    lua_pushnumber(L, e);
    return 1;
}

static int quant_fake(lua_State *L) { /* (w, spec) -> Q(w) */
    hwb_quant_spec s = check_spec(L, 2);
    hwb_tensor *q;
    hwb__lcheck(L, hwb_quant_fake(hwb_lua_ctx(L), &q, hwb__lcheck_tensor(L, 1), &s));
    hwb__lpush(L, q);
    return 1;
}

static int quant_range(lua_State *L) { /* (w, spec) -> scale [G], zero [G] */
    hwb_quant_spec s = check_spec(L, 2);
    hwb_quant_params p;
    hwb__lcheck(L, hwb_quant_range(hwb_lua_ctx(L), &p, hwb__lcheck_tensor(L, 1), &s));
    hwb__lpush(L, p.scale);
    hwb__lpush(L, p.zero);
    return 2;
}

static int quant_encode(lua_State *L) { /* (w, scale, zero, spec) -> int32 codes */
    hwb_quant_params p = check_params(L, 2);
    hwb_tensor *codes;
    hwb__lcheck(L, hwb_quant_encode(hwb_lua_ctx(L), &codes, hwb__lcheck_tensor(L, 1), &p));
    hwb__lpush(L, codes);
    return 1;
}

static int quant_decode(lua_State *L) { /* (codes, scale, zero, spec) -> w */
    hwb_quant_params p = check_params(L, 2);
    hwb_tensor *w;
    hwb__lcheck(L, hwb_quant_decode(hwb_lua_ctx(L), &w, hwb__lcheck_tensor(L, 1), &p));
    hwb__lpush(L, w);
    return 1;
}

static int quant_pack(lua_State *L) { /* (codes, spec) -> uint8 [bytes] */
    hwb_quant_spec s = check_spec(L, 2);
    hwb_tensor *bytes;
    hwb__lcheck(L, hwb_quant_pack(hwb_lua_ctx(L), &bytes, hwb__lcheck_tensor(L, 1), &s));
    hwb__lpush(L, bytes);
    return 1;
}

static int quant_unpack(lua_State *L) { /* (bytes, sizes, spec) -> codes */
    hwb_quant_spec s = check_spec(L, 3);
    hwb_shape shape = hwb__lcheck_shape(L, 2, NULL);
    hwb_tensor *codes;
    hwb__lcheck(L, hwb_quant_unpack(hwb_lua_ctx(L), &codes, hwb__lcheck_tensor(L, 1), shape, &s));
    hwb__lpush(L, codes);
    return 1;
}

static int quant_groups(lua_State *L) { /* (sizes, spec) -> number of scales, packed bytes */
    hwb_quant_spec s = check_spec(L, 2);
    hwb_shape shape = hwb__lcheck_shape(L, 1, NULL);
    int64_t groups = hwb_quant_groups(&s, &shape);
    lua_pushinteger(L, groups);
    lua_pushinteger(L, hwb_quant_packed_bytes(hwb_shape_numel(&shape), groups, &s));
    return 2;
}

/* ---- inside a trace ------------------------------------------------------------------------------ */

/* (x, w, spec, clip [, scale, zero]): Q(w) as a node of x's graph */
static int fake_weight(lua_State *L) {
    hwb_quant_spec s = check_spec(L, 3);
    bool clip = lua_toboolean(L, 4);
    hwb__lcall c;
    hwb_id y = HWB_NONE, scale, zero;
    lua_settop(L, 6);
    hwb__lbegin(&c, L, 1, 2);
    hwb__llift(&c, 5, &scale);
    hwb__llift(&c, 6, &zero);
    hwb_status st = hwb_fake_weight(c.g, &y, c.in[1], &s, scale, zero, clip);
    return hwb__lend(&c, st, 1, &y);
}

/* (x, range, bits, scheme, clip) */
static int fake_activation(lua_State *L) {
    static const char *const words[] = {"symmetric", "asymmetric", NULL};
    int bits = (int)luaL_checkinteger(L, 3);
    int scheme = luaL_checkoption(L, 4, "asymmetric", words);
    bool clip = lua_toboolean(L, 5);
    hwb__lcall c;
    hwb_id y = HWB_NONE;
    hwb__lbegin(&c, L, 1, 2);
    hwb_status st = hwb_fake_activation(c.g, &y, c.in[0], c.in[1], bits,
                                        scheme ? HWB_QUANT_ASYMMETRIC : HWB_QUANT_SYMMETRIC, clip);
    return hwb__lend(&c, st, 1, &y);
}

/* ---- observers -------------------------------------------------------------------------------------- */

static hwb_observer *check_observer(lua_State *L, int arg) {
    return *(hwb_observer **)luaL_checkudata(L, arg, OBSERVER);
}

static int observer_new(lua_State *L) { /* (kind, value) */
    static const char *const kinds[] = {"minmax", "ema", "percentile", NULL};
    static const double values[] = {0, 0.99, 99.99};
    int kind = luaL_checkoption(L, 1, "minmax", kinds);
    double value = luaL_optnumber(L, 2, values[kind]);
    hwb_observer **u = lua_newuserdatauv(L, sizeof *u, 0);
    *u = NULL;
    luaL_setmetatable(L, OBSERVER);
    hwb__lcheck(L, hwb_observer_new(hwb_lua_ctx(L), u, (hwb_observer_kind)kind, value));
    return 1;
}

static int observer_gc(lua_State *L) {
    hwb_observer **u = luaL_checkudata(L, 1, OBSERVER);
    hwb_observer_free(*u);
    *u = NULL;
    return 0;
}

static int observer_update(lua_State *L) {
    hwb_observer *o = check_observer(L, 1);
    hwb__lcheck(L, hwb_observer_update(hwb_lua_ctx(L), o, hwb__lcheck_tensor(L, 2)));
    return 0;
}

static int observer_range(lua_State *L) { /* -> lowest, highest */
    double lo, hi;
    hwb__lcheck(L, hwb_observer_range(hwb_lua_ctx(L), check_observer(L, 1), &lo, &hi));
    lua_pushnumber(L, lo);
    lua_pushnumber(L, hi);
    return 2;
}

static int quant_scale(lua_State *L) { /* (lo, hi, bits, scheme) -> scale, zero */
    static const char *const words[] = {"symmetric", "asymmetric", NULL};
    double lo = luaL_checknumber(L, 1), hi = luaL_checknumber(L, 2), scale;
    int bits = (int)luaL_checkinteger(L, 3), zero;
    hwb_quant_scheme scheme =
        luaL_checkoption(L, 4, "asymmetric", words) ? HWB_QUANT_ASYMMETRIC : HWB_QUANT_SYMMETRIC;
    hwb__lcheck(L, hwb_quant_scale(hwb_lua_ctx(L), &scale, &zero, lo, hi, bits, scheme));
    lua_pushnumber(L, scale);
    lua_pushinteger(L, zero);
    return 2;
}

/* ---- integers only --------------------------------------------------------------------------------------- */

static int dyadic(lua_State *L) { /* (multiplier) -> b, shift */
    int64_t b;
    int shift;
    hwb__lcheck(L, hwb_quant_dyadic(hwb_lua_ctx(L), &b, &shift, luaL_checknumber(L, 1)));
    lua_pushinteger(L, b);
    lua_pushinteger(L, shift);
    return 2;
}

static int requantize(lua_State *L) { /* (acc, b, shift, lo, hi) -> code */
    lua_Integer acc = luaL_checkinteger(L, 1), lo = luaL_checkinteger(L, 4),
                hi = luaL_checkinteger(L, 5);
    lua_Integer shift = luaL_checkinteger(L, 3);
    luaL_argcheck(L, acc >= INT32_MIN && acc <= INT32_MAX, 1, "not a 32-bit number");
    luaL_argcheck(L, lo >= INT32_MIN && lo <= hi, 4, "not a range of 32-bit numbers");
    luaL_argcheck(L, hi <= INT32_MAX, 5, "not a 32-bit number");
    luaL_argcheck(L, shift > -64 && shift < 128, 3, "not a shift of hwb.quant.dyadic");
    lua_pushinteger(L, hwb_quant_requantize((int32_t)acc, luaL_checkinteger(L, 2), (int)shift,
                                            (int32_t)lo, (int32_t)hi));
    return 1;
}

/* ---- sizes --------------------------------------------------------------------------------------------------- */

static int64_t field(lua_State *L, int arg, const char *key, int64_t otherwise) {
    double v = hwb__lopt_number(L, arg, key, (double)otherwise);
    if (!(v >= 0 && v < 9e18 && v == (double)(int64_t)v))
        luaL_error(L, "size: '%s' must be a whole number, not %f", key, v);
    return (int64_t)v;
}

/* (list of {weights=, bits=, groups=, rest=, buffers=, macs=, act_bits=}, options) */
static int size_report(lua_State *L) {
    static const char *const known[] = {"count_rest", "state_dict", "group_bytes", "baseline_bytes",
                                        NULL};
    luaL_checktype(L, 1, LUA_TTABLE);
    hwb__lcheck_options(L, 2, known);
    lua_Integer count = luaL_len(L, 1);
    hwb_size_layer *layers = lua_newuserdatauv(L, ((size_t)count + 1) * sizeof *layers, 0);
    for (lua_Integer i = 0; i < count; i++) {
        lua_geti(L, 1, i + 1);
        int at = lua_gettop(L);
        layers[i] = (hwb_size_layer){field(L, at, "weights", 0),      (int)field(L, at, "bits", 32),
                                     field(L, at, "groups", 0),       field(L, at, "rest", 0),
                                     field(L, at, "buffers", 0),      field(L, at, "macs", 0),
                                     (int)field(L, at, "act_bits", 0)};
        lua_pop(L, 1);
    }
    hwb_size_options o = hwb_size_defaults();
    o.count_rest = hwb__lopt_boolean(L, 2, "count_rest", o.count_rest);
    o.state_dict = hwb__lopt_boolean(L, 2, "state_dict", o.state_dict);
    o.group_bytes = (int)hwb__lopt_integer(L, 2, "group_bytes", o.group_bytes);
    o.baseline_bytes = hwb__lopt_number(L, 2, "baseline_bytes", o.baseline_bytes);
    hwb_size_report r = hwb_size(layers, count, &o);
    const struct {
        const char *name;
        double value;
    } fields[] = {{"bytes", r.bytes},
                  {"mib", r.mib},
                  {"baseline_bytes", r.baseline_bytes},
                  {"ratio", r.ratio},
                  {"average_bits", r.average_bits},
                  {"bops", r.bops}};
    lua_createtable(L, 0, 7);
    for (size_t i = 0; i < sizeof fields / sizeof fields[0]; i++) {
        lua_pushnumber(L, fields[i].value);
        lua_setfield(L, -2, fields[i].name);
    }
    hwb__lset_integer(L, "parameters", r.parameters);
    return 1;
}

/* ---- registration ---------------------------------------------------------------------------------------------- */

static const luaL_Reg functions[] = {
    {"error", quant_error},       {"fake", quant_fake},
    {"range", quant_range},       {"encode", quant_encode},
    {"decode", quant_decode},     {"pack", quant_pack},
    {"unpack", quant_unpack},     {"groups", quant_groups},
    {"fake_weight", fake_weight}, {"fake_activation", fake_activation},
    {"observer", observer_new},   {"scale", quant_scale},
    {"dyadic", dyadic},           {"requantize", requantize},
    {"size", size_report},        {NULL, NULL},
};

void hwb__lopen_quant(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"update", observer_update}, {"range", observer_range}, {NULL, NULL}};
    static const luaL_Reg meta[] = {{"__gc", observer_gc}, {NULL, NULL}};
    hwb__lclass(L, OBSERVER, meta, methods);
    lua_getfield(L, -1, "engine");
    luaL_newlib(L, functions);
    lua_setfield(L, -2, "quant");
    lua_pop(L, 1);
}

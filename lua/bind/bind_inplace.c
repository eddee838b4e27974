/*
 * bind_inplace.c: methods that end in _ change a concrete tensor and return it.
 */
#include "bind_tensor_i.h"

#include <string.h>

static hwb_tensor *check_target(lua_State *L, const char *name) {
    const hwb__ltensor *t = hwb__lcheck_any(L, 1);
    if (t->g)
        luaL_error(L, "%s: a traced tensor cannot be changed in place; use the method without _",
                   name);
    return t->t;
}

/* x:name_(...) = copy of x:name(...) into x */
static int in_place(lua_State *L, const char *name) {
    hwb_tensor *x = check_target(L, name);
    lua_pushlstring(L, name, strlen(name) - 1);
    lua_gettable(L, 1);
    lua_insert(L, 1);
    lua_pushvalue(L, 2);
    lua_insert(L, 1);
    lua_call(L, lua_gettop(L) - 2, 1); /* x result */
    hwb_tensor *y = hwb__lcheck_tensor(L, 2);
    char a[HWB_SHAPE_TEXT], b[HWB_SHAPE_TEXT];
    if (!hwb_shape_equal(hwb_tensor_shape(x), hwb_tensor_shape(y)))
        return luaL_error(L, "%s: the result [%s] does not fit into [%s]", name,
                          hwb_shape_text(hwb_tensor_shape(y), a),
                          hwb_shape_text(hwb_tensor_shape(x), b));
    if (hwb_dtype_is_float(hwb_tensor_dtype(y)) && !hwb_dtype_is_float(hwb_tensor_dtype(x)))
        return luaL_error(L, "%s: the result is %s and does not fit into %s", name,
                          hwb_dtype_name(hwb_tensor_dtype(y)), hwb_dtype_name(hwb_tensor_dtype(x)));
    hwb__lcheck(L, hwb_tensor_copy(hwb_lua_ctx(L), x, y));
    lua_settop(L, 1);
    return 1;
}

#define IN_PLACE(name)                                                                             \
    static int op_##name(lua_State *L) {                                                           \
        return in_place(L, #name);                                                                 \
    }
IN_PLACE(add_)
IN_PLACE(sub_)
IN_PLACE(mul_)
IN_PLACE(div_)
IN_PLACE(pow_)
IN_PLACE(neg_)
IN_PLACE(relu_)
IN_PLACE(clamp_)
IN_PLACE(addcmul_)
#undef IN_PLACE

static int op_fill_(lua_State *L) {
    hwb_tensor *x = check_target(L, "fill_");
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), x, hwb__lcheck_number(L, 2)));
    lua_settop(L, 1);
    return 1;
}

static int op_zero_(lua_State *L) {
    hwb__lcheck(L, hwb_tensor_fill(hwb_lua_ctx(L), check_target(L, "zero_"), 0.0));
    lua_settop(L, 1);
    return 1;
}

static int op_copy_(lua_State *L) {
    hwb_tensor *x = check_target(L, "copy_");
    hwb__lcheck(L, hwb_tensor_copy(hwb_lua_ctx(L), x, hwb__lcheck_tensor(L, 2)));
    lua_settop(L, 1);
    return 1;
}

void hwb__lopen_inplace(lua_State *L) {
    static const luaL_Reg methods[] = {
        {"add_", op_add_},   {"sub_", op_sub_},   {"mul_", op_mul_},         {"div_", op_div_},
        {"pow_", op_pow_},   {"neg_", op_neg_},   {"relu_", op_relu_},       {"clamp_", op_clamp_},
        {"fill_", op_fill_}, {"zero_", op_zero_}, {"addcmul_", op_addcmul_}, {"copy_", op_copy_},
        {NULL, NULL}};
    hwb__lset_methods(L, methods);
}

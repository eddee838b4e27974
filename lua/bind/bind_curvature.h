/*
 * bind_curvature.h: between bind_curvature.c and bind_spectral.c.
 */
#ifndef HWB_LUA_BIND_CURVATURE_H
#define HWB_LUA_BIND_CURVATURE_H

#include "bind_i.h"

#include <stdlib.h>

#define HWB_LOPERATOR "hwb.operator"

hwb_curvature *hwb__lcheck_operator(lua_State *L, int arg);
/* Adds eigs, trace, density, traces, solve to the table at the top. */
void hwb__lspectral_methods(lua_State *L);

#endif

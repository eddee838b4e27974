/*
 * bind_curvature.h: between bind_curvature.c, bind_spectral.c and bind_landscape.c.
 */
#ifndef HWB_LUA_BIND_CURVATURE_H
#define HWB_LUA_BIND_CURVATURE_H

#include "bind_i.h"

#include <stdlib.h>

#define HWB_LOPERATOR "hwb.operator"

hwb_curvature *hwb__lcheck_operator(lua_State *L, int arg);
/* Adds eigs, trace, density, traces, solve to the table at the top. */
void hwb__lspectral_methods(lua_State *L);
/* Adds losses. */
void hwb__llandscape_methods(lua_State *L);

#endif

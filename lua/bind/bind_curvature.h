/*
 * bind_curvature.h: between bind_curvature.c, bind_spectral.c and bind_landscape.c.
 */
#ifndef HWB_LUA_BIND_CURVATURE_H
#define HWB_LUA_BIND_CURVATURE_H

#include "bind_i.h"

#include <stdlib.h>

#define HWB_LOPERATOR "hwb.operator"

hwb_curvature *hwb__lcheck_operator(lua_State *L, int arg);
/* The strings of the list at arg; pushes the array, which lives as long as that. */
const char **hwb__lcheck_names(lua_State *L, int arg, int *n);
/* Adds eigs, trace, density, solve to the table at the top. */
void hwb__lspectral_methods(lua_State *L);
/* Adds what goes over many blocks: block_eigs, block_traces, block_quadratics. */
void hwb__lsweep_methods(lua_State *L);

/* Options of H:eigs (arg: the table) for an operator on n numbers; true: by power iteration. */
bool hwb__lcheck_eigs_options(lua_State *L, int arg, int64_t n, hwb_eigs_options *o);
/* A result as a table; its vectors are taken.  The operator is at 1. */
void hwb__lpush_eigs(lua_State *L, hwb_eigs_result *r);
/* How batch norms were treated, and samples, of the operator at 1, into the table at the top. */
void hwb__lset_provenance(lua_State *L);
/* Adds losses. */
void hwb__llandscape_methods(lua_State *L);

#endif

/*
 * bind: the Lua bindings of libhwb.
 *
 * luaopen_hwb leaves the `hwb` table on the stack.  Fields that C does not
 * register are looked up as Lua modules ("hwb.nn" -> lua/hwb/nn.lua) on first
 * use, so that start-up reads no Lua file.
 *
 * Errors: misuse (arguments, shapes, dtypes) raises a string with position;
 * interrupts, memory and devices raise a value with .code ("EINTR"), .message
 * and .exit (the program's exit code), whose tostring is the message.
 */
#ifndef HWB_LUA_BIND_H
#define HWB_LUA_BIND_H

#include <lua.h>
#include <lauxlib.h>

#include "base/base.h"

/* Lua's module loader: pushes the hwb table; owns the context until the state closes. */
int luaopen_hwb(lua_State *L);

/* The context of this state (borrowed); raises when luaopen_hwb did not run. */
hwb_ctx *hwb_lua_ctx(lua_State *L);

/* Raises the failure recorded in the context as described above; never returns. */
int hwb_lua_raise(lua_State *L, hwb_status status);

/* Pushes an error value {code, message, exit}; `message` is copied. */
void hwb_lua_push_error(lua_State *L, hwb_status status, const char *message);

/* hwb.json: encode(value [, {indent=}]) -> text; decode(text) -> value or nil, message. */
int hwb_lua_open_json(lua_State *L);

#endif

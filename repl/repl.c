/*
 * repl.c: the line editor for Lua, as the module hwb.editor, and the entry of
 * the session.  The session itself is Lua: lua/hwb/cmd/repl.lua and
 * lua/hwb/repl/.
 */
#include "program.h"

#include <stdlib.h>
#include <string.h>

#include "line_editor.h"

static lua_State *editor_state; /* the completer runs in it, only inside editor_read */

/* complete(line, cursor, begin) -> list, begin, suffix; an error gives no matches */
static char **complete(void *user, const char *line, int cursor, int *begin, char *suffix) {
    lua_State *L = editor_state;
    int top = lua_gettop(L);
    char **list = NULL;
    lua_getfield(L, LUA_REGISTRYINDEX, "hwb.editor.complete");
    lua_pushstring(L, line);
    lua_pushinteger(L, cursor);
    lua_pushinteger(L, *begin);
    (void)user;
    if (lua_pcall(L, 3, 3, 0) == LUA_OK && lua_istable(L, -3)) {
        size_t n = lua_rawlen(L, -3), kept = 0;
        list = n > 0 ? calloc(n + 1, sizeof *list) : NULL;
        for (size_t i = 1; list && i <= n; i++) {
            lua_rawgeti(L, -3, (lua_Integer)i);
            if (lua_isstring(L, -1)) list[kept++] = strdup(lua_tostring(L, -1));
            lua_pop(L, 1);
        }
        *begin = (int)luaL_optinteger(L, -2, *begin);
        const char *text = lua_tostring(L, -1);
        *suffix = text ? text[0] : '\0';
    }
    lua_settop(L, top);
    return list;
}

/* open(complete) */
static int open_editor(lua_State *L) {
    luaL_checktype(L, 1, LUA_TFUNCTION);
    lua_settop(L, 1);
    lua_setfield(L, LUA_REGISTRYINDEX, "hwb.editor.complete");
    editor_open(complete, NULL, interrupt_at_prompt, interrupt_forward);
    return 0;
}

/* read(prompt) -> line, or nil and "end" or "interrupt" */
static int read_line(lua_State *L) {
    const char *prompt = luaL_checkstring(L, 1);
    char *line = NULL;
    editor_state = L;
    fflush(stdout);
    interrupt_pause(L);
    editor_event event = editor_read(prompt, &line);
    interrupt_begin(L);
    if (event == EDITOR_LINE) {
        lua_pushstring(L, line);
        free(line);
        return 1;
    }
    lua_pushnil(L);
    lua_pushstring(L, event == EDITOR_END ? "end" : "interrupt");
    return 2;
}

static int add_history(lua_State *L) {
    editor_history_add(luaL_checkstring(L, 1));
    return 0;
}

/* history() -> every entry, oldest first */
static int get_history(lua_State *L) {
    lua_newtable(L);
    const char *text;
    for (int i = 0; (text = editor_history_get(i)) != NULL; i++) {
        lua_pushstring(L, text);
        lua_rawseti(L, -2, i + 1);
    }
    return 1;
}

static int get_name(lua_State *L) {
    lua_pushstring(L, editor_name());
    return 1;
}

static int open_module(lua_State *L) {
    static const luaL_Reg functions[] = {{"open", open_editor},        {"read", read_line},
                                         {"add_history", add_history}, {"history", get_history},
                                         {"name", get_name},           {NULL, NULL}};
    luaL_newlib(L, functions);
    return 1;
}

int repl_main(program *p) {
    int status = state_open(p);
    if (status != 0) return status;
    luaL_requiref(p->L, "hwb.editor", open_module, 0);
    lua_pop(p->L, 1);
    status = state_run_command(p, "hwb.cmd.repl");
    if (editor_state) editor_close();
    return status;
}

/*
 * sys_file.c: files and folders for hwb.sys.  Whatever is written appears
 * complete or not at all.
 */
#include "program.h"

#include <dirent.h>
#include <errno.h>
#include <fcntl.h>
#include <limits.h>
#include <stdlib.h>
#include <string.h>
#include <sys/stat.h>
#include <unistd.h>

#include "../lua/bind/bind.h"
#include "io/io.h"

/* nil, "path: why" */
static int refuse(lua_State *L, const char *path) {
    int code = errno;
    lua_pushnil(L);
    lua_pushfstring(L, "%s: %s", path, strerror(code));
    return 2;
}

static int done(lua_State *L) {
    lua_pushboolean(L, 1);
    return 1;
}

/* stat(path) -> {type="file"|"dir"|"link"|"other", size, mtime}; lstat when the second
 * argument is true */
static int file_stat(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct stat info;
    if ((lua_toboolean(L, 2) ? lstat(path, &info) : stat(path, &info)) != 0) return refuse(L, path);
    lua_createtable(L, 0, 3);
    lua_pushstring(L, S_ISREG(info.st_mode)   ? "file"
                      : S_ISDIR(info.st_mode) ? "dir"
                      : S_ISLNK(info.st_mode) ? "link"
                                              : "other");
    lua_setfield(L, -2, "type");
    lua_pushinteger(L, info.st_size);
    lua_setfield(L, -2, "size");
    lua_pushinteger(L, info.st_mtime);
    lua_setfield(L, -2, "mtime");
    return 1;
}

/* mkdir(path): makes parents too; mkdir(path, true) fails when it exists */
static int file_mkdir(lua_State *L) {
    const char *given = luaL_checkstring(L, 1);
    bool fresh = lua_toboolean(L, 2);
    char path[PATH_MAX];
    if (snprintf(path, sizeof path, "%s", given) >= (int)sizeof path) {
        errno = ENAMETOOLONG;
        return refuse(L, given);
    }
    for (char *p = path + 1; *p; p++) {
        if (*p != '/') continue;
        *p = '\0';
        if (mkdir(path, 0777) != 0 && errno != EEXIST) return refuse(L, path);
        *p = '/';
    }
    struct stat info;
    if (mkdir(path, 0777) != 0 && (fresh || errno != EEXIST)) return refuse(L, path);
    if (stat(path, &info) == 0 && !S_ISDIR(info.st_mode)) {
        errno = ENOTDIR;
        return refuse(L, path);
    }
    return done(L);
}

/* list(dir) -> sorted names without . and .. */
static int file_list(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    struct dirent **entries;
    int n = scandir(path, &entries, NULL, alphasort);
    if (n < 0) return refuse(L, path);
    lua_createtable(L, n, 0);
    for (int i = 0, kept = 0; i < n; i++) {
        const char *name = entries[i]->d_name;
        if (strcmp(name, ".") != 0 && strcmp(name, "..") != 0) {
            lua_pushstring(L, name);
            lua_rawseti(L, -2, ++kept);
        }
        free(entries[i]);
    }
    free(entries);
    return 1;
}

static int file_remove(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    return remove(path) == 0 ? done(L) : refuse(L, path);
}

static int file_realpath(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    char out[PATH_MAX];
    if (!realpath(path, out)) return refuse(L, path);
    lua_pushstring(L, out);
    return 1;
}

/* symlink(target, path): replaces a link that is there, nothing else */
static int file_symlink(lua_State *L) {
    const char *target = luaL_checkstring(L, 1), *path = luaL_checkstring(L, 2);
    char temporary[PATH_MAX];
    struct stat info;
    if (lstat(path, &info) == 0 && !S_ISLNK(info.st_mode)) {
        errno = EEXIST;
        return refuse(L, path);
    }
    snprintf(temporary, sizeof temporary, "%s.tmp-%ld", path, (long)getpid());
    unlink(temporary);
    if (symlink(target, temporary) != 0) return refuse(L, path);
    if (rename(temporary, path) != 0) {
        unlink(temporary);
        return refuse(L, path);
    }
    return done(L);
}

/* nil, message; a refusal by the recipe's permissions and a lack of memory are raised */
static int fail(lua_State *L, hwb_status status) {
    if (status == HWB_EPERM || status == HWB_ENOMEM) return hwb_lua_raise(L, status);
    lua_pushnil(L);
    lua_pushstring(L, hwb_message(hwb_lua_ctx(L)));
    return 2;
}

/* read(path [, max bytes]) -> text */
static int file_read(lua_State *L) {
    const char *path = luaL_checkstring(L, 1);
    uint8_t *bytes;
    size_t n;
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_status status = hwb_io_read_file(ctx, &bytes, &n, path, (size_t)luaL_optinteger(L, 2, 0));
    if (status != HWB_OK) return fail(L, status);
    lua_pushlstring(L, (const char *)bytes, n);
    hwb_free(bytes);
    return 1;
}

/* write(path, text): atomic */
static int file_write(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    hwb_ctx *ctx = hwb_lua_ctx(L);
    hwb_status status = hwb_io_write_file_atomic(ctx, path, text, n);
    return status == HWB_OK ? done(L) : fail(L, status);
}

/* append_private(path, text): one write, to a file that only its owner reads */
static int file_append_private(lua_State *L) {
    size_t n;
    const char *path = luaL_checkstring(L, 1), *text = luaL_checklstring(L, 2, &n);
    int fd = open(path, O_WRONLY | O_APPEND | O_CREAT | O_CLOEXEC, 0600);
    if (fd < 0) return refuse(L, path);
    bool whole = write(fd, text, n) == (ssize_t)n;
    close(fd);
    return whole ? done(L) : refuse(L, path);
}

void sys_add_files(lua_State *L) {
    static const luaL_Reg functions[] = {{"stat", file_stat},
                                         {"mkdir", file_mkdir},
                                         {"list", file_list},
                                         {"remove", file_remove},
                                         {"realpath", file_realpath},
                                         {"symlink", file_symlink},
                                         {"read", file_read},
                                         {"write", file_write},
                                         {"append_private", file_append_private},
                                         {NULL, NULL}};
    luaL_setfuncs(L, functions, 0);
}

#!/usr/bin/env bash
# check_format.sh: clang-format over the C and CUDA sources, luacheck over the
# Lua ones.  Exits 1 with what they say when a file is not as they want it.
# `clang-format -i FILE` puts a C file right.
set -u
cd "$(dirname "$0")/.." || exit 1
status=0

for tool in clang-format luacheck; do
    if ! command -v "$tool" >/dev/null; then
        echo "check_format: $tool is missing (Debian packages clang-format, lua-check)" >&2
        exit 1
    fi
done

# Folders that exist, of those that hold sources.
c_roots=() lua_roots=()
for d in engine cuda lua/bind repl tests; do [ -d "$d" ] && c_roots+=("$d"); done
for d in lua recipes datasets tests; do [ -d "$d" ] && lua_roots+=("$d"); done

mapfile -d '' c_files < <(find "${c_roots[@]}" -type f \
    \( -name '*.c' -o -name '*.h' -o -name '*.cu' -o -name '*.cuh' \) -print0 | LC_ALL=C sort -z)
mapfile -d '' lua_files < <(find "${lua_roots[@]}" -type f -name '*.lua' -print0 | LC_ALL=C sort -z)

if [ "${#c_files[@]}" -gt 0 ]; then
    if clang-format --dry-run -Werror "${c_files[@]}"; then
        echo "check_format: ${#c_files[@]} C files are formatted"
    else
        status=1
    fi
fi
if [ "${#lua_files[@]}" -gt 0 ]; then
    luacheck --quiet "${lua_files[@]}" || status=1
fi
exit $status

#!/usr/bin/env bash
# check_layers.sh [ROOT]: every #include of the engine and of the CUDA plug-in
# follows the one-way order of the layers.  Exits 1 with the list of those that
# do not.
#
#   base < tensor < graph < ad < compile < exec < model < curvature
#        < spectral, optim, quant
#   io, data, plot, comm   base and tensor only; io serves whoever reads files:
#                          data (images) and model (checkpoints); comm (ranks)
#                          exec and what is above it
#   backend/*              base, tensor, backend/backend.h, graph/op.h, the operand
#                          layouts of graph/image_i.h and the table of
#                          comm/device.h; never ad
#   compile and above      see backends through backend/backend.h alone
#   cuda/                  base, backend/backend.h and comm/device.h
#   engine/                no Lua, no CUDA, no terminal
set -u
root=${1:-$(cd "$(dirname "$0")/.." && pwd)}
cd "$root" || exit 1

files=$(find engine cuda -type f \( -name '*.c' -o -name '*.h' -o -name '*.def' \
    -o -name '*.cu' -o -name '*.cuh' \) 2>/dev/null | LC_ALL=C sort)
if [ -z "$files" ]; then
    echo "check_layers: no sources under $root" >&2
    exit 1
fi

# shellcheck disable=SC2086
awk '
function allow(layer, list,    part, n, i) {
    known[layer] = 1
    n = split(list, part, " ")
    for (i = 1; i <= n; i++) ok[layer, part[i]] = 1
}

# The layer of a path below engine/: its folder, or the file for backend.h.
function layer_of(path,    part, n) {
    n = split(path, part, "/")
    if (n == 1) return "top"
    return part[1]
}

function refuse(text) {
    printf "%s:%d: %s\n", FILENAME, FNR, text
    bad++
}

BEGIN {
    below = "base tensor"
    allow("base", "base")
    allow("tensor", below)
    allow("io", below " io"); allow("data", below " io data")
    allow("plot", below " plot"); allow("comm", below " comm")
    allow("backend", below " backend graph/op.h graph/image_i.h comm/device.h")
    n = split("graph ad compile exec model curvature", chain, " ")
    for (i = 1; i <= n; i++) {
        below = below " " chain[i]
        if (chain[i] == "compile") below = below " backend/backend.h"
        if (chain[i] == "model") below = below " io"
        if (chain[i] == "exec") below = below " comm"
        allow(chain[i], below)
    }
    allow("spectral", below " spectral")
    allow("optim", below " optim")
    allow("quant", below " quant")
    allow("cuda", "base cuda backend/backend.h comm/device.h")
}

FNR == 1 {
    from = FILENAME
    plugin = from ~ /^cuda\//
    sub(/^engine\//, "", from)
    here = plugin ? "cuda" : layer_of(from)
    if (here != "top" && !(here in known))
        refuse("the layer \"" here "\" is in no rule of tests/check_layers.sh")
}

/^[ \t]*#[ \t]*include/ {
    line = $0
    sub(/^[ \t]*#[ \t]*include[ \t]*/, "", line)
    quoted = substr(line, 1, 1) == "\""
    name = substr(line, 2)
    sub(/[">].*$/, "", name)
    seen++

    if (!quoted && !plugin && name ~ /^(lua|lauxlib|lualib|readline\/|curses|ncurses|termios|cuda|cublas|cudnn|nvrtc)/)
        refuse("the engine includes <" name ">")
    if (!quoted || here == "top") next
    if (name ~ /\.\./) { refuse("relative path \"" name "\""); next }

    target = name ~ /\// ? layer_of(name) : here
    if (name ~ /^(lua|repl)\// || name == "hwb.h") target = name
    if (!((here, target) in ok) && !((here, name) in ok))
        refuse(here " includes \"" name "\"")
    # A backend sees its own folder, never another backend.
    split(from, mine, "/"); n = split(name, its, "/")
    if (here == "backend" && target == "backend" && n == 3 && mine[2] != its[2])
        refuse(mine[1] "/" mine[2] " includes \"" name "\"")
}

END {
    if (bad) {
        printf "check_layers: %d includes against the order of the layers\n", bad
        exit 1
    }
    printf "check_layers: %d includes follow the order of the layers\n", seen
}' $files

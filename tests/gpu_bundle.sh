#!/usr/bin/env bash
# gpu_bundle.sh [BUILD [OUT]]: a relocatable copy of a build for a machine with a GPU and
# the CUDA toolkit on which nothing can be installed: programs, the CUDA plug-in, and the
# shared libraries beside them, as one archive (about 16 MB; OUT: gpu-bundle.tar.xz).
#
#   bin/run PROGRAM ...   runs bin/PROGRAM with lib/ before the system's libraries
#   lib/                  what the programs are linked with, less the C and C++ libraries
#   lib/hwb/              the plug-in; its CUDA libraries are those of that machine
#   lua/                  busted and what it needs, for the Lua specs
#
# Sources, Lua files and recipes are not in it: tests/gpu.sh is run from a checkout.
set -eu
root=$(cd "$(dirname "$0")/.." && pwd)
build=$(cd "${1:-$root/build}" && pwd)
out=$(realpath -m "${2:-gpu-bundle.tar.xz}")
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$work/bin" "$work/lib/hwb" "$work/lua"

if [ ! -e "$build/lib/hwb/libhwb_cuda.so" ]; then
    echo "gpu_bundle: $build has no CUDA plug-in (the CUDA toolkit was not found)" >&2
    exit 1
fi
cp "$build/lib/hwb/libhwb_cuda.so" "$work/lib/hwb/"
for name in hwb bench test_cuda_ops test_cuda_geometry cuda_machine; do
    cp "$build/bin/$name" "$work/bin/"
    strip "$work/bin/$name"
done

# Every library that a program pulls in.  The C library must be that of the machine; so
# must the C++ one, which its CUDA libraries share; CUDA's own are there.
skip='^(linux-vdso|ld-linux|libc\.|libm\.|libdl\.|libpthread\.|librt\.|libstdc|libgcc_s|libcu|libnv)'
for program in "$work"/bin/*; do ldd "$build/bin/${program##*/}"; done |
    awk '$2 == "=>" && $3 ~ /^\// {print $1, $3}' | sort -u |
    while read -r name path; do
        [[ $name =~ $skip ]] && continue
        cp -L "$path" "$work/lib/$name"
        strip --strip-unneeded "$work/lib/$name" 2>/dev/null || true
    done

# busted and its modules, in Lua and in C
copied=0
for from in /usr/share/lua/5.4 /usr/lib/*/lua/5.4; do
    [ -d "$from" ] || continue
    cp -rL "$from"/. "$work/lua/"
    copied=1
done
[ "$copied" = 1 ] || echo "gpu_bundle: no Lua modules found: the specs will be skipped there" >&2

cat >"$work/bin/run" <<'RUN'
#!/bin/sh
# run PROGRAM ...: with the libraries beside it
here=$(cd "$(dirname "$0")/.." && pwd)
program=$1
shift
export LD_LIBRARY_PATH="$here/lib${HWB_CUDA_LIBS:+:$HWB_CUDA_LIBS}${LD_LIBRARY_PATH:+:$LD_LIBRARY_PATH}"
export LUA_PATH="$here/lua/?.lua;$here/lua/?/init.lua;;" LUA_CPATH="$here/lua/?.so;;"
exec "$here/bin/$program" "$@"
RUN
chmod +x "$work/bin/run"
tar -C "$work" --sort=name --owner=0 --group=0 --mtime=@0 -cf - . | xz -T2 -6 >"$out"
echo "$out: $(stat -c %s "$out") bytes"

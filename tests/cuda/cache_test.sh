#!/usr/bin/env bash
# cache_test.sh HWB EMULATOR_LIBS PLUGIN_FOLDER: compiled kernels are kept in the user's
# cache folder; damaged files, and a folder that cannot be made, do no harm.
set -u
hwb=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
if [ ! -e "$2/libcudart.so.13" ]; then
    echo "skipped: the stand-ins were not built"
    exit 77
fi
export LD_LIBRARY_PATH=$2 HWB_BACKEND_PATH=$3 XDG_CACHE_HOME=$work/cache
folder=$work/cache/hwb/cuda
failed=0

computes() {
    local got
    got=$("$hwb" --device cuda -e 'print((hwb.ones(3) * 2):sum():item())' 2>&1)
    if [ "$got" != 6.0 ]; then
        echo "FAIL: $1: $got"
        failed=1
    fi
}

computes "an empty cache"
files=$(find "$folder" -type f | wc -l)
if [ "$files" -lt 1 ] || find "$folder" -type f -name '*.*' | grep -q .; then
    echo "FAIL: $files files in the cache, or halves of files"
    failed=1
fi
find "$folder" -type f -exec touch -d '2001-01-01' {} +
computes "a full cache"
if find "$folder" -type f -newermt 2002-01-01 | grep -q .; then
    echo "FAIL: kernels that were there are written again"
    failed=1
fi
find "$folder" -type f -exec truncate -s -9 {} +
computes "truncated files"
for f in "$folder"/*; do printf 'hwbcuda1 nonsense' >"$f"; done
computes "nonsense"
rm -r "$work/cache"
echo "no folder" >"$work/cache"
computes "no folder"
[ $failed -eq 0 ] && echo "the cache is sound"
exit $failed

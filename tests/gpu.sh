#!/usr/bin/env bash
# gpu.sh [BUNDLE]: everything that wants a GPU, in one command of less than eight minutes:
# the plug-in built from source there, its tests, the specs and recipes on the device,
# compute-sanitizer on the operations, and the benchmark beside PyTorch and JAX.
#
#   tests/gpu_bundle.sh build gpu-bundle.tar.xz     # on a machine that builds hwb
#   tests/gpu.sh gpu-bundle.tar.xz                  # on the machine with the GPU
#
# Leaves summary.txt, log.txt, bench.jsonl and peers.jsonl in $OUT.
#
# Wants an NVIDIA driver, CUDA 13 with NVRTC and cuBLAS, cuDNN 9 (of the toolkit or of
# Python's nvidia-* packages), bash and a C compiler; installs nothing and writes below
# $OUT (gpu-out) and a temporary folder.  HWB_GPU_SECONDS (460) bounds the whole; steps that
# no longer fit are skipped and said so.  Exits 77 without a device, 1 when a step failed.
#
# Nothing here has run on a GPU yet.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bundle=$(realpath "${1:-gpu-bundle.tar.xz}") || exit 2
out=$(realpath -m "${OUT:-gpu-out}")
total=${HWB_GPU_SECONDS:-460}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/logs"
: >"$out/log.txt"
cd "$root" || exit 2
if ! tar -C "$work" -xJf "$bundle"; then
    echo "gpu.sh: $bundle does not unpack; tests/gpu_bundle.sh makes it" >&2
    exit 2
fi

# ---- where the CUDA libraries and headers are -----------------------------------------
cuda=${CUDA_HOME:-/usr/local/cuda}
wheels=$(python3 - 2>/dev/null <<'PY'
import glob, os, sysconfig
for base in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
    for path in sorted(glob.glob(os.path.join(base, "nvidia", "*"))):
        print(path)
PY
)
libs=$cuda/lib64 includes=$cuda/include
for w in $wheels; do
    [ -d "$w/lib" ] && libs=$libs:$w/lib
    [ -d "$w/include" ] && includes="$includes $w/include"
done
export HWB_CUDA_LIBS=$libs
export HWB_HOME=$root HWB_TEST_SOURCE=$root HWB_TEST_DEVICE=cuda HWB_BACKEND_PATH=$work/lib/hwb
export XDG_CACHE_HOME=$work/cache OMP_WAIT_POLICY=passive
run=$work/bin/run

# ---- steps ------------------------------------------------------------------------------
failed=() passed=0
printf '%-12s %8s  %s\n' step seconds outcome | tee "$out/summary.txt"

# step NAME SECONDS COMMAND...: its output is appended to $out/log.txt
step() {
    local name=$1 limit=$2 began=$SECONDS left=$((total - SECONDS)) rc what log=$work/logs/$1
    shift 2
    if [ "$left" -lt 10 ]; then
        printf '%-12s %8s  %s\n' "$name" - "NOT RUN: no time left" | tee -a "$out/summary.txt"
        failed+=("$name")
        return 1
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    timeout -k 5 "$limit" "$@" >"$log" 2>&1
    rc=$?
    { echo "==== $name"; cat "$log"; } >>"$out/log.txt"
    case $rc in
    0) what=ok passed=$((passed + 1)) ;;
    77) what="skipped: $(tail -n 1 "$log" | cut -c 1-100)" ;;
    124 | 137) what="FAILED: more than $limit s" ;;
    *) what="FAILED ($rc): $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-160)" ;;
    esac
    case $what in FAILED*) failed+=("$name") ;; esac
    printf '%-12s %8d  %s\n' "$name" $((SECONDS - began)) "$what" | tee -a "$out/summary.txt"
    return $rc
}

device() {
    nvidia-smi 2>&1 | head -n 20
    "$run" hwb doctor
    "$run" hwb --device cuda -e 'print(hwb.ones(3):sum():item())'
}

# Against this machine's headers and libraries; used from then on.
build() {
    local flags="" one
    for one in $includes; do flags="$flags -isystem $one"; done
    local links=""
    IFS=:
    for one in $libs; do links="$links -L$one"; done
    unset IFS
    ls "$cuda/include/cuda_runtime_api.h"
    # libraries of the packages have no plain .so names: by file name, then
    mkdir -p "$work/built"
    # shellcheck disable=SC2086
    cc -std=gnu11 -O2 -shared -fPIC -fvisibility=hidden -Wall -Iengine -Icuda $flags cuda/*.c \
        -o "$work/built/libhwb_cuda.so" $links -l:libcudart.so.13 -l:libcublas.so.13 \
        -l:libnvrtc.so.13 -l:libcudnn.so.9 -lpthread -ldl -Wl,--no-undefined || return 1
    HWB_BACKEND_PATH=$work/built "$run" hwb --device cuda -e 'print(hwb.ones(3):sum():item())'
}

specs() {
    local one status=0
    for one in "$@"; do
        echo "== $one"
        "$run" hwb test --lua "tests/lua/${one}_spec.lua" || status=1
    done
    return $status
}

recipes() {
    local one status=0
    cd "$work" || return 1
    for one in hessian_power_iteration hawq_resnet20 train_shapes10 absa_resnet20; do
        echo "== $one"
        "$run" hwb --device cuda run "$root/recipes/$one.lua" --smoke || status=1
    done
    return $status
}

sanitizer() {
    local tool
    tool=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
    if [ ! -x "$tool" ]; then
        echo "no compute-sanitizer"
        return 77
    fi
    "$tool" --tool memcheck --error-exitcode 9 --target-processes all "$run" test_cuda_ops
}

cases="train-step gradient hvp hvp-4 hvp-16 block-eigs resnet50-gradient resnet50-hvp bert-gradient bert-hvp"
bench() {
    local one math status=0
    "$run" hwb --device cuda doctor --json | tr -d '\n'
    echo
    for one in $cases; do
        for math in float32 tf32; do
            local more=""
            case $one in resnet50*) more="batch=64" ;; esac
            # shellcheck disable=SC2086
            "$run" bench "$one" device=cuda math=$math repeat=5 $more || status=1
        done
    done
    return $status
}

peers() {
    local status=0
    python3 tests/bench/peer_gpu.py --machine || status=1
    python3 tests/bench/peer_gpu.py --repeat 5 || status=1
    python3 -c 'import jax' 2>/dev/null && { python3 tests/bench/peer_jax.py --repeat 5 || status=1; }
    return $status
}

export -f device build specs recipes sanitizer bench peers
export run root work cuda libs includes cases

if ! step device 60 bash -c device; then
    echo "no device that hwb can use:"
    tail -n 5 "$out/log.txt"
    exit 77
fi
step build 60 bash -c build && export HWB_BACKEND_PATH=$work/built
step geometry 20 "$run" test_cuda_geometry
step ops 90 "$run" test_cuda_ops
HWB_DEVICE=cuda step specs 90 bash -c 'specs device golden_small ad program'
step recipes 90 bash -c recipes
step bench 100 bash -c bench
grep '^{' "$work/logs/bench" >"$out/bench.jsonl" 2>/dev/null
step sanitizer 120 bash -c sanitizer
step peers 100 bash -c peers
grep '^{' "$work/logs/peers" >"$out/peers.jsonl" 2>/dev/null

echo "${#failed[@]} failed, $passed passed, $SECONDS s; logs in $out"
[ "${#failed[@]}" -eq 0 ]

#!/usr/bin/env bash
# gpu.sh [BUNDLE [OUT]]: everything that wants a GPU, in one command of less than eight
# minutes: the plug-in built from source there, its tests, compute-sanitizer on the
# operations, specs and recipes on the device, and the benchmark beside PyTorch and JAX.
#
#   tests/gpu_bundle.sh build gpu-bundle.tar.xz     # on a machine that builds hwb
#   tests/gpu.sh gpu-bundle.tar.xz                  # on the machine with the GPU
#
# BUNDLE may also be the folder that the archive holds.  Leaves in OUT ($OUT, else gpu-out):
#
#   summary.txt, summary.json   a line for every part and its outcome
#   log.txt                     what every part printed
#   bench.jsonl, peers.jsonl    the measurements      results.md   as rows for RESULTS.md
#   kernels.txt                 what some cases ran, kernel by kernel, with times
#
# Wants an NVIDIA driver, CUDA 13 with NVRTC and cuBLAS (of the toolkit or of Python's
# nvidia-* packages) and bash; installs nothing and writes below OUT and a temporary folder.
# What else is there is used, and a part that misses it says so: cuDNN 9 (without, convolutions
# are matrix products), NCCL, a C compiler, compute-sanitizer, Python with PyTorch and JAX.
# A part that fails does not stop the others.
# HWB_GPU_SECONDS (460) bounds the whole; parts come in the order of their worth, each has
# its own bound, and one that no longer fits is said to be left out.  HWB_GPU_SMOKE=1:
# small sizes, to try the script itself.  Exits 77 without a device, 1 when a part failed.
#
# Nothing here has run on a GPU yet.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
bundle=$(realpath "${1:-gpu-bundle.tar.xz}") || exit 2
out=$(realpath -m "${2:-${OUT:-gpu-out}}")
total=${HWB_GPU_SECONDS:-460}
smoke=${HWB_GPU_SMOKE:-0}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
mkdir -p "$out" "$work/logs"
: >"$out/log.txt"
: >"$out/peers.jsonl"
: >"$out/kernels.txt"
cd "$root" || exit 2
here=$work
if [ -d "$bundle" ]; then
    here=$bundle
elif ! tar -C "$work" -xJf "$bundle" 2>/dev/null && # where there is no xz, Python has its own
    ! python3 -m tarfile -e "$bundle" "$work"; then
    echo "gpu.sh: $bundle does not unpack; tests/gpu_bundle.sh makes it" >&2
    exit 2
fi

# ---- where the CUDA libraries and headers are -----------------------------------------
cuda=${CUDA_HOME:-/usr/local/cuda}
[ -n "${CUDA_HOME:-}" ] || [ -d "$cuda" ] || cuda=$(dirname "$(dirname "$(realpath -m "$(command -v nvcc || echo "$cuda/bin/nvcc")")")")
wheels=$(python3 - 2>/dev/null <<'PY'
import glob, os, sysconfig
for base in {sysconfig.get_path("purelib"), sysconfig.get_path("platlib")}:
    for path in sorted(glob.glob(os.path.join(base, "nvidia", "*"))):
        print(path)
PY
)
libs=$cuda/lib64:$cuda/lib includes=$cuda/include
for w in $wheels; do
    [ -d "$w/lib" ] && libs=$libs:$w/lib
    [ -d "$w/include" ] && includes="$includes $w/include"
done

# known LIBRARY: the loader, or one of the folders so far, has it
known() {
    local one folders
    ldconfig -p 2>/dev/null | grep -qF "$1 " && return 0
    IFS=: read -ra folders <<<"$libs:${LD_LIBRARY_PATH:-}"
    for one in "${folders[@]}"; do
        [ -n "$one" ] && [ -e "$one/$1" ] && return 0
    done
    return 1
}
for one in libcudart.so.13 libcublas.so.13 libnvrtc.so.13 libcudnn.so.9 libnccl.so.2; do
    known "$one" && continue
    where=$(timeout 20 find /opt /usr /root /home -xdev -name "$one" 2>/dev/null | head -n 1)
    [ -n "$where" ] && libs=$libs:$(dirname "$where")
done
export HWB_CUDA_LIBS=$libs
export HWB_HOME=$root HWB_TEST_SOURCE=$root HWB_TEST_DEVICE=cuda HWB_BACKEND_PATH=$here/lib/hwb
export XDG_CACHE_HOME=$work/cache OMP_WAIT_POLICY=passive
run=$here/bin/run

# ---- parts --------------------------------------------------------------------------------
failed=() passed=0 parts=""
printf '%-12s %8s  %s\n' part seconds outcome | tee "$out/summary.txt"

# said NAME SECONDS WORDS: into both summaries
said() {
    local words=${3//[^[:print:]]/ } number=$2
    printf '%-12s %8s  %s\n' "$1" "$2" "$words" | tee -a "$out/summary.txt"
    words=${words//\\/\\\\} words=${words//\"/\\\"}
    [ "$number" = - ] && number=null
    parts="$parts${parts:+, }{\"part\": \"$1\", \"seconds\": $number, \"outcome\": \"$words\"}"
}

# part NAME SECONDS COMMAND...: its output goes to $work/logs/NAME and, of long ones the
# beginning and the end, to $out/log.txt
part() {
    local name=$1 limit=$2 began=$SECONDS left=$((total - SECONDS)) rc what log=$work/logs/$1
    shift 2
    if [ "$left" -lt 10 ]; then
        said "$name" - "LEFT OUT: no time"
        failed+=("$name")
        return 1
    fi
    [ "$limit" -gt "$left" ] && limit=$left
    timeout -k 5 "$limit" env PART_SECONDS="$limit" "$@" >"$log" 2>&1
    rc=$?
    {
        echo "==== $name"
        head -c 200000 "$log"
        [ "$(stat -c %s "$log")" -gt 400000 ] && printf '\n...\n'
        tail -c +200001 "$log" | tail -c 200000
    } >>"$out/log.txt"
    case $rc in
    0)
        what=$(grep '^note: ' "$log" | tail -n 1 | cut -c 7-260)
        what="ok${what:+, $what}" passed=$((passed + 1))
        ;;
    77) what="skipped: $(tail -n 1 "$log" | cut -c 1-100)" ;;
    124 | 137) what="FAILED: more than $limit s" ;;
    *) what="FAILED ($rc): $(grep -v '^$' "$log" | tail -n 1 | cut -c 1-160)" ;;
    esac
    case $what in FAILED*) failed+=("$name") ;; esac
    said "$name" $((SECONDS - began)) "$what"
    return $rc
}

device() {
    nvidia-smi 2>&1 | head -n 20
    echo "CUDA libraries in $libs"
    local one
    for one in "$here"/bin/hwb "$here"/lib/hwb/*.so; do
        [ -e "$one" ] && LD_LIBRARY_PATH=$here/lib:$libs:${LD_LIBRARY_PATH:-} ldd "$one" | grep 'not found' |
            sed "s|^|${one##*/} misses|"
    done
    "$run" hwb doctor
    "$run" hwb --device cuda -e 'print(hwb.ones(3):sum():item())'
}

# Against this machine's headers and libraries; the plug-in of the bundle stays in use.
build() {
    local flags="" links="" one bad=0 jobs=()
    command -v cc >/dev/null || { echo "no C compiler"; return 77; }
    for one in $includes; do flags="$flags -isystem $one"; done
    for one in ${libs//:/ }; do links="$links -L$one -Wl,-rpath-link,$one"; done
    ls "$cuda/include/cuda_runtime_api.h"
    mkdir -p "$work/built"
    for one in cuda/*.c; do
        # shellcheck disable=SC2086
        cc -std=gnu11 -O2 -fPIC -fvisibility=hidden -Wall -Iengine -Icuda $flags -c "$one" \
            -o "$work/built/$(basename "$one" .c).o" &
        jobs+=($!)
    done
    for one in "${jobs[@]}"; do wait "$one" || bad=1; done
    # libraries of Python's packages have no plain .so names: by file name, then
    # shellcheck disable=SC2086
    [ $bad -eq 0 ] && cc -shared "$work"/built/*.o -o "$work/built/libhwb_cuda.so" $links \
        -l:libcudart.so.13 -l:libcublas.so.13 -l:libnvrtc.so.13 -lpthread -ldl \
        -Wl,--no-undefined || return 1
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
    for one in "$@"; do
        echo "== $one"
        timeout -k 5 40 "$run" hwb --device cuda run "$root/recipes/$one.lua" --smoke || status=1
    done
    return $status
}

# sanitizer TOOL TEST...: of the operations, one family after the other while there is time;
# a family that takes too long is no failure.  Blocks come from the driver one by one, so that
# their ends are seen; statuses of calls are looked at by the plug-in.
sanitizer() {
    local tool name=$1 one rc left status=0 done="" undone=""
    shift
    tool=$(command -v compute-sanitizer || echo "$cuda/bin/compute-sanitizer")
    if [ ! -x "$tool" ]; then
        echo "no compute-sanitizer"
        return 77
    fi
    for one in "$@"; do
        echo "== $one"
        rc=124 left=$((PART_SECONDS - SECONDS - 4))
        if [ "$left" -ge 4 ]; then
            HWB_CUDA_POOL=no timeout -k 3 "$left" "$tool" --tool "$name" --report-api-errors no \
                --error-exitcode 9 --target-processes all "$run" test_cuda_ops "$one"
            rc=$?
        fi
        case $rc in
        0) done="$done $one" ;;
        124 | 137) undone="$undone $one" ;;
        *) status=1 ;;
        esac
    done
    echo "note: nothing found in:$done${undone:+; not finished:$undone}"
    return $status
}

# ---- measurements -----------------------------------------------------------------------

small="train-step gradient hvp hvp-4 hvp-16 block-eigs bert-train-step bert-gradient bert-hvp bert-hvp-4"
large="resnet50-train-step resnet50-gradient resnet50-hvp resnet50-hvp-4 resnet50-block-eigs"
[ "$smoke" = 1 ] && small="train-step hvp" large=""

# bench "OPTIONS" CASE...
bench() {
    local options=$1 one status=0 more
    shift
    for one in "$@"; do
        case $one in *block-eigs) more="repeat=2" ;; *) more="repeat=5" ;; esac # as pair_gpu.py has it
        case $one in resnet50*) more="$more batch=64" ;; esac
        [ "$smoke" = 1 ] && more="smoke=1"
        # shellcheck disable=SC2086
        timeout -k 5 40 "$run" bench "$one" device=cuda $options $more || {
            echo "bench $one $options: status $?"
            status=1
        }
    done
    return $status
}

machine() {
    local sizes=""
    [ "$smoke" = 1 ] && sizes="n=64 mib=1"
    # shellcheck disable=SC2086
    "$run" cuda_machine $sizes
}

bench_all() {
    local status=0
    machine || status=1
    # shellcheck disable=SC2086
    bench math=float32 $small $large || status=1
    # shellcheck disable=SC2086
    bench math=tf32 $small $large || status=1
    return $status
}

bench_more() {
    local status=0
    # shellcheck disable=SC2046
    set -- $(echo "$small $large" | tr ' ' '\n' | grep -E '^train-step|hvp$')
    bench "math=float32 deterministic=0" "$@" || status=1
    bench "math=tf32 deterministic=0" "$@" || status=1
    bench math=bf16 "$@" || status=1
    return $status
}

# The kernels of some cases: which implementation, and how long (with a wait after each, so
# that small ones look slower than they are).
kernels() {
    local one status=0 more
    for one in hvp "hvp math=tf32" train-step resnet50-hvp bert-hvp; do
        case $one in resnet50*) more="batch=64" ;; *) more="" ;; esac
        [ "$smoke" = 1 ] && more="smoke=1"
        echo "==== $one" >>"$out/kernels.txt"
        # shellcheck disable=SC2086
        timeout -k 5 40 "$run" bench $one device=cuda dump=1 repeat=1 $more 2>>"$out/kernels.txt" || status=1
    done
    return $status
}

# has MODULE: or says that it is not there
has() {
    python3 -c "import $1" 2>/dev/null && return 0
    echo "no $1 for python3 here"
    return 1
}

# peers MATH: PyTorch and JAX beside what is in bench.jsonl, as far as the part's time goes
peers() {
    local more=""
    has torch || has jax || return 77
    [ "$smoke" = 1 ] && more="--smoke"
    # shellcheck disable=SC2086
    python3 tests/bench/pair_gpu.py --ours "$out/bench.jsonl" --out "$out/peers.jsonl" --math "$1" \
        --seconds $((PART_SECONDS - 8)) $more $small $large
}

results() {
    has json || return 77
    python3 tests/gpu_table.py "$out/bench.jsonl" "$out/peers.jsonl"
}

export -f device build specs recipes sanitizer bench machine bench_all bench_more kernels has peers results
export run root work out here cuda libs includes small large smoke

# ---- all of it ------------------------------------------------------------------------------

if ! part device 60 bash -c device; then
    printf '{"parts": [%s], "failed": 1, "passed": 0, "seconds": %d}\n' "$parts" $SECONDS >"$out/summary.json"
    echo "no device that hwb can use:"
    tail -n 5 "$out/log.txt"
    exit 77
fi
part build 40 bash -c build
part geometry 10 "$run" test_cuda_geometry
part ops 90 "$run" test_cuda_ops
HWB_DEVICE=cuda part specs 60 bash -c 'specs device golden_small'
part memcheck 80 bash -c 'sanitizer memcheck test_groups test_reduce test_move test_index test_pool \
    test_conv test_matmul test_small_copies test_pool_adjoint test_pointwise'
part bench 130 bash -c bench_all
grep -h '^{' "$work/logs/bench" >"$out/bench.jsonl"
part peers 120 bash -c 'peers float32'
part kernels 40 bash -c kernels
part bench_more 60 bash -c bench_more
part recipes 60 bash -c 'recipes hessian_power_iteration hawq_resnet20 train_shapes10 absa_resnet20'
HWB_DEVICE=cuda part specs_more 60 bash -c 'specs program ad tensor ops'
part racecheck 30 bash -c 'sanitizer racecheck test_reduce test_groups'
part peers_tf32 60 bash -c 'peers tf32'
grep -h '^{' "$work/logs/bench_more" 2>/dev/null >>"$out/bench.jsonl"
results >"$out/results.md" 2>&1
cat "$out/results.md"
printf '{"parts": [%s], "failed": %d, "passed": %d, "seconds": %d}\n' "$parts" ${#failed[@]} $passed \
    $SECONDS >"$out/summary.json"
echo "${#failed[@]} failed${failed[*]:+ (${failed[*]})}, $passed passed, $SECONDS s; all in $out"
[ "${#failed[@]}" -eq 0 ]

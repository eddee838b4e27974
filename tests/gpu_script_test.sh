#!/usr/bin/env bash
# gpu_script_test.sh: tests/gpu.sh with stand-ins for its programs: parts that fail or take
# too long do not stop the others, the whole is bounded, and what was measured comes out
# as files and as a table.
set -u
root=$(cd "$(dirname "$0")/.." && pwd)
python=$(command -v python3) || { echo "skipped: no python3"; exit 77; }
command -v cc >/dev/null || { echo "skipped: no cc"; exit 77; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
    echo "FAILED: $1"
    bad=1
}

mkdir -p "$work/bundle/bin" "$work/bundle/lib/hwb" "$work/path"
cat >"$work/bundle/bin/run" <<'RUN'
#!/bin/sh
# the programs of a bundle: what each does is in $STUB_<name>, success without
program=$1
shift
case $program in
bench) echo "{\"case\": \"$1\", \"math\": \"${3#math=}\", \"deterministic\": $(case $* in *deterministic=0*) echo false ;; *) echo true ;; esac), \"seconds_median\": 0.002, \"gmacs\": 4, \"gbytes\": 1, \"check\": [2.0, 2.0]}" ;;
cuda_machine) echo '{"case": "machine", "way": "hwb", "gbytes_per_s": 1000.0, "gmacs_per_s_float32": 8000.0}' ;;
test_cuda_ops) eval "${STUB_ops:-true}" ;;
hwb) eval "${STUB_hwb:-true}" ;;
esac
RUN
# neither PyTorch nor JAX, whatever is installed; no sanitizer
cat >"$work/path/python3" <<RUN
#!/bin/sh
case "\$*" in *"import torch"* | *"import jax"*) exit 1 ;; esac
exec $python "\$@"
RUN
printf '#!/bin/sh\necho "no CUDA"\nexit 1\n' >"$work/path/cc"
chmod +x "$work/bundle/bin/run" "$work/path/python3" "$work/path/cc"
export PATH=$work/path:$PATH CUDA_HOME=$work/none HWB_GPU_SMOKE=1

# gpu WANTED_STATUS: runs it
gpu() {
    OUT=$work/out "$root/tests/gpu.sh" "$work/bundle" >"$work/said" 2>&1
    local status=$?
    [ "$status" -eq "$1" ] || complain "ends with $status, not $1: $(cat "$work/said")"
}

# says WORDS: a line of the summary matches
says() {
    grep -Eq "$1" "$work/out/summary.txt" || complain "no '$1' in: $(cat "$work/out/summary.txt")"
}

STUB_ops='echo broken; exit 3' gpu 1
says '^build .*FAILED \(1\): no CUDA'
says '^ops .*FAILED \(3\): broken'
says '^bench .*ok$'
says '^peers .*skipped: no (torch|jax)'
says '^memcheck .*skipped'
says '^recipes .*ok$'
[ "$(grep -c . "$work/out/bench.jsonl")" -eq 11 ] || complain "bench.jsonl: $(cat "$work/out/bench.jsonl")"
grep -Fq '| hvp | float32 | 2 | - | - | - | - | - | - | - | - | 1 (memory) | 2.00 | - |' "$work/out/results.md" ||
    complain "results.md: $(cat "$work/out/results.md")"
grep -Fq '| hvp | tf32, timed | 2 |' "$work/out/results.md" || complain "no row of timed algorithms"
[ "$(find "$work/out" -type f | wc -l)" -le 8 ] || complain "too many files"
grep -q '2 failed (build ops)' "$work/said" || complain "the last line: $(tail -n 1 "$work/said")"

"$python" - "$work/out/summary.json" <<'PY' || complain "summary.json: $(cat "$work/out/summary.json")"
import json, sys
s = json.load(open(sys.argv[1]))
parts = {p["part"]: p["outcome"] for p in s["parts"]}
sys.exit(not (s["failed"] == 2 and parts["bench"] == "ok" and "broken" in parts["ops"]))
PY

# with a sanitizer
cat >"$work/path/compute-sanitizer" <<'TOOL'
#!/bin/sh
for last; do :; done
case $last in
test_index) echo "an access out of bounds"; exit ${STUB_index:-0} ;;
esac
TOOL
chmod +x "$work/path/compute-sanitizer"
gpu 1
says '^memcheck .*ok, nothing found in: test_groups .*test_pointwise$'
STUB_index=9 gpu 1
says '^memcheck .*FAILED \(1\): note: nothing found in: test_groups test_reduce test_move test_pool'
rm "$work/path/compute-sanitizer"

STUB_hwb='exit 4' gpu 77

HWB_GPU_SECONDS=16 STUB_ops='sleep 30' gpu 1
says '^ops .*FAILED: more than 1[0-6] s'
says '^bench .*LEFT OUT'

# with peers: the quotients
cat >"$work/peers.jsonl" <<'JSON'
{"case": "hvp", "way": "native", "math": "float32", "seconds_median": 0.01, "check": [2.0, 2.0]}
{"case": "hvp", "way": "graph", "math": "float32", "seconds_median": 0.005, "check": [2.0, 2.002]}
{"case": "hvp", "way": "jit", "math": "float32", "seconds_median": 0.004, "check": [2.0, 2.0]}
{"case": "hvp", "way": "compile", "failed": "RuntimeError: no"}
JSON
"$python" "$root/tests/gpu_table.py" <(sed -n 1,2p <<'JSON'
{"case": "machine", "gbytes_per_s": 1000.0, "gmacs_per_s_float32": 8000.0}
{"case": "hvp", "math": "float32", "seconds_median": 0.002, "gmacs": 16, "gbytes": 1, "check": [2.0, 2.0]}
JSON
) "$work/peers.jsonl" >"$work/table" || complain "gpu_table.py fails"
grep -Fq '| hvp | float32 | 2 | 10 (native) | - | 5 (graph) | 4 (jit) | 5.00 | - | 2.50 | 2.00 | 2 (arithmetic) | 1.00 | 1.0e-03 |' \
    "$work/table" || complain "the table: $(cat "$work/table")"
grep -q 'hvp, compile: RuntimeError' "$work/table" || complain "a peer's failure is not shown"
"$python" "$root/tests/gpu_table.py" "$work/peers.jsonl.absent" 2>/dev/null && complain "a table of nothing"
exit $bad

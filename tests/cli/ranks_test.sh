# Several processes under mpirun: the numbers of one, one voice, and ends together.
. "$(dirname "$0")/lib.sh"
recipe=$HWB_CLI_TESTS/ranks.lua
command -v mpirun >/dev/null || { echo "skipped: no mpirun (openmpi-bin)"; exit 77; }
"$hwb" doctor --json >doctor.json
[ "$(field doctor.json 'v.ranks.ok')" = true ] || {
    echo "skipped: $(field doctor.json 'v.ranks.why')"
    exit 77
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # what Open MPI keeps until the end is not ours

# ranks N WORDS…: mpirun -np N hwb WORDS…, as run; $seconds is how long it took
ranks() {
    last="mpirun -np $*"
    n=$1
    shift
    began=$(date +%s)
    timeout 100 mpirun -np "$n" "$hwb" "$@" >"$work/.out" 2>"$work/.err" </dev/null
    status=$?
    seconds=$(($(date +%s) - began))
    out=$(cat "$work/.out")
    err=$(cat "$work/.err")
}

# same A B TOLERANCE: the numbers of two runs, as norms of differences
cat >same.lua <<'EOF'
local function numbers(dir)
  return assert(hwb.json.decode(assert(io.open(dir .. "/latest/result.json")):read("a"))).numbers
end
local a, b, count = numbers(arg[1]), numbers(arg[2]), 0
for name, v in pairs(a) do
  local w, size, difference = b[name], 0, 0
  assert(w and #w == #v, name)
  for i = 1, #v do size, difference = size + v[i] ^ 2, difference + (v[i] - w[i]) ^ 2 end
  count = count + #v
  if difference ^ 0.5 > tonumber(arg[3]) * size ^ 0.5 then
    print(name, difference ^ 0.5 / size ^ 0.5)
    os.exit(1)
  end
end
assert(count > tonumber(arg[4]))
EOF
same() { ok "$1 and $2 agree to $3" "$hwb" run same.lua "$@"; }

# one process, two and four
for type in float64 float32; do
    run run "$recipe" --dtype $type --run-dir one-$type
    is 0
done
for n in 2 4; do
    ranks $n run "$recipe" --run-dir many
    is 0
    same one-float64 many 1e-12 15000
    [ "$(field many/latest/run.json 'v.ranks.size, v.status')" = "$n	ok" ] || fail "run.json"
    [ "$(field many/latest/result.json 'v.exchanges > 50')" = true ] || fail "no exchanges"
done
[ "$(find many -maxdepth 1 -type d | wc -l)" = 3 ] || fail "not one folder a run: $(ls many)"
[ "$(wc -l <many/latest/metrics.jsonl)" = 2 ] || fail "metrics of more than one rank"
[ "$(field many/latest/result.json 'v.times.train.communication > 0')" = true ] || fail "communication was not timed"
ranks 4 run "$recipe" --dtype float32 --run-dir many
is 0
same one-float32 many 1e-6 15000

# ---- a rank that fails: message, exit status, soon
ranks 3 run "$recipe" --fault error
is 1
err_has "hwb: rank 1: " "rank 1 is unwell" "what there is is in runs/"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "failed	1" ] || fail "run.json of a failed rank"
ranks 2 run "$recipe" --fault memory
is 5
err_has "hwb: rank 1: " "out of memory"
ranks 3 run "$recipe" --fault apart
is 8
err_has "the ranks have come apart" "a sum of 1 float64" "a broadcast of"
ranks 2 run "$recipe" --fault weights # parts of two different networks are not added up
is 8
err_has "a sum of 4 float64, is of other weights"
err_lacks "hwb: rank 1"
ranks 2 run "$recipe" --fault leave
is 8
err_has "rank 1 has ended, and rank 0 still waits for it"
ranks 3 run "$recipe" --fault kill --trust
is 137
err_has "exited on signal 9"
[ "$seconds" -lt 15 ] || fail "$seconds s after a kill -9"
[ "$(field runs/latest/run.json 'v.status')" != running ] || fail "the record says that a killed run goes on"
ranks 2 run "$recipe" --fault busy # rank 0 does not answer: after five seconds it is killed
is 1
err_has "hwb: rank 1: " "rank 1 is alone"
[ "$seconds" -lt 20 ] || fail "$seconds s for a rank that does not answer"

# ---- signals: to one rank or to all, all stop, the record says so
ranks 3 run "$recipe" --fault term --trust
is 143
err_has "hwb: rank 1: interrupted" "go on with: hwb run --resume"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "interrupted	143" ] || fail "run.json of a stopped run"

# a training that is stopped goes on, on other numbers of ranks too, to the same numbers
run run "$recipe" --train 6 --run-dir whole
is 0
timeout 100 mpirun -np 2 "$hwb" run "$recipe" --train 6 --slow --run-dir parted >"$work/.out" 2>"$work/.err" &
launcher=$!
for _ in $(seq 200); do
    [ -s parted/latest/metrics.jsonl ] && [ "$(wc -l <parted/latest/metrics.jsonl)" -ge 2 ] && break
    sleep 0.1
done
kill -TERM "$(field parted/latest/run.json v.pid)"
wait $launcher
status=$?
err=$(cat "$work/.err")
is 143
ok "a checkpoint is there" [ -f parted/latest/checkpoints/latest.json ]
[ "$(wc -l <parted/latest/metrics.jsonl)" -lt 6 ] || fail "it was not stopped"
ranks 3 run --resume parted/latest
is 0
same whole parted 1e-12 100
[ "$(wc -l <parted/latest/metrics.jsonl)" = 6 ] || fail "metrics of a resumed run: $(cat parted/latest/metrics.jsonl)"

# ---- behind the fence, and where something is missing; rank 0 alone is heard
ranks 3 run "$recipe" --fault ok --untrusted
is 0
[ "$(printf '%s\n' "$err" | grep -c "before the fault")" = 1 ] || fail "more than one voice"
err_lacks "Permission denied"
HWB_BACKEND_PATH=$work ranks 2 run "$recipe" --fault ok
is 4
err_has "started as one of several processes (OMPI_COMM_WORLD_SIZE=2)" "no libhwb_mpi.so in $work" "libopenmpi-dev"
HWB_BACKEND_PATH=$work ranks 2 run "$recipe" --fault ok --comm self -q
is 0
run run "$recipe" --fault ok --comm pigeons
is 2
err_has "'pigeons' is none of auto, self, mpi"
exit 0

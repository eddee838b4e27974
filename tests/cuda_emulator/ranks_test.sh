#!/usr/bin/env bash
# ranks_test.sh HWB: one Hessian product over one, two and three processes, each with an
# emulated device of its own; the sums of 1.4 MB go through NCCL's stand-in.  A training
# over one, two and four whose batch norms see all samples: its graph has sums of what lies
# on the device.  A process that is killed takes the others with it, soon.
set -u
hwb=$1
command -v mpirun >/dev/null || { echo "skipped: no mpirun (openmpi-bin)"; exit 77; }
[ -f "$(dirname "$hwb")/../lib/hwb/libhwb_mpi.so" ] || { echo "skipped: hwb without MPI"; exit 77; }
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # what Open MPI keeps until the end is not ours
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT

cat >"$work/product.lua" <<'LUA'
local nn = hwb.nn
hwb.manual_seed(3)
local m = nn.Sequential{nn.Linear{600, 600}, nn.Tanh{}, nn.Linear{600, 5}}
m:eval()
hwb.set_device("cuda")
local x, y = hwb.randn(8, 600), hwb.tensor({1, 3, 5, 2, 1, 1, 4, 4}, {dtype = "int64"})
local H = hwb.hessian(m, {data = {x, y}})
hwb.manual_seed(5)
local v = hwb.randn(H.n)
local r = H:apply(v)
if arg[1] == "die" and hwb.comm.rank() == 1 then
  os.execute("kill -9 " .. io.open("/proc/self/stat"):read("n"))
end
r = H:apply(v)
local nccl = io.open("/proc/self/maps"):read("a"):find("libnccl", 1, true) ~= nil
print(("%d %s %.6g %.6g"):format(hwb.comm.size(), nccl, r:norm():item(), (r * v):sum():item()))
LUA

bad=0
complain() {
    echo "FAILED: $1"
    bad=1
}
alone=$("$hwb" run --trust "$work/product.lua" 2>&1)
case $alone in
"1 false "*) ;;
*) complain "one process says: $alone" ;;
esac
for n in 2 3; do
    said=$(timeout 100 mpirun -np $n "$hwb" run --trust "$work/product.lua" 2>&1)
    [ "$said" = "$n true ${alone#1 false }" ] || complain "$n processes say: $said, one: $alone"
done

cat >"$work/norms.lua" <<'LUA'
local nn = hwb.nn
hwb.manual_seed(3)
local m = nn.Sequential{nn.Conv2d{3, 4, kernel = 3, padding = 1}, nn.BatchNorm2d{4}, nn.ReLU{}, nn.Flatten{},
  nn.Linear{4 * 36, 5}}
local x = hwb.randn(16, 3, 6, 6)
local y = hwb.tensor({1, 3, 5, 2, 1, 1, 4, 4, 2, 5, 3, 1, 4, 2, 5, 3}, {dtype = "int64"})
m:to("float64")
hwb.set_device("cuda")
local rows = hwb.train{model = m, data = {x:to("float64"), y}, epochs = 3, batch = 8, seed = 3, bn = "whole",
  optimizer = hwb.optim.sgd{lr = 0.1, momentum = 0.9}}
local state = m:state_dict()
print(("%d %d %.9f %.9f %.9f"):format(hwb.comm.size(), rows[3].bn_batch, rows[3].loss,
  state["1.running_mean"]:norm():item(), state["0.weight"]:norm():item()))
LUA
alone=$("$hwb" run --trust "$work/norms.lua" 2>&1)
case $alone in
"1 8 "*) ;;
*) complain "one process trains: $alone" ;;
esac
for n in 2 4; do
    said=$(HWB_EMU_COUNT=1 timeout 100 mpirun -np $n "$hwb" run --trust "$work/norms.lua" 2>"$work/counts")
    [ "$said" = "$n ${alone#1 }" ] || complain "$n processes train: $said $(cat "$work/counts"), one: $alone"
    [ "$(grep -Ec ' [1-9][0-9]* sums over ranks' "$work/counts")" -eq $n ] ||
        complain "no sums on the device: $(cat "$work/counts")"
done

began=$(date +%s)
timeout 100 mpirun -np 3 "$hwb" run --trust "$work/product.lua" die >"$work/out" 2>&1
status=$?
[ $status -ne 0 ] && [ $status -ne 124 ] || complain "after a kill: status $status"
[ $(($(date +%s) - began)) -lt 60 ] || complain "the others went on for $(($(date +%s) - began)) s"
[ $bad -ne 0 ] || echo "the same over 2, 3 and 4"
exit $bad

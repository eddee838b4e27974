#!/usr/bin/env bash
# solvers_test.sh HWB: vectors of solvers stay on the emulated device.
#
#   - ten more steps copy no vector (359 KiB) up or down: the start goes up, the result
#     comes down, however long it takes; probes of signs go up as bits;
#   - over one and two processes, whose products are added up by NCCL's stand-in, solvers
#     find the same on one batch and on several.
set -u
hwb=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
    echo "FAILED: $1"
    bad=1
}

cat >"$work/solve.lua" <<'LUA'
local nn = hwb.nn
local what, steps, micro = arg[1], tonumber(arg[2]), tonumber(arg[3] or "0")
hwb.manual_seed(3)
local m = nn.Sequential{nn.Linear{300, 300}, nn.Tanh{}, nn.Linear{300, 5}}
m:eval()
hwb.set_device("cuda")
local x, y = hwb.randn(8, 300), hwb.tensor({1, 3, 5, 2, 1, 1, 4, 4}, {dtype = "int64"})
local H = hwb.hessian(m, {data = {x, y}, micro = micro})
local solve = {
  lanczos = function() return H:eigs{maxiter = steps, tol = 1e-12}.values[1] end,
  power = function() return H:eigs{method = "power", which = "LM", maxiter = steps}.values[1] end,
  trace = function() return H:trace{max_probes = steps, min_probes = steps, batch = 1}.mean end,
  density = function() return H:density{steps = steps}.nodes[1] end,
}
print(("%.4g"):format(solve[what]()))
LUA

# copied WHAT STEPS MICRO: KiB up and down
copied() {
    HWB_EMU_COUNT=1 "$hwb" run --trust "$work/solve.lua" "$@" 2>&1 >/dev/null |
        sed -n 's/.* up (\([0-9]*\) KiB), [0-9]* down (\([0-9]*\) KiB).*/\1 \2/p'
}

# grows WHAT STEPS MICRO LIMIT_UP: KiB that ten more steps may send up; down: few
grows() {
    read -r up0 down0 <<<"$(copied "$1" "$2" "$3")"
    read -r up1 down1 <<<"$(copied "$1" $(($2 + 10)) "$3")"
    echo "$1, batches of $3: $up0 KiB up, $down0 down; ten steps more: $up1, $down1"
    [ -n "${down1-}" ] && [ $((up1 - up0)) -le "$4" ] && [ $((down1 - down0)) -le 40 ] ||
        complain "$1 copies vectors"
}
grows lanczos 3 0 40
grows lanczos 3 4 200 # the batches themselves, twice a step
grows power 3 0 40
grows trace 3 0 260 # 23 KiB of bits each
grows density 3 0 40

if command -v mpirun >/dev/null && [ -f "$(dirname "$hwb")/../lib/hwb/libhwb_mpi.so" ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    export OMP_NUM_THREADS=1 ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
    for how in "lanczos 4 0" "lanczos 4 3" "trace 3 0"; do
        # shellcheck disable=SC2086
        alone=$("$hwb" run --trust "$work/solve.lua" $how 2>&1)
        # shellcheck disable=SC2086
        said=$(timeout 100 mpirun -np 2 "$hwb" run --trust "$work/solve.lua" $how 2>&1)
        [ "$said" = "$alone" ] || complain "$how: two processes say $said, one $alone"
        echo "$how: $alone, alone and with two processes"
    done
fi
exit $bad

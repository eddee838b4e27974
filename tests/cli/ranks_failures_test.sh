# Several processes under mpirun: one voice, and ends together however a rank fails.
. "$(dirname "$0")/lib.sh"
. "$HWB_CLI_TESTS/ranks_lib.sh"

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
[ "$seconds" -lt 40 ] || fail "$seconds s after a kill -9"
[ "$(field runs/latest/run.json 'v.status')" != running ] || fail "the record says that a killed run goes on"
ranks 2 run "$recipe" --fault busy # rank 0 does not answer: after five seconds it is killed
is 1
err_has "hwb: rank 1: " "rank 1 is alone"
[ "$seconds" -lt 45 ] || fail "$seconds s for a rank that does not answer"

# ---- signals: to one rank or to all, all stop, the record says so
ranks 3 run "$recipe" --fault term --trust
is 143
err_has "hwb: rank 1: interrupted" "go on with: hwb run --resume"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "interrupted	143" ] || fail "run.json of a stopped run"

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

# Several processes under mpirun: one voice, and ends together however a rank fails.
# The runs wait most of their time, so they run at the same time.
. "$(dirname "$0")/lib.sh"
. "$HWB_CLI_TESTS/ranks_lib.sh"

begin error 3 run "$recipe" --fault error
begin memory 2 run "$recipe" --fault memory
begin apart 3 run "$recipe" --fault apart
begin weights 2 run "$recipe" --fault weights
begin leave 2 run "$recipe" --fault leave
begin kill 3 run "$recipe" --fault kill --trust
begin busy 2 run "$recipe" --fault busy
begin term 3 run "$recipe" --fault term --trust
begin fence 3 run "$recipe" --fault ok --untrusted
HWB_BACKEND_PATH=$work begin plugin 2 run "$recipe" --fault ok
HWB_BACKEND_PATH=$work begin self 2 run "$recipe" --fault ok --comm self -q
begin alone 1 run "$recipe" --fault ok
begin missing 3 run missing.lua

# Ctrl-C at the launcher, as a terminal sends it: mpirun passes a SIGTERM on, and kills after a second what
# is not gone then, which on a busy machine is too soon for a checkpoint: five seconds
mkdir ctrl_c
(cd ctrl_c && exec timeout --foreground 100 mpirun --mca odls_base_sigkill_timeout 5 -np 3 "$hwb" run "$recipe" --train 40 --slow >.out 2>.err </dev/null) &
launcher=$!
for _ in $(seq 300); do
    [ -s ctrl_c/runs/latest/metrics.jsonl ] && [ "$(wc -l <ctrl_c/runs/latest/metrics.jsonl)" -ge 2 ] && break
    sleep 0.1
done
pkill -INT -P "$launcher" mpirun

# ---- a rank that fails: message, exit status, soon
end error
is 1
err_has "hwb: rank 1: " "rank 1 is unwell" "what there is is in runs/"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "failed	1" ] || fail "run.json of a failed rank"
end memory
is 5
err_has "hwb: rank 1: " "out of memory"
end apart
is 8
err_has "the ranks have come apart" "a sum of 1 float64" "a broadcast of"
end weights # parts of two different networks are not added up
is 8
err_has "a sum of 4 float64, is of other weights"
err_lacks "hwb: rank 1"
end leave
is 8
err_has "rank 1 has ended, and rank 0 still waits for it"
end kill
is 137
err_has "exited on signal 9"
[ "$seconds" -lt 40 ] || fail "$seconds s after a kill -9"
[ "$(field runs/latest/run.json 'v.status')" != running ] || fail "the record says that a killed run goes on"
end busy # rank 0 does not answer: after five seconds it is killed
is 1
err_has "hwb: rank 1: " "rank 1 is alone"
[ "$seconds" -lt 45 ] || fail "$seconds s for a rank that does not answer"

# ---- signals: to one rank or to all, all stop, the record says so
end term
is 143
err_has "hwb: rank 1: interrupted" "go on with: hwb run --resume"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "interrupted	143" ] || fail "run.json of a stopped run"

wait "$launcher"
status=$? # mpirun's own
cd "$work/ctrl_c" || exit 1
last="Ctrl-C at mpirun" out=$(cat .out) err=$(cat .err)
is 1
# On a busy machine mpirun's SIGKILL sometimes comes without the ranks having seen its SIGTERM:
# what is promised is promised to a run that was told.
if [ "$(field runs/latest/run.json 'v.status')" != running ]; then
    err_has "hwb: interrupted" "go on with: hwb run --resume"
    [ "$(field runs/latest/run.json 'v.status, v.exit')" = "interrupted	143" ] || fail "run.json after Ctrl-C"
    ok "a checkpoint is there" [ -f runs/latest/checkpoints/latest.json ]
fi
[ "$(wc -l <runs/latest/metrics.jsonl)" -lt 40 ] || fail "a training went on after Ctrl-C at mpirun"

# ---- behind the fence, and where something is missing; rank 0 alone is heard
end fence
is 0
[ "$(printf '%s\n' "$err" | grep -c "before the fault")" = 1 ] || fail "more than one voice"
err_lacks "Permission denied"
end plugin
is 4
err_has "started as one of several processes (OMPI_COMM_WORLD_SIZE=2)" "no libhwb_mpi.so in $work" "libopenmpi-dev"
end self
is 0
end alone # one rank is a run as any other
is 0
[ "$(field runs/latest/run.json 'v.status, v.ranks')" = "ok	nil" ] || fail "run.json of a single rank"
end missing
is 3
[ "$(printf '%s\n' "$err" | grep -c 'missing.lua: No such file')" = 1 ] || fail "more than one voice"
cd "$work" || exit 1
run run "$recipe" --fault ok --comm pigeons
is 2
err_has "'pigeons' is none of auto, self, mpi"
exit 0

# Shared by ranks_test.sh and ranks_failures_test.sh, after lib.sh: mpirun, or a skip.
recipe=$HWB_CLI_TESTS/ranks.lua
command -v mpirun >/dev/null || { echo "skipped: no mpirun (openmpi-bin)"; exit 77; }
"$hwb" doctor --json >doctor.json
[ "$(field doctor.json 'v.ranks.ok')" = true ] || {
    echo "skipped: $(field doctor.json 'v.ranks.why')"
    exit 77
}
export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1 OMPI_MCA_rmaps_base_oversubscribe=1
export OMPI_MCA_hwloc_base_binding_policy=none OMPI_MCA_mpi_yield_when_idle=1 OMP_NUM_THREADS=1
export ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0" # what Open MPI keeps until the end is not ours

# ranks N WORDS…: mpirun -np N hwb WORDS…, as run; $seconds is how long it took
ranks() {
    last="mpirun -np $*"
    n=$1
    shift
    began=$(date +%s)
    timeout 100 mpirun -np "$n" "$hwb" "$@" >.out 2>.err </dev/null
    status=$?
    seconds=$(($(date +%s) - began))
    out=$(cat .out)
    err=$(cat .err)
}

# begin NAME N WORDS…: the same in the folder NAME, in the background; end NAME: when it has ended
begin() {
    name=$1
    shift
    mkdir -p "$work/$name"
    (
        cd "$work/$name" || exit 1
        echo "mpirun -np $*" >.last
        ranks "$@"
        echo "$status $seconds" >.ended
    ) &
    eval "job_$name=$!"
}
end() {
    eval "wait \$job_$1"
    cd "$work/$1" || exit 1
    last=$(cat .last)
    read -r status seconds <.ended
    out=$(cat .out)
    err=$(cat .err)
}

# The command line: help, unknown words, exit statuses, where text goes.
. "$(dirname "$0")/lib.sh"

run version && is 0 && out_has "hwb 0." && err_lacks " "
run --version && is 0 && out_has "hwb 0."
run version --json && is 0 && out_has '"version"'
run help && is 0 && out_has "Subcommands:" "doctor" "Exit codes:"
run --help && is 0 && out_has "Subcommands:"

for command in repl run check test bench data model runs report doctor init help completion version; do
    run "$command" --help
    is 0
    out_has "Usage: hwb" "Examples:" "--help"
    [ -z "$err" ] || fail "$command --help wrote to stderr"
done

# unknown words: exit 2, a message on stderr, nothing on stdout
run rnu
is 2
err_has "unknown subcommand 'rnu'" "did you mean 'run'"
[ -z "$out" ] || fail "an error wrote to stdout"
run run --smok x.lua
is 2
err_has "did you mean '--smoke'"
run --sed 3 -e 1
is 2
err_has "did you mean '--seed'"
run x.lua
is 2
err_has "hwb run x.lua"
run version extra
is 2
run run --seed
is 2
err_has "--seed needs a value"
run run --smoke=yes
is 2
err_has "takes no value"
run --threads none -e 1
is 2
run --seed x -e 1
is 2
err_has "not a whole number"
run runs lits
is 2
err_has "did you mean 'list'"
run completion csh
is 2

# options before and after the subcommand, bundled letters, --name=value
run --json version && is 0 && out_has '"version"'
run -qv -e 'print(1)' && is 0 && out_has 1
run --seed=4 -e 'print(os.getenv("HWB_SEED"))' && is 0 && out_has 4

# -e, -l, -, piped input
run -e 'print(1+1)' && is 0 && [ "$out" = 2 ] || fail "-e"
run -e 'print(arg[1], ...)' word && is 0 && out_has "word	word"
run -e 'error("boom")' && is 1
err_has "boom"
[ -z "$out" ] || fail "an error wrote to stdout"
run -e 'not lua' && is 1
run -e 'error{}' && is 1
run -e 'local x = nil; x.y = 1' && is 1
err_has "attempt to index"
run -e 'assert(nil, "bad file", "EFORMAT")' && is 3
run -e 'assert(nil, "none", "EDEVICE")' && is 4
run -e 'assert(nil, "full", "ENOMEM")' && is 5
run -e 'assert(nil, "nan", "ENUMERIC")' && is 6
run --device cuda:7 -e 1
case $status in 0 | 4) ;; *) fail "--device cuda: status $status" ;; esac
run --device tpu -e 1 && is 2
out=$(echo 'print(6*7)' | "$hwb") && [ "$out" = 42 ] || fail "piped input"
out=$(echo '1+1' | "$hwb" 2>&1) && fail "an expression alone is no chunk"
out=$(echo 'print(arg[1])' | "$hwb" - word) && [ "$out" = word ] || fail "- with a word"
printf 'print("a")\nerror("stop")\nprint("b")\n' | "$hwb" >"$work/.out" 2>"$work/.err"
status=$? out=$(cat "$work/.out") err=$(cat "$work/.err")
is 1
[ "$out" = a ] || fail "piped input stops at the first error"

# settings: options, then variables, then the project's file, then the user's
mkdir -p config/hwb
echo 'return {seed = 1, threads = 1}' >config/hwb/config.lua
echo 'return {seed = 2}' >hwb.lua
seed() { "$hwb" "$@" -e 'print(os.getenv("HWB_SEED"), os.getenv("HWB_THREADS"))'; }
[ "$(seed)" = "2	1" ] || fail "the project's settings: $(seed)"
[ "$(HWB_SEED=3 seed)" = "3	1" ] || fail "variables come before files"
[ "$(HWB_SEED=3 seed --seed 4)" = "4	1" ] || fail "options come before variables"
echo 'return {sed = 2}' >hwb.lua
run -e 1 && is 2 && err_has "unknown setting 'sed'; did you mean 'seed'?"
echo 'return {seed = os.time()}' >hwb.lua
run -e 1 && is 2 && err_has "hwb.lua:1"
rm hwb.lua config/hwb/config.lua

# completion scripts and man page
for shell in bash zsh fish; do
    run completion $shell
    is 0
    out_has hwb doctor smoke
done
"$hwb" completion bash >c.sh
ok "bash reads its completion script" bash -n c.sh
words=$(bash -c '. ./c.sh; COMP_WORDS=(hwb ru); COMP_CWORD=1; _hwb; echo "${COMPREPLY[@]}"')
[ "$words" = "run runs" ] || fail "bash completes 'ru' to '$words'"
words=$(bash -c '. ./c.sh; COMP_WORDS=(hwb run --un); COMP_CWORD=2; _hwb; echo "${COMPREPLY[@]}"')
[ "$words" = "--untrusted" ] || fail "bash completes 'run --un' to '$words'"
run help --man
is 0
out_has ".TH HWB 1" ".SH OPTIONS" "untrusted"

run doctor
is 0
out_has oneDNN OpenBLAS "OpenMP threads" "data folder"
run doctor --json
is 0
"$hwb" doctor --json >d.json
[ "$(field d.json 'v.cpu.blas_threading')" = OpenMP ] || fail "OpenBLAS does not share OpenMP's threads"

# a full output device is noticed
if [ -w /dev/full ]; then
    "$hwb" help >/dev/full 2>"$work/.err"
    [ $? -ne 0 ] || fail "writing to a full device succeeded"
fi

# start-up: the best of ten
best=1000000
for _ in 1 2 3 4 5 6 7 8 9 10; do
    a=$(date +%s%N)
    "$hwb" -e ''
    b=$(date +%s%N)
    t=$(((b - a) / 1000))
    [ $t -lt $best ] && best=$t
done
echo "start-up: $best us"

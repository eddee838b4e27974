# hwb run: recipes, scripts, run folders, failures, resuming.
. "$(dirname "$0")/lib.sh"

cat >demo.lua <<'EOF'
return {
  name = "demo", summary = "A demonstration.",
  args = {
    bits = {default = 4, help = "how many bits", min = 1},
    fast = false,
    rates = {default = {0.1, 0.2}},
    mode = {default = "ok", choices = {"ok", "fail", "nan", "loop", "nofile"}},
    steps = {default = 5, smoke = 2},
  },
  run = function(hwb, args, run)
    print("bits", args.bits, args.fast, #args.rates)
    run:log("a note %d", 7)
    for step = 1, args.steps do run:metric(step, {loss = 1 / step, bad = 0 / 0}) end
    run:table("layers", {{name = "a", value = 1.5}, {name = "b,c", value = 2}}, {"name", "value"})
    run:result{bits = args.bits, nested = {x = 0.1}}
    if args.mode == "fail" then error("it failed on purpose") end
    if args.mode == "nofile" then assert(nil, "weights.pth: no such file", "EIO") end
    if args.mode == "loop" then run:log("looping"); while true do end end
  end,
}
EOF

run run demo.lua --bits 8 --fast --set rates=1,2,3 --math tf32 --deterministic no
is 0
out_has "bits	8	true	3" "name  value" "a       1.5"
err_has "a note 7" "everything is in runs/"
out_lacks "a note"
dir=runs/latest
for f in run.json result.json metrics.jsonl log.txt recipe.lua layers.csv layers.json report.html; do
    ok "$f is there" [ -s "$dir/$f" ]
done
ok "the copy of the recipe" cmp -s demo.lua $dir/recipe.lua
case $(readlink runs/latest) in *-demo-????) ;; *) fail "the folder's name is $(readlink runs/latest)" ;; esac
[ "$(field $dir/run.json 'v.status, v.args.bits, v.args.fast, v.seed, v.exit, v.recipe')" = "ok	8	true	0	0	demo" ] ||
    fail "run.json: $(cat $dir/run.json)"
[ "$(field $dir/run.json 'v.device_options.math, v.device_options.deterministic')" = "float32	true" ] ||
    fail "run.json says what was asked for, not what the CPU computes in"
[ "$(field $dir/run.json 'v.sha256')" = "$(sha256sum <demo.lua | cut -d' ' -f1)" ] || fail "the hash of the recipe"
[ "$(field $dir/result.json 'v.bits, v.nested.x')" = "8	0.1" ] || fail "result.json"
[ "$(wc -l <$dir/metrics.jsonl)" = 5 ] || fail "metrics.jsonl has not 5 lines"
has "$(head -1 $dir/metrics.jsonl)" '"bad":null' metrics.jsonl
has "$(cat $dir/layers.csv)" '"b,c"' layers.csv
has "$(cat $dir/log.txt)" "a note 7" log.txt
has "$(cat $dir/log.txt)" "bits	8" log.txt
has "$(cat $dir/report.html)" "<h2>Environment</h2>" report.html
lacks "$(cat $dir/report.html)" 'src="http' report.html

run run demo.lua --smoke
is 0
[ "$(wc -l <runs/latest/metrics.jsonl)" = 2 ] || fail "--smoke took the full number of steps"
run run demo.lua --seed 42 --run-dir elsewhere
is 0
[ "$(field elsewhere/latest/run.json v.seed)" = 42 ] || fail "--seed is not in run.json"

# --json: one document on stdout, all else on stderr
run run demo.lua --json
is 0
printf '%s' "$out" >doc.json
[ "$(field doc.json 'v.schema, v.status, v.result.bits')" = "1	ok	4" ] || fail "--json"
err_has "name  value"
run run demo.lua -q
is 0
[ -z "$err" ] || fail "-q wrote to stderr"

# the recipe's own help; wrong arguments
run run demo.lua --help
is 0
out_has "--bits" "how many bits" "default: 4" "A demonstration."
run run demo.lua --bist 3 && is 2 && err_has "did you mean 'bits'"
run run demo.lua --bits four && is 2 && err_has "not a number"
run run demo.lua --bits 0 && is 2
run run demo.lua --mode odd && is 2 && err_has "ok, fail"
run run demo.lua --set bits && is 2
run run demo.lua word && is 2
run run && is 2

# failures
run run demo.lua --mode fail
is 1
err_has "demo.lua:16: it failed on purpose" "16 |"
[ "$(field runs/latest/run.json 'v.status, v.exit')" = "failed	1" ] || fail "status of a failed run"
run run demo.lua --mode nofile && is 3 && err_has "weights.pth: no such file"
printf 'return {args = {w = ""}, run = function(hwb, args) assert(hwb.models.c1{}:load(args.w)) end}\n' >weights.lua
run run weights.lua --w none.pth && is 3 && err_has "none.pth: No such file"
echo junk >junk.pth
run run weights.lua --set w=junk.pth && is 3 && err_has "junk.pth"
run check demo.lua weights.lua && is 0 && out_has "demo.lua: recipe" "weights.lua: recipe" "--bits"
printf "return {run = function() end" >broken.lua
run check broken.lua && is 3
run check demo.lua --json && is 0
run run absent.lua && is 3 && err_has "absent.lua"
printf 'return {run = function() end' >broken.lua
run run broken.lua && is 3 && err_has "broken.lua:1:"
printf '\033Lua' >byte.lua
run run byte.lua && is 3 && err_has bytecode
printf 'return 5\n' >number.lua
run run number.lua && is 3
printf 'return {rnu = 1, run = function() end}\n' >field.lua
run run field.lua && is 3 && err_has "did you mean 'run'"
printf 'return {hwb = ">=99", run = function() end}\n' >newer.lua
run run newer.lua && is 2
mkdir folder.lua
run run folder.lua && is 3
printf 'return {run = function(hwb, args, run) run:metric("x", 1) end}\n' >misuse.lua
run run misuse.lua && is 1 && err_has "misuse.lua:1"

# plain scripts: all of Lua, arg, and a run folder only when asked for
rm -rf runs
printf 'print(arg[0], arg[1], arg[2], ...) print(hwb.version)\n' >plain.lua
run run plain.lua a --b
is 0
out_has "plain.lua	a	--b	a	--b" "0."
ok "no run folder" [ ! -e runs ]
printf 'run:metric(1, {x = 2}) run:result{done = true}\n' >records.lua
run run records.lua
is 0
[ "$(field runs/latest/run.json v.status)" = ok ] || fail "status of a script's run"
printf 'os.exit(9)\n' >exit.lua
run run exit.lua && is 9

# a disk that refuses
mkdir shut && chmod 500 shut
if [ "$(id -u)" != 0 ]; then
    run run demo.lua --run-dir shut/runs && is 3
fi
run run demo.lua --run-dir /dev/null/x && is 3

# interrupted, terminated, killed
wait_for() { # FILE TEXT
    for _ in $(seq 100); do
        grep -q "$2" "$1" 2>/dev/null && return 0
        sleep 0.05
    done
    return 1
}
start_loop() {
    rm -rf runs loop.err
    # a background job would ignore SIGINT: env makes it default again
    env --default-signal=INT "$hwb" run demo.lua --mode loop >loop.out 2>loop.err &
    job=$!
    ok "the loop begins" wait_for loop.err looping
}
start_loop
kill -INT $job
wait $job
status=$? out="" err=$(cat loop.err)
is 130
[ "$(field runs/latest/run.json v.status)" = interrupted ] || fail "status of an interrupted run"
start_loop
kill -TERM $job
wait $job
status=$?
is 143
start_loop
kill -KILL $job
wait $job 2>/dev/null
killed=$(readlink runs/latest)
run runs list
is 0
out_has killed

# progress: plain lines in a pipe, redrawn on a terminal, nothing with -q or when it is over at once
cat >slow.lua <<'EOF'
local function wait(s) local t = os.clock() while os.clock() - t < s do end end
for i = 1, 12 do wait(0.15) hwb.progress("slow work", i, 12, "note " .. i) end
for i = 1, 12 do hwb.progress("quick work", i, 12) end
EOF
run run slow.lua
is 0
err_has "slow work " "/12" "ETA 0:0" "| note"
err_lacks "quick work" $'\r'
[ -z "$out" ] || fail "progress on stdout"
run run slow.lua -q
[ -z "$err" ] || fail "-q shows progress"
pty_args='run slow.lua'
pty_script <<'EOF'
expect slow work
expect ETA
expect | note
exit 0
EOF
pty_args=

# runs and report
run run demo.lua --bits 2
is 0
run runs list --json
is 0
run runs show
is 0
out_has "recipe   demo" "bits     2" "nested.x"
run runs diff latest "$killed"
is 0
out_has "args.bits" status
run runs show nothing && is 3
run report -o page.html
is 0
has "$(cat page.html)" "</html>" page.html

# resuming: kill -9 at random moments, then the same numbers as without
cat >long.lua <<'EOF'
return {
  args = {steps = 60},
  run = function(hwb, args, run)
    local first = run:once("start", function() return {x = 1 / 3} end)
    local state = run:restore() or {step = 0, x = first.x, big = {[5] = 0 / 0}}
    while state.step < args.steps do
      for _ = 1, 60000 do state.x = (state.x * 3.9) * (1 - state.x) end
      state.step = state.step + 1
      run:metric(state.step, {x = state.x})
      run:checkpoint(state)
    end
    run:result{x = state.x}
  end,
}
EOF
rm -rf runs
run run long.lua -q
is 0
want=$(field runs/latest/result.json v.x)
cp runs/latest/metrics.jsonl want.jsonl
rm -rf runs
"$hwb" run long.lua -q &
job=$!
kills=0
for pause in 0.05 0.09 0.06 0.08 0.07; do
    sleep $pause
    kill -KILL $job 2>/dev/null && kills=$((kills + 1))
    wait $job 2>/dev/null
    [ -e runs/latest/run.json ] || { "$hwb" run long.lua -q & job=$!; continue; }
    "$hwb" run -q --resume "$(readlink -f runs/latest)" &
    job=$!
done
wait $job
status=$?
echo "resumed after $kills kills"
is 0
[ "$(field runs/latest/result.json v.x)" = "$want" ] || fail "a resumed run ends elsewhere"
ok "the metrics of a resumed run" cmp -s want.jsonl runs/latest/metrics.jsonl
[ "$(field runs/latest/run.json v.status)" = ok ] || fail "status of a resumed run"
echo '-- changed' >>long.lua
run run --resume runs/latest long.lua && is 2 && err_has "not the recipe"
run run --resume nowhere && is 3

# the same with tensors and the random numbers in the state
cat >tensors.lua <<'EOF'
return {
  args = {steps = 12, stop = 0},
  run = function(hwb, args, run)
    local state = run:restore() or {step = 0, w = hwb.zeros(4, 3), sums = {}}
    while state.step < args.steps do
      state.w = state.w * 0.9 + hwb.randn(4, 3)
      state.step = state.step + 1
      state.sums[state.step] = state.w:sum():item()
      run:checkpoint(state)
      if state.step == args.stop and not run.resumed then error("stopped half way") end
    end
    run:result{sums = state.sums, norm = state.w:norm():item()}
  end,
}
EOF
rm -rf runs
run run tensors.lua --seed 5 -q
is 0
want=$(field runs/latest/result.json 'v.norm, #v.sums')
run run tensors.lua --seed 5 -q --stop 7
is 1
run run --resume runs/latest -q
is 0
[ "$(field runs/latest/result.json 'v.norm, #v.sums')" = "$want" ] || fail "tensors of a resumed run differ"
[ "$(ls runs/latest/checkpoints/*.safetensors | wc -l)" = 1 ] || fail "old checkpoints are left behind"
run run tensors.lua --seed 5 -q --stop 7
is 1
printf 'x' >>"$(ls runs/latest/checkpoints/*.safetensors)"
run run --resume runs/latest
is 3

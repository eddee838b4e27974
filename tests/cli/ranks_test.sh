# Several processes under mpirun: the numbers of one, and trainings that go on.
. "$(dirname "$0")/lib.sh"
. "$HWB_CLI_TESTS/ranks_lib.sh"

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
  -- weights in front of a batch norm: float32 is 3e-6 off float64 there, on one process too
  local tolerance = math.max(tonumber(arg[3]), arg[5] and name:find("^batch statistics") and 1e-5 or 0)
  if difference ^ 0.5 > tolerance * size ^ 0.5 then
    print(name, difference ^ 0.5 / size ^ 0.5)
    os.exit(1)
  end
end
assert(count > tonumber(arg[4]))
EOF
same() { ok "$1 and $2 agree to $3" "$hwb" run same.lua "$@"; }

# one process, four in float64 and two in float32; what is compared later runs beside
"$hwb" run "$recipe" --dtype float32 --run-dir one-float32 >.float32 2>&1 &
float32=$!
"$hwb" run "$recipe" --train 6 --run-dir whole >.whole 2>&1 &
whole=$!
run run "$recipe" --dtype float64 --run-dir one-float64
is 0
ranks 4 run "$recipe" --run-dir many
is 0
same one-float64 many 1e-12 15000
[ "$(field many/latest/run.json 'v.ranks.size, v.status')" = "4	ok" ] || fail "run.json"
[ "$(field many/latest/result.json 'v.exchanges > 50')" = true ] || fail "no exchanges"
[ "$(find many -maxdepth 1 -type d | wc -l)" = 2 ] || fail "not one folder a run: $(ls many)"
[ "$(wc -l <many/latest/metrics.jsonl)" = 2 ] || fail "metrics of more than one rank"
[ "$(field many/latest/result.json 'v.times.train.communication > 0')" = true ] || fail "communication was not timed"
ranks 2 run "$recipe" --dtype float32 --run-dir many
is 0
ok "one process in float32" wait $float32
same one-float32 many 1e-6 15000 float32

# a training that is stopped goes on, on other numbers of ranks too, to the same numbers
ok "one process trains" wait $whole
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

exit 0

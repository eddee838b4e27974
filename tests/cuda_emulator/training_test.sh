#!/usr/bin/env bash
# training_test.sh HWB: a training whose weights, gradient and optimizer state stay on the
# emulated device.
#
#   - ten more steps copy no weights (716 KiB) up or down and wait once each, whatever the
#     rule; LAMB, which the host carries out, shows that copies would be seen;
#   - the results are the host's to rounding, and the same bits every time: each rule, with
#     clipping, several micro-batches an update and a smaller one at the end;
#   - whoever looks at weights or states sees those of the last update, and what he writes
#     is trained on; a training goes on from what was saved;
#   - over two processes the result is that of one, and weights that differ are noticed;
#   - where a call is refused or the device breaks, that is said, and nothing is left there.
set -u
hwb=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bad=0

complain() {
    echo "FAILED: $1"
    bad=1
}

cat >"$work/train.lua" <<'LUA'
local nn = hwb.nn
local kind, epochs, device = arg[1], tonumber(arg[2]), arg[3]
local make = {
  sgd = function() return hwb.optim.sgd{lr = 0.05, momentum = 0.9, nesterov = true, weight_decay = 1e-2} end,
  plain = function() return hwb.optim.sgd{lr = 0.05, clip = 0.7} end,
  adam = function() return hwb.optim.adam{lr = 0.01, weight_decay = 1e-2, decay_vectors = false} end,
  adamw = function() return hwb.optim.adamw{lr = 0.01, weight_decay = 0.1, decay_vectors = false, clip = 0.7} end,
  lamb = function() return hwb.optim.lamb{lr = 0.01} end,
}
hwb.manual_seed(3)
local m = nn.Sequential{nn.Conv2d{1, 6, kernel = 3, padding = 1}, nn.BatchNorm2d{6}, nn.Tanh{}, nn.Flatten{},
  nn.Linear{7 * 43 * 6, 101}, nn.Tanh{}, nn.Linear{101, 5}}
local x, y = hwb.randn(18, 1, 7, 43), hwb.tensor({1, 3, 5, 2, 1, 1, 4, 4, 2, 5, 3, 1, 4, 2, 5, 3, 1, 2}, {dtype = "int64"})
local batch, micro, drop_last = 9, false, true
if arg[4] == "parts" then
  batch, micro, drop_last = 8, 4, false
  m:to("float64")
  x = x:to("float64")
end
hwb.set_device(device)
local rows = hwb.train{model = m, data = {x, y}, epochs = epochs, batch = batch, micro = micro, drop_last = drop_last,
  seed = 3, optimizer = make[kind]()}
local digits = arg[4] == "parts" and "%.9g" or "%.17g"
io.write(digits:format(rows[epochs].loss))
for _, t in ipairs{m:state_dict()["0.weight"], m:state_dict()["4.weight"], m:state_dict()["6.bias"],
  m:state_dict()["1.running_var"]} do
  io.write(" ", digits:format(t:norm():item()))
end
print()
LUA

# counted KIND EPOCHS: KiB up, KiB down, waits
counted() {
    HWB_EMU_COUNT=1 "$hwb" run --trust "$work/train.lua" "$1" "$2" cuda 2>&1 >/dev/null |
        sed -n 's/.* up (\([0-9]*\) KiB), [0-9]* down (\([0-9]*\) KiB).*; \([0-9]*\) waits.*/\1 \2 \3/p'
}

# more KIND: the same of ten more steps, of two an epoch
more() {
    read -r up0 down0 waits0 <<<"$(counted "$1" 3)"
    read -r up1 down1 waits1 <<<"$(counted "$1" 8)"
    up=$((up1 - up0)) down=$((down1 - down0)) waits=$((waits1 - waits0))
    echo "$1, ten more steps: $up KiB up, $down down, $waits waits"
}
# A step's images are 11 KiB; clipping has to know the norm.
for kind in sgd adam; do
    more $kind
    [ $up -le 130 ] && [ $down -le 10 ] && [ $waits -eq 10 ] || complain "$kind copies weights"
done
more plain
[ $up -le 130 ] && [ $down -le 10 ] && [ $waits -eq 20 ] || complain "clipping copies weights"
more lamb
[ $up -gt 7000 ] && [ $down -gt 7000 ] || complain "copies of weights are not counted"

for kind in sgd plain adam adamw; do
    host=$("$hwb" run --trust "$work/train.lua" $kind 4 cpu parts 2>&1 | tail -n 1)
    there=$("$hwb" run --trust "$work/train.lua" $kind 4 cuda parts 2>&1 | tail -n 1)
    [ "$there" = "$host" ] || complain "$kind: $there, on the host $host"
    first=$("$hwb" run --trust "$work/train.lua" $kind 4 cuda 2>&1 | tail -n 1)
    again=$("$hwb" run --trust "$work/train.lua" $kind 4 cuda 2>&1 | tail -n 1)
    [ "$first" = "$again" ] || complain "$kind is not deterministic: $first, then $again"
    echo "$kind: $host"
done

cat >"$work/look.lua" <<'LUA'
local nn = hwb.nn
local y = hwb.tensor({1, 3, 5, 2}, {dtype = "int64"})
local function model()
  hwb.manual_seed(3)
  return nn.Sequential{nn.Linear{9, 7}, nn.Tanh{}, nn.Linear{7, 5}}
end
local function near(a, b, what)
  local off = (a - b):abs():max():item()
  assert(off < 1e-5, ("%s: off by %g"):format(what, off))
end
local function same(a, b, what) assert((a - b):abs():max():item() == 0, what) end
local function batch(i)
  hwb.manual_seed(i)
  return hwb.randn(4, 9)
end
local function step(t, i)
  t:gradient(batch(i), y, 0.5)
  t:gradient(batch(i + 100), y, 0.5)
  t:update(0.1)
end
local function pair(kind)
  local a, b = model(), model()
  return a, b, hwb.engine.trainer(a, {kind = kind, momentum = 0.9}), hwb.engine.trainer(b, {kind = kind, momentum = 0.9})
end
-- f(model, trainer) on both devices; what it returns must agree.
for _, kind in ipairs{"sgd", "adam"} do
  local a, b, s, t = pair(kind)
  local function both(what, f)
    hwb.set_device("cpu")
    local want = f(a, s)
    hwb.set_device("cuda")
    local got = f(b, t)
    hwb.set_device("cpu")
    for i = 1, #want do near(got[i], want[i], kind .. ": " .. what) end
  end
  local weight = {[a] = a:state_dict()["0.weight"], [b] = b:state_dict()["0.weight"]}
  local row = {[a] = weight[a]:select(1, 2), [b] = weight[b]:select(1, 2)}
  local i = 0
  local function some(t) for _ = 1, 3 do i = i + 1; step(t, i % 3 + 1) end end
  both("weights", function(m, t) some(t); return {weight[m]} end)
  both("a view", function(m, t) some(t); return {row[m]} end)
  both("a clone", function(m, t) some(t); return {weight[m]:clone()} end)
  both("one element", function(m, t) some(t); return {hwb.tensor{weight[m]:select(1, 1):select(1, 1):item()}} end)
  both("outputs on the device", function(m, t) some(t); return {m:forward(batch(7))} end)
  both("outputs on the host", function(m, t) some(t); hwb.set_device("cpu"); return {m:forward(batch(7))} end)
  both("weights written", function(m, t) some(t); weight[m]:mul_(0.5); some(t); return {weight[m]} end)
  both("a view written", function(m, t) some(t); row[m]:zero_(); some(t); return {weight[m], row[m]} end)
  both("a gradient", function(_, t) t:gradient(batch(1), y); return {t:flat_gradient()} end)
  both("a gradient changed", function(m, t) t:flat_gradient():mul_(2); t:update(0.1); return {weight[m]} end)
  both("a gradient forgotten", function(m, t) t:gradient(batch(1), y); t:clear(); some(t); return {weight[m]} end)
  both("a gradient added", function(m, t)
    t:gradient(batch(1), y)
    t:add(t:flat_gradient():clone())
    t:update(0.1)
    return {weight[m], hwb.tensor{t:norm()}}
  end)
  both("states", function(_, t) some(t); return select(2, t:state()) end)
  both("trimmed", function(m, t) some(t); t:trim(); some(t); return {weight[m]} end)
  both("other programs", function(m, t)
    some(t)
    local H = hwb.hessian(m, {data = {batch(5), y}})
    local before = H:apply(hwb.ones(H.n))
    some(t)
    return {before, H:apply(hwb.ones(H.n))}
  end)
  -- a training goes on from what was saved, bit for bit
  hwb.set_device("cuda")
  local kept, steps, vectors = {}, t:state()
  for name, w in pairs(b:state_dict()) do kept[name] = w:clone() end
  step(t, 1); step(t, 2)
  local c = model()
  for name, w in pairs(c:state_dict()) do w:copy_(kept[name]) end
  local u = hwb.engine.trainer(c, {kind = kind, momentum = 0.9})
  u:restore(steps, vectors)
  step(u, 1); step(u, 2)
  same(weight[b], c:state_dict()["0.weight"], kind .. ": a restored training differs")
  local last = t:state()
  t:restore(steps, vectors)
  assert(last == steps + 2 and (t:state()) == steps)
  u = nil
  collectgarbage()
  same(weight[b], c:state_dict()["0.weight"], kind .. ": weights after their trainer")
  hwb.set_device("cpu")
end
-- what is not finite is named
hwb.set_device("cuda")
local m = nn.Sequential{nn.Linear{9, 5}}
m:state_dict()["0.weight"]:fill_(1e38)
local ok, why = pcall(function() hwb.engine.trainer(m, {kind = "sgd"}):gradient(batch(1) * 1e10, y) end)
assert(not ok and tostring(why):find("non%-finite value made by"), tostring(why))
print("fine")
LUA
said=$(HWB_EMU_LEAKS=1 "$hwb" run --trust "$work/look.lua" 2>&1)
[ "$said" = fine ] || complain "looking: $said"

if command -v mpirun >/dev/null && [ -f "$(dirname "$hwb")/../lib/hwb/libhwb_mpi.so" ]; then
    export OMPI_ALLOW_RUN_AS_ROOT=1 OMPI_ALLOW_RUN_AS_ROOT_CONFIRM=1
    export OMPI_MCA_rmaps_base_oversubscribe=1 OMPI_MCA_hwloc_base_binding_policy=none
    cat >"$work/ranks.lua" <<'LUA'
local nn = hwb.nn
hwb.manual_seed(3)
local m = nn.Sequential{nn.Linear{90, 50}, nn.Tanh{}, nn.Linear{50, 5}}
m:to("float64")
local x, y = hwb.randn(9, 90):to("float64"), hwb.tensor({1, 3, 5, 2, 1, 1, 4, 4, 2}, {dtype = "int64"})
hwb.set_device("cuda")
local function callback()
  if arg[1] == "differ" and hwb.comm.rank() == 1 then m:state_dict()["0.weight"]:mul_(1.001) end
end
-- the last micro-batch is one sample: the second rank has none of it
local ok, rows = pcall(hwb.train, {model = m, data = {x, y}, epochs = 3, batch = 4, drop_last = false, seed = 3,
  callback = callback, optimizer = hwb.optim.sgd{lr = 0.1, momentum = 0.9}})
if not ok then print(rows) os.exit(0) end
if hwb.comm.rank() == 0 then
  print(("%.9f %.9f"):format(rows[3].loss, m:state_dict()["0.weight"]:norm():item()))
end
LUA
    export OMP_NUM_THREADS=1 ASAN_OPTIONS="${ASAN_OPTIONS-}:detect_leaks=0"
    alone=$("$hwb" run --trust "$work/ranks.lua" 2>&1)
    said=$(timeout 100 mpirun -np 2 "$hwb" run --trust "$work/ranks.lua" 2>&1)
    [ "$said" = "$alone" ] || complain "two processes say $said, one $alone"
    said=$(timeout 100 mpirun -np 2 "$hwb" run --trust "$work/ranks.lua" differ 2>&1)
    case $said in
    *"ranks have come apart"*"weights"*) ;;
    *) complain "other weights on one of two processes: $said" ;;
    esac
    echo "alone and with two processes: $alone; with other weights: $(head -n 1 <<<"$said")"
fi

cat >"$work/refused.lua" <<'LUA'
local nn = hwb.nn
hwb.manual_seed(3)
local m = nn.Sequential{nn.Linear{9, 7}, nn.Tanh{}, nn.Linear{7, 5}}
local x, y = hwb.randn(4, 9), hwb.tensor({1, 3, 5, 2}, {dtype = "int64"})
print(select(2, pcall(function()
  hwb.set_device("cuda")
  local t = hwb.engine.trainer(m, {kind = "sgd", momentum = 0.9})
  for _ = 1, 4 do
    t:gradient(x, y)
    t:update(0.1)
  end
  t:state()
  return "fine"
end)))
LUA
refused=0 fine=0
for n in $(seq 1 40); do
    said=$(HWB_EMU_LEAKS=1 HWB_EMU_FAIL=$n "$hwb" run --trust "$work/refused.lua" 2>&1)
    status=$?
    [ "$status" -eq 0 ] || complain "refusing number $n ends with $status: $said"
    case $said in
    fine*) fine=$((fine + 1)) ;;
    *cuda*memory* | *cuda*alloc* | *cuda*ALLOC* | *"left on the device"*) refused=$((refused + 1)) ;;
    *) complain "refusing number $n says: $said" ;;
    esac
done
echo "refused: $refused, fine: $fine"
[ $refused -ge 3 ] && [ $fine -gt 0 ] || complain "$refused refused, $fine fine"
broken=0
for n in 1 8 21 55 89 110 120 130 140 150; do
    said=$(HWB_EMU_BREAK=$n HWB_EMU_LEAKS=0 ASAN_OPTIONS=detect_leaks=0 timeout 60 "$hwb" run --trust "$work/refused.lua" 2>&1)
    status=$?
    [ "$status" -eq 0 ] || complain "a device that breaks at $n: status $status: $said"
    case $said in
    fine*) ;;
    *"illegal memory access"* | *EXECUTION_FAILED* | *"failed to launch on the GPU"* | *"unknown cuBLAS status"*)
        broken=$((broken + 1)) ;;
    *) complain "a device that breaks at $n says: $said" ;;
    esac
done
echo "broken $broken times"
[ "$broken" -ge 4 ] || complain "only $broken times broken"
exit $bad

# What the outside world does to a run: memory that ends, files that cannot grow,
# Ctrl-C.  Each gives one line and the documented exit status.
source "$(dirname "$0")/lib.sh" "$@"

# a plain file keeps the status of what it failed with
echo 'hwb.zeros(1 << 38)' >large.lua
run run large.lua && is 5 && err_has "out of memory" && err_lacks "table was raised"
run -e 'hwb.zeros(1 << 38)' && is 5
printf 'local x = 1\nerror("plain")\n' >plain.lua
run run plain.lua && is 1 && err_has "plain.lua:2: plain"

# every allocation of a small script may fail
cat >small.lua <<'EOF2'
local nn = hwb.nn
local m = nn.Sequential{nn.Conv2d{3, 4, 3}, nn.BatchNorm2d{4}, nn.ReLU{}, nn.Flatten{}, nn.Linear{144, 3}}
local x, y = hwb.randn(2, 3, 8, 8), hwb.tensor({1, 2}, {dtype = "int64"})
local H = hwb.hessian(m, {data = {x, y}})
H:apply(hwb.ones(2, H.n))
H:eigs{maxiter = 2}
m:save("m.safetensors")
assert(m:load("m.safetensors"))
EOF2
run run small.lua && is 0
for n in 1 2 3 5 8 13 21 34 55 89 144; do
    export HWB_TEST_FAIL_ALLOC=$n
    run run small.lua
    [ "$status" = 5 ] || [ "$status" = 0 ] || fail "allocation $n fails with status $status"
    if [ "$status" = 5 ]; then err_has "out of memory"; fi
done
unset HWB_TEST_FAIL_ALLOC

# a loss landscape that runs out of memory at any moment leaves the weights as they were
cat >landscape.lua <<'EOF2'
local m = hwb.nn.Linear(5, 3)
local before = m:flat_parameters():totable()
local ok, e = pcall(hwb.landscape.surface, m,
  {data = {hwb.randn(6, 5), hwb.ones(6, {dtype = "int64"})}, points = 3})
local after = m:flat_parameters():totable()
for i = 1, #before do assert(before[i] == after[i]) end
print("unchanged", ok or e)
EOF2
run run landscape.lua && is 0
out_has "unchanged	true"
for n in 60 90 120 150 165 180 195 210 225 240; do
    export HWB_TEST_FAIL_ALLOC=$n
    run run landscape.lua
    [ "$status" = 5 ] || [ "$status" = 0 ] || fail "allocation $n fails with status $status"
    if [ "$status" = 0 ]; then out_has unchanged; fi
done
unset HWB_TEST_FAIL_ALLOC

# a limit on the size of files is an error of writing, not a signal
cat >grow.lua <<'EOF2'
local ok, message, code = hwb.models.resnet20{}:save("big.safetensors")
print(ok, message, code)
EOF2
last="hwb run grow.lua under ulimit -f"
out=$(ulimit -f 64; "$hwb" run grow.lua 2>&1)
status=$?
is 0
out_has "File too large" EIO
[ ! -e big.safetensors ] || fail "a part of a file was left behind"

# Ctrl-C in the solvers and loaders
cat >long.lua <<'EOF2'
local what = arg[1]
local set = hwb.data.shapes10{split = "test"}
local H = hwb.hessian(hwb.models.c1{}, {data = {set:batch(1, 16)}})
local file <close> = assert(io.open("ready", "w"))
file:close()
if what == "eigs" then H:eigs{k = 2, maxiter = 1000000, tol = 0, method = "power"}
elseif what == "trace" then H:trace{max_probes = 1000000, tol = 0}
elseif what == "loop" then while true do end
else while true do for _ in set:loader{batch = 8} do end end end
EOF2
for what in eigs trace loop loader; do
    rm -f ready
    last="hwb run long.lua $what, interrupted"
    "$hwb" run long.lua $what >.out 2>.err &
    job=$!
    for _ in $(seq 300); do [ -e ready ] && break; sleep 0.1; done
    sleep 0.3
    kill -INT $job
    wait $job
    status=$?
    err=$(cat .err)
    is 130
    err_has interrupted
done
echo "failures: ok"

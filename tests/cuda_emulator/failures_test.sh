#!/usr/bin/env bash
# failures_test.sh HWB: the program on the emulated device when something is refused.
#
#   - each call that can fail for want of memory or handles fails once: the program says
#     which, ends in order, and leaves no device memory and no handle behind
#     (HWB_EMU_LEAKS);
#   - the device breaks, now or later, and every call says so from then on: the program says
#     so too and ends in order;
#   - no driver, an old one, no device, an old device, too little memory: one clear line.
set -u
hwb=$1
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
export HWB_EMU_LEAKS=1
bad=0

complain() {
    echo "FAILED: $1"
    bad=1
}

cat >"$work/curvature.lua" <<'LUA'
local nn = hwb.nn
hwb.manual_seed(3)
local m = nn.Sequential{nn.Conv2d{3, 4, kernel = 3, padding = 1}, nn.ReLU{}, nn.Flatten{},
  nn.Linear{4 * 16, 5}}
m:eval()
local x, y = hwb.randn(2, 3, 4, 4), hwb.tensor({1, 3}, {dtype = "int64"})
print(select(2, pcall(function()
  hwb.set_device("cuda")
  local H = hwb.hessian(m, {data = {x, y}})
  for _ = 1, 4 do H:apply(hwb.ones(H.n)) end -- plain, recorded, replayed
  return "fine"
end)))
LUA

refused=0 fine=0
for n in $(seq 1 60); do
    said=$(HWB_EMU_FAIL=$n "$hwb" run --trust "$work/curvature.lua" 2>&1)
    status=$?
    [ "$status" -eq 0 ] || complain "refusing number $n ends with $status: $said"
    case $said in
    fine*) fine=$((fine + 1)) ;;
    *cuda*memory* | *cuda*alloc* | *cuda*ALLOC* | *"left on the device"*) refused=$((refused + 1)) ;;
    *) complain "refusing number $n says: $said" ;;
    esac
done
echo "refused $refused times, $fine times it did not matter"
[ "$refused" -ge 15 ] && [ "$fine" -ge 5 ] || complain "$refused refused, $fine fine"

broken=0
for n in 1 2 3 5 8 13 21 34 55 89 144 233 377; do
    said=$(HWB_EMU_BREAK=$n HWB_EMU_LEAKS=0 timeout 60 "$hwb" run --trust "$work/curvature.lua" 2>&1)
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
[ "$broken" -ge 6 ] || complain "only $broken times broken"

# expect VARIABLE=VALUE TEXT: what `hwb` says when it wants the device
expect() {
    local said
    said=$(env "$1" "$hwb" --device cuda -e 'print(hwb.ones(1000, 1000):sum():item())' 2>&1)
    case $said in
    *"$2"*) echo "$1: $said" ;;
    *) complain "$1 says: $said" ;;
    esac
}
expect HWB_EMU_DRIVER=0 "no NVIDIA driver"
expect HWB_EMU_DRIVER=12040 "driver is for CUDA 12.4"
expect HWB_EMU_DEVICES=0 "finds no device"
expect HWB_EMU_SM=70 "compute capability 7.0"
expect HWB_EMU_MEMORY_MIB=1 "left on the device"
expect HWB_CUDA_DEVICE=3 "there is 1 device"
expect HWB_EMU_SM=80 1000000
exit $bad

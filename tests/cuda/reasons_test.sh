#!/usr/bin/env bash
# reasons_test.sh HWB [EMULATOR_LIBS PLUGIN_FOLDER]: every way in which there is no CUDA
# device has its own reason in `hwb doctor`, exit code 4 when the device was asked for, and
# the CPU goes on.  The cases that need a driver to say something run on the stand-ins.
set -u
hwb=$1 emulator=${2:-} plugin=${3:-}
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
failed=0
unset HWB_DEVICE HWB_TEST_DEVICE

# says PART: doctor's line on cuda holds it, --device cuda ends with 4 and says it too
says() {
    local line rc
    line=$("$hwb" doctor | grep '^  cuda')
    if [[ $line != *"$1"* ]]; then
        echo "FAIL: doctor says: $line"
        echo "      wanted: $1"
        failed=1
    fi
    "$hwb" --device cuda -e 'print(1)' >"$work/out" 2>"$work/err"
    rc=$?
    if [ $rc -ne 4 ] || ! grep -qF "$1" "$work/err" || [ -s "$work/out" ]; then
        echo "FAIL: --device cuda ends with $rc: $(cat "$work/err")"
        failed=1
    fi
    if [ "$("$hwb" --device auto -e 'print(hwb.device())' 2>/dev/null)" != cpu ]; then
        echo "FAIL: --device auto does not go on with the CPU ($1)"
        failed=1
    fi
}

mkdir "$work/empty"
HWB_BACKEND_PATH=$work/empty says "no libhwb_cuda.so in $work/empty"

# a plug-in whose library is missing
if command -v cc >/dev/null; then
    mkdir "$work/ghost"
    echo 'int ghost(void) { return 1; }' >"$work/ghost.c"
    echo 'int ghost(void); int use(void); int use(void) { return ghost(); }' >"$work/use.c"
    cc -shared -fPIC -o "$work/libghost.so.9" -Wl,-soname,libghost.so.9 "$work/ghost.c" &&
        cc -shared -fPIC -o "$work/ghost/libhwb_cuda.so" "$work/use.c" "$work/libghost.so.9"
    rm "$work/libghost.so.9"
    HWB_BACKEND_PATH=$work/ghost says "libghost.so.9: cannot open shared object file"
fi

# the real libraries on a machine without a driver
if [ -n "$plugin" ] && ! ls /dev/nvidiactl /dev/dxg >/dev/null 2>&1; then
    HWB_BACKEND_PATH=$plugin says "no NVIDIA driver"
fi

if [ -e "$emulator/libcudart.so.13" ]; then
    export LD_LIBRARY_PATH=$emulator HWB_BACKEND_PATH=$plugin
    HWB_EMU_DEVICES=0 says "the NVIDIA driver finds no device"
    HWB_EMU_DRIVER=12040 says "the NVIDIA driver is for CUDA 12.4, this plug-in for CUDA 13"
    HWB_EMU_SM=61 says "device 0 has compute capability 6.1; 7.5 is the least"
    if ! "$hwb" --device cuda:0 -e 'print(hwb.ones(2):sum():item())' | grep -qx 2.0; then
        echo "FAIL: --device cuda:0"
        failed=1
    fi
    if "$hwb" --device cuda:9 -e 'print(1)' 2>/dev/null; then
        echo "FAIL: --device cuda:9 opens"
        failed=1
    fi
    HWB_CUDA_DEVICE=7 says "HWB_CUDA_DEVICE is 7, but there"
fi
[ $failed -eq 0 ] && echo "every reason was given"
exit $failed

#!/bin/sh
# unpack_cifar.sh DATA OUT: makes OUT/cifar-10-batches-bin with DATA's own tool,
# once; 77 (a skip) where the data or what the tool needs is absent.
set -u
data=$1 out=$2
[ -f "$out/cifar-10-batches-bin/test_batch.bin" ] && exit 0
if [ ! -x "$data/unpack-cifar10" ]; then
    echo "no unpack-cifar10 in $data: tests on real CIFAR-10 are skipped"
    exit 77
fi
python=/usr/bin/python3
if ! "$python" -c 'import PIL, numpy' 2>/dev/null; then
    echo "python3-pil and python3-numpy are not installed: tests on real CIFAR-10 are skipped"
    exit 77
fi
# Beside the target first, so that an interrupted run leaves nothing half made.
rm -rf "$out.tmp" && mkdir -p "$out.tmp" && "$python" "$data/unpack-cifar10" "$out.tmp" &&
    rm -rf "$out" && mv "$out.tmp" "$out"

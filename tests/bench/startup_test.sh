#!/bin/sh
# What `hwb -e ''` costs before the first line runs, in counts that no clock shows on a
# busy machine: libraries loaded, and instructions (most of them relocation by the
# dynamic loader) where valgrind is there.  On a quiet machine 24 million took 9 ms.
#
# usage: startup_test.sh PATH/hwb
set -eu
hwb=$1
most_libraries=38
most_instructions=30000000

libraries=$(ldd "$hwb" | grep -c '\.so')
echo "libraries: $libraries of at most $most_libraries"
[ "$libraries" -le $most_libraries ] || exit 1

if ! command -v valgrind >/dev/null; then
    echo "instructions not counted: no valgrind"
    exit 0
fi
out=$(mktemp)
trap 'rm -f "$out"' EXIT
valgrind --tool=callgrind --callgrind-out-file=/dev/null "$hwb" -e '' 2>"$out"
instructions=$(sed -n 's/.*Collected : \([0-9]*\).*/\1/p' "$out")
echo "instructions: ${instructions:-none} of at most $most_instructions"
[ -n "$instructions" ] && [ "$instructions" -le $most_instructions ]

#!/bin/sh
# `hwb bench` and the program behind it: what is listed runs (the ResNet20 cases, a few
# samples each) and gives finite check values; unknown cases and sizes are refused.
#
# usage: cases_test.sh PATH/hwb PATH/bench
set -u
hwb=$1 bench=$2
fail() { echo "$*"; exit 1; }

cases=$("$bench" list | awk -F '\t' '$2 == "resnet20" {print $1}')
[ "$(echo "$cases" | wc -l)" -ge 12 ] || fail "few cases: $cases"
for case in $cases; do
    line=$("$bench" "$case" smoke=1) || fail "$case: status $?"
    case $line in
    *nan* | *inf*) fail "$case: $line" ;;
    *'"check": ['[-0-9]*']}') ;;
    *) fail "$case: no check value: $line" ;;
    esac
done

"$bench" hvp nonsense=1 2>/dev/null && fail "an unknown size was accepted"
"$bench" hvpp 2>/dev/null && fail "an unknown case was accepted"
"$hwb" bench list | grep -q '^quant-eval ' || fail "hwb bench list"
"$hwb" bench hvp --smoke --json | grep -q '"peak_mib"' || fail "hwb bench hvp --smoke --json"
said=$("$hwb" bench lanczoz 2>&1) && fail "an unknown case was accepted"
echo "$said" | grep -q "did you mean 'lanczos'" || fail "no near case in: $said"

# PyTorch's sides know no other cases (listing them needs no PyTorch)
here=$(dirname "$0")
for peer in peer_torch.py peer_gpu.py; do
    command -v python3 >/dev/null || break
    names=$(python3 "$here/$peer" --list) || fail "$peer --list"
    for case in $(echo "$names" | awk '{print $1}'); do
        "$bench" list | grep -q "^$case	" || fail "$peer has a case $case that bench has not"
    done
done
exit 0

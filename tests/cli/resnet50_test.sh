# recipes/hawq_resnet50.lua with --smoke: the published arithmetic of sizes.
. "$(dirname "$0")/lib.sh"

run run "$HWB_HOME/recipes/hawq_resnet50.lua" --smoke
is 0
case $out in "data: the bundled set shapes10, enlarged to 224x224; weights: random"*) ;;
*) fail "the first line does not say which data" ;;
esac
out_has "only sizes and timings mean anything" "97.492" "97.695"
is_true() { [ "$(field runs/latest/result.json "$1")" = true ] || fail "result.json: $1"; }
is_true 'v.bundled and v.only_sizes_and_timings'
is_true 'v.parameters == 25557032'
is_true '#v.sensitivity == 54'
is_true '("%.3f"):format(v.sizes[2].mib) == "97.492"'
is_true '("%.3f"):format(v.sizes[3].mib) == "97.695"'
# 12.28 times smaller than the 97.8 MB of the checkpoint is 7.96 MB
is_true 'v.plan.size_mib <= 97.8 / 12.28 and v.plan.size_mib > 7.9'
is_true 'v.plans[1].file_bytes < 8.6 * 2^20'
published() { # ROW EXPECTED: method, ratio, published MB, of the file, of the parameters
    row=$(field runs/latest/published.json "(('%s %.2f %.2f %.2f %.2f'):format(v.rows[$1].method, v.rows[$1].ratio,
        v.rows[$1].mib, v.rows[$1].of_file, v.rows[$1].of_parameters))")
    [ "$row" = "$2" ] || fail "published sizes: $row instead of $2"
}
published 1 "DoReFa, PACT, LQ-Nets 16.00 6.11 6.11 6.09"
published 2 "DoReFa, PACT, LQ-Nets 10.67 9.17 9.17 9.14"
published 3 "Deep Compression 10.41 9.36 9.39 9.37"
published 4 "HAQ 10.57 9.22 9.25 9.22"
published 5 "HAWQ 12.28 7.96 7.96 7.94"
published 6 "HAWQ-V2 12.25 7.98 7.98 7.96"
for figure in sensitivity frontier; do ok "$figure.png" [ -s "runs/latest/$figure.png" ]; done

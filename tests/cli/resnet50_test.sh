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
for row in "HAWQ,2 mixed,12.28,7.96,7.9642" "HAWQ-V2,2 mixed,12.25,7.98,7.9837" "HAQ,mixed,10.57,9.22"; do
    has "$(cat runs/latest/published.csv)" "$row" published.csv
done
for figure in sensitivity frontier; do ok "$figure.png" [ -s "runs/latest/$figure.png" ]; done

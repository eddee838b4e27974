# Every recipe with --smoke: exit status, first line, result.json, figures; bad weights.
. "$(dirname "$0")/lib.sh"
recipes=$HWB_HOME/recipes
[ -n "${HWB_TEST_DEVICE:-}" ] && export HWB_DEVICE=$HWB_TEST_DEVICE

# smoke NAME FIGURE…: runs recipes/NAME.lua; its figures are there as PNG and SVG
smoke() {
    name=$1
    shift
    run run "$recipes/$name.lua" --smoke
    is 0
    case $out in "data: the bundled set shapes10"*) ;; *) fail "the first line does not say which data" ;; esac
    [ "$(field runs/latest/run.json 'v.recipe, v.status, v.smoke')" = "$name	ok	true" ] || fail "run.json of $name"
    [ "$(field runs/latest/result.json v.bundled)" = true ] || fail "result.json of $name says nothing of the bundled set"
    for figure in "$@"; do
        [ "$(head -c 4 "runs/latest/$figure.png" | tail -c 3)" = PNG ] || fail "$figure.png of $name"
        ok "$figure.svg of $name" [ -s "runs/latest/$figure.svg" ]
    done
}
# holds EXPRESSION…: each is true of the last run's result v
holds() {
    for e in "$@"; do [ "$(field runs/latest/result.json "$e")" = true ] || fail "result.json: $e"; done
}

smoke hawq_resnet20 sensitivity eigenvalues frontier prediction density
holds '#v.sensitivity == 20' 'v.sensitivity[1].name == "conv1"' 'v.sensitivity[1].stderr > 0' \
    'v.sensitivity[20].lambda ~= nil' 'v.images == 100' 'v.correct == v.images * v.accuracy' \
    'v.frontier_points > 100' '#v.plans == 4' 'v.plans[1].plan == "HAWQ-V2"' \
    'v.plans[1].size_mib <= v.plans[2].size_mib' 'v.plans[1].omega <= v.plans[2].omega' \
    'v.plans[1].omega < v.plans[3].omega' 'v.plans[2].file_bytes < 1.4 * v.plans[2].size_mib * 2^20' \
    'v.accuracy > 0.5' '#v.rank_correlation == 5' 'v.bn == "eval"'
for f in hawq-v2 uniform reversed; do ok "$f.safetensors" [ -s "runs/latest/$f.safetensors" ]; done

smoke hessian_power_iteration iterations samples blocks
holds '#v.blocks == 11' 'v.blocks[1].block == "conv1"' '#v.iterations == 2' '#v.samples == 1' \
    'v.blocks[1].max >= v.blocks[1].min' 'v.samples[1].sd >= 0'

smoke loss_landscape eigen_lines random_lines random_plane eigen_plane random_plane_map
holds 'v.loss > 0' '#v.lines == 4' 'math.abs(v.lines[1].curvature - v.lines[1].eigenvalue) < 0.01 * v.lines[1].eigenvalue' \
    'v.highest_on_plane > v.loss'

smoke train_shapes10
holds 'v.epochs == 1' 'v.loss > 0' 'v.test_accuracy <= 1'
ok "the checkpoint" [ -s runs/latest/shapes10-resnet20.safetensors ]

run run "$recipes/hawq_resnet20.lua" --smoke --set weights=missing.th
is 3
err_has "missing.th"
head -c 1000 "$HWB_HOME/datasets/shapes10-resnet20.safetensors" >torn.safetensors
run run "$recipes/hawq_resnet20.lua" --smoke --set weights=torn.safetensors
is 3
err_has "torn.safetensors"
run run "$recipes/hawq_resnet20.lua" --smoke --shortcut C
is 2
err_has shortcut

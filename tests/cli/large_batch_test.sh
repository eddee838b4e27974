# The large-batch recipes with --smoke: results, figures, wrong arguments, stopping and going on.
. "$(dirname "$0")/lib.sh"
recipes=$HWB_HOME/recipes

# smoke NAME "FIGURE…" WORDS…: runs recipes/NAME.lua; its figures and the report are there
smoke() {
    name=$1 figures=$2
    shift 2
    run run "$recipes/$name.lua" --smoke "$@"
    is 0
    case $out in "data: the bundled set shapes10"*) ;; *) fail "the first line does not say which data" ;; esac
    for figure in $figures; do
        [ "$(head -c 4 "runs/latest/$figure.png" | tail -c 3)" = PNG ] || fail "$figure.png of $name"
    done
    ok "report.html of $name" grep -q "<html" runs/latest/report.html
    [ "$(field runs/latest/result.json v.bundled)" = true ] || fail "result.json of $name says nothing of the bundled set"
}
holds() {
    for e in "$@"; do [ "$(field runs/latest/result.json "$e")" = true ] || fail "result.json: $e"; done
}

smoke absa_resnet20 "batch lambda"
# 4 micro-batches of 128: 4 updates, then 2 of 256
holds 'v.method == "absa"' 'v.updates == 6' 'v.updates_fractional == 6' 'v.epochs == 2' 'v.batch == 256' \
    'v.bn == "ghost" and v.bn_batch == 128' 'v.times.train.hessian > 0' 'v.published.accuracy == nil'
ok "the weights" [ -s runs/latest/resnet20.safetensors ]
weights=$(readlink -f runs/latest)/resnet20.safetensors
run run "$recipes/absa_resnet20.lua" --smoke --set method=bl --set batch=128 --set epochs=1 \
    --set baseline="$(readlink -f runs/latest)"
is 0
out_has "absa 512" "bl 128"
run run "$recipes/absa_resnet20.lua" --smoke --set baseline=missing
is 3
err_has "missing: no folder of a finished run"
run run "$recipes/absa_resnet20.lua" --smoke --set batch=1000
is 2
err_has "no multiple of 128"
run run "$recipes/absa_resnet20.lua" --smoke --set method=sgd
is 2
err_has "none of bl, fb, gg, abs, absa"

# the table: a folder a cell; the published numbers stand in columns of their own
smoke absa_table "batch_by_epoch lambda_by_epoch accuracy_by_epoch accuracy_by_batch" \
    --set methods=bl,absa --set batches=128,640
out_has published_accuracy published_updates absa_published 83.05
holds '#v.cells == 3' 'v.cells[1].published_accuracy == 83.05' 'v.cells[1].published_updates == 35156' \
    'v.cells[3].method == "absa" and v.cells[3].batch == 640' 'v.cells[3].accuracy <= 100' \
    'v.cells[2].published_accuracy == 81.01' 'v.cells[1].updates == 4'
[ "$(ls -d runs/latest/cells/*-absa-640-*/result.json | wc -l)" = 1 ] || fail "the folder of a cell"
run runs --run-dir runs/latest/cells list
is 0
out_has absa-640 bl-128

# stopped within a cell: it goes on from there, and finished cells are not run again
"$hwb" run "$recipes/absa_table.lua" --smoke --set methods=bl --set batches=128,256 --set images=640 \
    --run-dir stopped >/dev/null 2>stop.err &
job=$!
for _ in $(seq 600); do
    [ -e "$(ls stopped/latest/cells/*-bl-256-*/log.txt 2>/dev/null)" ] && break
    sleep 0.05
done
kill -INT $job 2>/dev/null
wait $job
status=$? out="" err=$(cat stop.err)
is 130
err_has "go on with"
first=$(ls -d stopped/latest/cells/*-bl-128-*)
before=$(stat -c %Y.%s "$first/result.json")
run run --resume "$(readlink -f stopped/latest)"
is 0
[ "$(stat -c %Y.%s "$first/result.json")" = "$before" ] || fail "a finished cell was run again"
[ "$(ls -d stopped/latest/cells/*-bl-* | wc -l)" = 2 ] || fail "a stopped cell began anew"
[ "$(field stopped/latest/result.json '#v.cells == 2 and v.cells[2].updates == 6')" = true ] || fail "the resumed table"
run run "$recipes/absa_table.lua" --smoke --set methods=bl,sgd
is 2
err_has "'sgd' is none of"

smoke absa_resnet18_imagenet "batch_by_epoch accuracy_by_epoch" --set methods=bl,gg --set epochs=1
out_has published_imagenet "eight V100"
holds 'v.images == 32 and v.test_images == 16' 'v.classes == 4' '#v.trainings == 2' 'v.ranks == 1' 'v.times.gg.total > 0'

smoke robustness robustness
out_has fgsm10 l2grad fhsm l2hess
holds '#v.curves == 5' 'v.curves[1].accuracy[1] == v.accuracy' 'v.curves[1].accuracy[2] < v.accuracy' 'v.lambda > 0' \
    'v.input.gradient > 0'
run run "$recipes/robustness.lua" --smoke --set methods=fgsm --set weights="$weights" --set shortcut=B --set norm=none
is 0
run run "$recipes/robustness.lua" --smoke --set methods=fgsm,nothing
is 2
err_has "'nothing' is none of fgsm"

for name in absa_resnet20 absa_table absa_resnet18_imagenet robustness; do
    run run "$recipes/$name.lua" --help
    is 0
    out_has "Arguments:" "Usage: hwb run"
    run check "$recipes/$name.lua"
    is 0
done

# report.html: complete in itself, and, where chromium is installed, shown by it.
. "$(dirname "$0")/lib.sh"

cat >figures.lua <<'EOF'
return {
  name = "figures", args = {text = "<b>&\"'"},
  run = function(hwb, args, run)
    for step = 1, 20 do run:metric(step, {loss = 1 / step, accuracy = step / 20}) end
    run:table("layers", {{name = "conv1", bits = 4}, {name = "<script>alert(1)</script>", bits = 8}}, {"name", "bits"})
    run:figure("curve", hwb.plot.line{x = {1, 2, 3}, y = {1, 4, 9}, title = "Squares"})
    run:figure("bars", hwb.plot.bars{names = {"a", "b"}, values = {1, 2}})
    run:metric(1, {set = "train", speed = 1})
    run:metric(2, {set = "test", speed = 2})
    run:result{accuracy = 0.75, text = args.text, layers = {{name = "again"}}, blocks = {{block = "conv1", mean = 2}}}
  end,
}
EOF
run run figures.lua -q
is 0
page=runs/latest/report.html
for text in "<h2>Tables</h2>" "<h2>Figures</h2>" "<h2>Metrics</h2>" "<h2>Configuration</h2>" "<h2>Environment</h2>" \
    "<h2>Files</h2>" "prefers-color-scheme:dark" "&lt;script&gt;alert(1)" "&lt;b&gt;&amp;" "oneDNN" "0.75"; do
    has "$(cat $page)" "$text" report.html
done
lacks "$(cat $page)" "<script>alert" report.html
# lists of records in the result are tables, once; a metric has a curve for each text in its rows
for text in "<h3>blocks</h3>" "speed (train)" "speed (test)"; do has "$(cat $page)" "$text" report.html; done
for text in "blocks.1" ">again<"; do lacks "$(cat $page)" "$text" report.html; done
[ "$(grep -o '<figure>' $page | wc -l)" = 6 ] || fail "two figures and four curves, not $(grep -o '<figure>' $page | wc -l)"
grep -Eq '(src|href)="(https?:|/|file:)' $page && fail "the page needs other files"

# the data in the page are JSON
sed -n 's/.*<script type="application\/json" id="hwb-data">\(.*\)<\/script>.*/\1/p' $page >data.json
[ "$(field data.json '#v.metrics, v.result.accuracy, v.run.recipe')" = "22	0.75	figures" ] || fail "the data in the page"

# ids of inlined figures do not meet
ids=$(grep -o ' id="[^"]*"' $page | sort | uniq -d)
[ -z "$ids" ] || fail "these ids are there twice: $ids"

run report -o - && is 0
[ "$out" = "$(cat $page)" ] || fail "hwb report writes another page"

browser=$(command -v chromium || command -v chromium-browser || command -v google-chrome)
if [ -z "$browser" ]; then
    echo "skipped: no chromium here to show the page"
    exit 0
fi
"$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --dump-dom "file://$work/$page" \
    >dom.html 2>browser.txt || fail "chromium: $(tail -3 browser.txt)"
has "$(cat dom.html)" "conv1" "what chromium shows"
[ "$(grep -o '<figure>' dom.html | wc -l)" = 6 ] || fail "chromium shows $(grep -o '<figure>' dom.html | wc -l) figures"
"$browser" --headless --no-sandbox --disable-gpu --user-data-dir="$work/profile" --window-size=1000,2000 \
    --screenshot="$work/page.png" "file://$work/$page" >/dev/null 2>&1
[ "$(stat -c %s page.png)" -gt 20000 ] || fail "the page is empty"

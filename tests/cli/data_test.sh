# hwb data index and verify of image folders; hwb init.
. "$(dirname "$0")/lib.sh"

mkdir -p sets/train/cat sets/train/dog sets/val/cat
: >sets/train/cat/1.png
: >sets/train/dog/2.JPEG
: >sets/val/cat/3.jpg
find sets -type d -exec touch -d '1 hour ago' {} +

run data verify sets/train
is 0
out_has "no index" "2 images"
run data index sets/train
is 0
out_has made
run data index sets/train
is 0
out_has "up to date"
run data verify sets/train
is 0
out_has "up to date"

# a set by its name: every split that is there
run data index imagenet_folder --data sets
is 0
out_has "sets/train" "sets/val"

: >sets/train/dog/4.png
run data verify sets/train
is 3
out_has "out of date"
run data index sets/train --json
is 0
out_has '"images": 3' "renewed"

# an index that is not whole is seen, told, and made again
truncate -s 20 sets/train/.hwb-index
run -e 'print(#assert(hwb.data.image_folder{root = "sets/train"}))'
is 0
out_has 3
err_has damaged "hwb data index"
run data index sets/train
is 0
out_has "made again"

run data index
is 2
err_has "hwb data index DIR"
run data index cifar10
is 2
err_has cifar10
run data index ./nowhere
is 3
err_has nowhere
mkdir empty
run data index empty
is 3
err_has "holds no folders"
run data indx
is 2
err_has "did you mean 'index'"

# hwb init: a folder whose recipe runs, and which is not overwritten
run init fresh
is 0
for f in .luarc.json .luacheckrc .gitignore first.lua; do ok "$f" [ -s "fresh/$f" ]; done
run check fresh/first.lua
is 0
out_has "images"
run run fresh/first.lua --smoke -q
is 0
ok "its figure" [ -s runs/latest/line.png ]
echo "-- mine" >fresh/first.lua
run init fresh
is 0
out_has kept
[ "$(cat fresh/first.lua)" = "-- mine" ] || fail "hwb init wrote over a file"
if command -v luacheck >/dev/null; then
    run init checked
    (cd checked && luacheck -q first.lua >/dev/null) || fail "luacheck on the recipe of hwb init"
fi

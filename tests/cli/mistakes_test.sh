# Mistakes of somebody new: every message says what is wrong, at the line that was
# typed, with the shapes or the name that was meant, and nothing of the library's inside.
. "$(dirname "$0")/lib.sh"

# says CODE TEXT…: CODE fails; each text is in the message; no frame of the library
says() {
    code=$1
    shift
    run -e "$code"
    [ "$status" -ne 0 ] || fail "it did not fail"
    err_has "$@"
    case $err in *"$HWB_HOME/lua/"*) fail "frames of the library" ;; esac
    [ "$(printf '%s\n' "$err" | wc -l)" -le 3 ] || fail "more than three lines"
}
mlp='local m = hwb.models.mlp{sizes = {3, 2}}'
data='local x, y = hwb.randn(4, 3), hwb.tensor({1, 2, 1, 2}, {dtype = "int64"})'
H="$mlp; $data; local H = hwb.hessian(m, {data = {x, y}})"

# layers and models
says 'hwb.nn.Linear{0, 3}' "-e:1: Linear: inputs must be a whole number from 1, not 0"
says 'hwb.nn.Linear(3, 2.5)' "outputs" 2.5
says 'hwb.nn.Linear("3", 2)' 'not "3"'
says 'hwb.nn.Conv2d(3, 8, 0)' "Conv2d: kernel" "not 0"
says 'hwb.nn.Conv2d{3, 8, kernel = {3, 0}}' "kernel[2]"
says 'hwb.nn.Conv2d(3, 8, 3, {strid = 2})' '"strid"; did you mean "stride"?'
says 'hwb.nn.BatchNorm2d(0)' channels
says 'hwb.nn.MaxPool2d{kernel = -1}' "kernel" -1
says 'hwb.models.resnet20{classes = 0}' "not 0"
says 'hwb.models.resnet20{clases = 10}' 'did you mean "classes"?'
says 'hwb.models.resnet21{}' "did you mean 'hwb.models.resnet20'?"
says 'hwb.hessain()' "did you mean 'hwb.hessian'?"
says 'local t = hwb.randn(3); t:matmull(t)' "did you mean ':matmul'?"
says 'hwb.optim.sdg{lr = 0.1}' "did you mean 'hwb.optim.sgd'?"
says 'hwb.nn.Linear(3, 2)(hwb.randn(4, 5))' 4x5 2x3
says "$mlp; m(hwb.randn(4, 5))" 'layer "layer.0"' 4x5 2x3
says "$mlp; m(nil)" "wants a tensor, not nil"

# tensors: shapes, dims and indices count from 1
says 'hwb.randn(2, 3):matmul(hwb.randn(4, 5))' "[2x3] x [4x5]" "3 and 4"
says 'local t = hwb.randn(2, 3) + hwb.randn(4)' 2x3 4
says 'hwb.randn(2, 3):sum(3)' "dim 3" "2 dims"
says 'local v = hwb.randn(2, 3)[0]' "index 0" "start at 1"
says 'local v = hwb.randn(2, 3)[3]' "3" "1..2"
says 'hwb.tensor{{1, 2}, {3}}' "[2]" 1 2
says 'hwb.randn(2, 3):reshape(4, 2)' 2x3 4x2
says 'hwb.cross_entropy(hwb.randn(4, 10), hwb.tensor({0, 1, 2, 3}, {dtype = "int64"}))' "label 0" "1..10"
says 'hwb.embedding(hwb.randn(5, 2), hwb.tensor({1, 6}, {dtype = "int64"}))' "6" "1..5"
says 'hwb.randn(2, "3")' "whole number" string
says 'hwb.randn(2, 3):to("float46")' float46 float64
says 'if hwb.randn(3) > 2 then end' "a:lt(b)"
says 'hwb.jvp(function(x) return hwb.cat({x, hwb.ones(2, 2)}, 1):sum() end, hwb.randn(2, 3), hwb.randn(2, 3))' 2x3 2x2 "dim 1"

# operators, training, quantization
says "$mlp; hwb.hessian(m, {})" '"data" is missing' "{x, y}"
says "$mlp; hwb.hessian(m, {dta = 1})" dta "data"
says "hwb.hessian(nil, {})" "model expected, got nil"
says "$H; H:apply(hwb.randn(3))" "8" "not 3"
says "$H; H:eigs{k = '3'}" "'k'" string
says "$H; H:eigs{which = 'BIG'}" '"LA"' BIG
says "$H; H:eig{k = 3}" "did you mean ':eigs'?"
says "$H; H:block('fc')" fc "did you mean"
says "$mlp; $data; hwb.hessian(m, {data = {x * (0 / 0), y}}):eigs{}" '"input" holds nan at element 1'
says "$mlp; $data; hwb.hessian(m, {data = {x, y + 1}}):eigs{}" "class 3" "1..2"
says "$mlp; $data; hwb.evaluate(m, {x})" "y nil"
says "$mlp; $data; hwb.train{model = m, data = {x, y}, epochs = 'three', batch = 2, optimizer = hwb.optim.sgd{lr = 0.1}}" \
    epochs three
says 'hwb.train{}' '"model" is missing'
says "$mlp; hwb.quant.apply(m, {weights = {nofc = 4}})" nofc layer.0
says 'hwb.quant.fake(hwb.randn(3, 3), 0)' "0 bits" "1 to 8"
says 'hwb.plot.line{x = {1, 2}, y = {1, 2, 3}}' "2 values" "3"

# files: what, where, what to do
says 'assert(hwb.models.resnet20{}:load("nope.pth"))' "nope.pth: No such file"
says 'assert(hwb.data.cifar10{root = "/nowhere"})' /nowhere/cifar-10-batches-bin "hwb data list"
says 'assert(hwb.data.image_folder{root = "/nowhere"})' "/nowhere: No such file"
says 'hwb.data.cifar10{}' '"root" is missing'
says 'hwb.save("x.safetensors", {a = 3})' '"a" is a number, not a tensor'
echo hello >text.pth
says 'assert(hwb.load("text.pth"))' text.pth "is no checkpoint"
is 3

# the command line
run rnu x.lua
is 2
err_has "did you mean 'run'?"
run run missing.lua
is 3
err_has "missing.lua: No such file"

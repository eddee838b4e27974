# hwb.train in a run: killed at random moments, told to stop, resumed to the same numbers.
. "$(dirname "$0")/lib.sh"

# Everything a checkpoint has to hold: batch norms, dropout, momentum, augmentation, a
# batch that grows by the eigenvalue, adversarial images, the user's random numbers.
cat >small.lua <<'LUA'
local nn = require("hwb").nn
return {
  args = {epochs = 5, save_every = 0.2, loud = false, stuck = false},
  run = function(hwb, args, run)
    local ds = hwb.data.shapes10{count = 1280}
    hwb.manual_seed(run.seed)
    local m = nn.Sequential{nn.Conv2d{3, 4, 3, padding = 1}, nn.BatchNorm2d{4}, nn.ReLU{}, nn.MaxPool2d{4},
      nn.Flatten{}, nn.Dropout{0.2}, nn.Linear{256, 10}}
    local x, y = ds:batch(1, 16)
    local draws = {}
    local controller = hwb.batch.absa{base = 16, max = 64, epochs = args.epochs, patience = 2, milestones = {4},
      probe = {x, y}, maxiter = 4}
    local decide = controller.on_epoch
    function controller:on_epoch(s, row)
      if args.stuck and row.epoch == 2 and not run.resumed then
        run:log("deciding")
        while true do end
      end
      return decide(self, s, row)
    end
    local h = hwb.train{model = m, data = ds, val = {x, y}, epochs = args.epochs, batch = 16, seed = 7,
      augment = {crop = 2, flip = true, cutout = 4}, run = run, save_every = args.save_every,
      optimizer = hwb.optim.sgd{lr = 0.02, momentum = 0.9, nesterov = true, weight_decay = 1e-4},
      controller = controller,
      callback = function(row)
        draws[row.epoch] = hwb.rand(1):item()
        run:metric(row.epoch, {loss = row.loss, lambda = row.lambda, batch = row.batch, draw = draws[row.epoch]})
        if args.loud then run:log("finished %d", row.epoch) end
      end}
    local losses = {}
    for i, row in ipairs(h) do losses[i] = {loss = row.loss, val = row.val_loss, lambda = row.lambda,
      batch = row.batch, updates = row.updates} end
    local w = m:flat_parameters()
    run:result{losses = losses, weights = w:sum():item(), norm = w:norm():item(), last = hwb.rand(1):item(),
      mean = m:get("1.running_mean"):sum():item(), epochs = #h}
  end,
}
LUA
digest() { field runs/latest/result.json 'hwb.json.encode{v.losses, v.weights, v.norm, v.last, v.mean, v.epochs}'; }

run run small.lua -q
is 0
want=$(digest)
cp runs/latest/metrics.jsonl want.jsonl
[ "$(field runs/latest/result.json 'v.times.train.hessian > 0, v.times.train.total > v.times.train.computation')" = "true	true" ] ||
    fail "the times in result.json"
[ "$(field runs/latest/result.json 'v.epochs, v.losses[1].batch < v.losses[5].batch')" = "5	true" ] || fail "the batch did not grow"

# killed at random moments
rm -rf runs
"$hwb" run small.lua -q &
job=$!
kills=0
for _ in 1 2 3 4 5 6; do
    sleep "0.$((RANDOM % 40 + 15))"
    kill -KILL $job 2>/dev/null && kills=$((kills + 1))
    wait $job 2>/dev/null
    [ -e runs/latest/run.json ] || { "$hwb" run small.lua -q & job=$!; continue; }
    "$hwb" run -q --resume "$(readlink -f runs/latest)" &
    job=$!
done
wait $job
status=$?
echo "resumed after $kills kills"
is 0
[ "$(digest)" = "$want" ] || fail "a resumed training ends elsewhere: $(digest) instead of $want"
ok "the metrics of a resumed training" cmp -s want.jsonl runs/latest/metrics.jsonl
[ "$(ls runs/latest/checkpoints/*.safetensors | wc -l)" -le 2 ] || fail "old checkpoints are left behind"

# told to stop: a checkpoint of that moment, exit status 143, nothing is lost
rm -rf runs
"$hwb" run small.lua --save_every 1000 --loud >stop.out 2>stop.err &
job=$!
for _ in $(seq 200); do
    grep -q "finished 2" stop.err && break
    sleep 0.02
done
sleep 0.05
kill -TERM $job
wait $job
status=$? out="" err=$(cat stop.err)
is 143
[ "$(field runs/latest/run.json v.status)" = interrupted ] || fail "status of a stopped run"
[ -e runs/latest/checkpoints/latest.json ] || fail "no checkpoint was written when told to stop"
done_epochs=$(field runs/latest/checkpoints/latest.json '#v.value.trainings.train.history')
[ "$done_epochs" -ge 2 ] || fail "the checkpoint has $done_epochs epochs"
run run -q --resume runs/latest
is 0
[ "$(digest)" = "$want" ] || fail "a stopped and resumed training ends elsewhere"

# ... also between the steps of two epochs
rm -rf runs
"$hwb" run small.lua --save_every 1000 --stuck >stop.out 2>stop.err &
job=$!
for _ in $(seq 200); do
    grep -q "deciding" stop.err && break
    sleep 0.02
done
kill -TERM $job
wait $job
status=$? out="" err=$(cat stop.err)
is 143
[ "$(field runs/latest/checkpoints/latest.json '#v.value.trainings.train.history')" = 1 ] || fail "the epoch counts as done"
run run -q --resume runs/latest
is 0
[ "$(digest)" = "$want" ] || fail "stopped between two epochs and resumed, a training ends elsewhere"
ok "the metrics of a stopped and resumed training" cmp -s want.jsonl runs/latest/metrics.jsonl

# a finished training is not repeated
run run --resume runs/latest --force
is 0
err_lacks "training"
[ "$(digest)" = "$want" ] || fail "resuming a finished training changed its numbers"

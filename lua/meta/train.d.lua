---@meta
-- Training and evaluation of models.

hwb.optim = {}

--- Stochastic gradient descent. decay_vectors=false leaves parameters of one axis (biases,
--- norms) out of the weight decay; clip bounds the gradient's norm.
---@param options {lr: number, momentum: number, nesterov: boolean, weight_decay: number, decay_vectors: boolean, clip: number}
---@return table
---```lua
---local o = hwb.optim.sgd{lr = 0.1, momentum = 0.9, weight_decay = 5e-4}
---```
function hwb.optim.sgd(options) end

--- Adam; weight decay is added to the gradient.
---@param options {lr: number, beta1: number, beta2: number, eps: number, weight_decay: number, decay_vectors: boolean, clip: number}
---@return table
---```lua
---local o = hwb.optim.adam{lr = 1e-3}
---```
function hwb.optim.adam(options) end

--- Adam with decoupled weight decay (0.01 by default).
---@param options {lr: number, beta1: number, beta2: number, eps: number, weight_decay: number, decay_vectors: boolean, clip: number}
---@return table
---```lua
---local o = hwb.optim.adamw{lr = 2e-5}
---```
function hwb.optim.adamw(options) end

--- Layer-wise adaptive rates on SGD (You, Gitman, Ginsburg 2017): each parameter's gradient, with
--- its decay, is scaled by eta |p| / (|g| + weight_decay |p|). momentum is 0.9; parameters of one axis
--- are left out unless decay_vectors is true.
---@param options {lr: number, momentum: number, nesterov: boolean, weight_decay: number, eta: number, eps: number, decay_vectors: boolean, clip: number}
---@return table
---```lua
---local o = hwb.optim.lars{lr = 4, weight_decay = 1e-4}
---```
function hwb.optim.lars(options) end

--- Layer-wise adaptive rates on AdamW (You et al. 2020): each parameter moves by lr |p| along its
--- direction. Parameters of one axis are left out of that and of the decay unless decay_vectors is true.
---@param options {lr: number, beta1: number, beta2: number, eps: number, weight_decay: number, decay_vectors: boolean, clip: number}
---@return table
---```lua
---local o = hwb.optim.lamb{lr = 2e-3}
---```
function hwb.optim.lamb(options) end

--- Schedule: the same learning rate throughout.
---@return function
---```lua
---hwb.train{model = m, data = ds, optimizer = o, schedule = hwb.optim.constant()}
---```
function hwb.optim.constant() end

--- Schedule: times factor (0.1) at every epoch of milestones.
---@param options {milestones: number[], factor: number}
---@return function
---```lua
---local s = hwb.optim.step{milestones = {30, 60, 80}, factor = 0.2}
---```
function hwb.optim.step(options) end

--- Schedule: from 1 down to floor (0) along half a cosine over all epochs, or `epochs`.
---@param options? {floor: number, epochs: number}
---@return function
---```lua
---local s = hwb.optim.cosine{floor = 0.01}
---```
function hwb.optim.cosine(options) end

--- Schedule: from 1 down to floor (0) along a line over all epochs, or `epochs`.
---@param options? {floor: number, epochs: number}
---@return function
---```lua
---local s = hwb.optim.linear{}
---```
function hwb.optim.linear(options) end

--- Schedule: rises linearly from `from` (0) during the first epochs, then as `after`.
---@param options {epochs: number, from: number, after: function}
---@return function
---```lua
---local s = hwb.optim.warmup{epochs = 5, after = hwb.optim.cosine{}}
---```
function hwb.optim.warmup(options) end

--- Options of hwb.train.
---@class hwb.TrainOptions
---@field model table
---@field data any a dataset, loader, {x, y} or function(epoch) that returns an iterator of x, y
---@field optimizer table of hwb.optim
---@field val? any dataset or {x, y}: evaluated after each epoch
---@field epochs? integer default 1
---@field batch? integer samples of one update; default 128
---@field micro? integer samples of one program run; gradients are added up
---@field loss? string|fun(output: hwb.Tensor, target: hwb.Tensor): hwb.Tensor default "cross_entropy"
---@field schedule? function of hwb.optim
---@field augment? {crop: integer, flip: boolean, cutout: integer, resized: boolean} resized: random parts, of image folders
---@field shuffle? boolean default true
---@field drop_last? boolean default true
---@field seed? integer of order, augmentation and dropout
---@field bn? "ghost"|"whole"|"eval" statistics of the micro-batch (default), of all samples of an update, or everything as in evaluation mode
---@field adversarial? {ratio: number, method: string, eps: number, steps: integer, decay: number, stop: integer} a share of each micro-batch is attacked
---@field callback? fun(row: table, state: fun(): table): boolean? after each epoch; false stops
---@field resume? table what state() gave: goes on after its epoch
---@field controller? table hwb.batch.*, or {start(self, s), on_step(self, s), on_epoch(self, s, row)}: may set s.batch, s.lr_scale, s.attacked
---@field run? table the record of `hwb run`: checkpoints, and goes on from them when resumed
---@field name? string of this training in the run, default "train"
---@field save_every? number epochs between checkpoints, default 1
---@field eval_batch? integer default 250
---@field workers? integer threads that make batches; default 2, with a GPU one a core and at most 16

--- Trains a model in place and leaves it in evaluation mode.  Under mpirun each rank
--- takes its part of every micro-batch; gradients are added up once an update, the same
--- on all ranks.  With bn = "ghost" the norms of a rank see its own part (row.bn_batch
--- samples), and running statistics are averaged; with bn = "whole" they see the samples of
--- all ranks, each of which must have one: the numbers of one process.
---@param options hwb.TrainOptions
---@return table[] history rows {epoch=, loss=, accuracy=, lr=, updates=, updates_fractional=, batch=, bn=, images_per_second=, seconds=, computation_seconds=, val_loss=, val_accuracy=, ...}; .times: seconds of computation, communication, resize, hessian, data, total
---@return table state for `resume`
---```lua
---local history = hwb.train{model = m, data = train, val = test, epochs = 10,
---  optimizer = hwb.optim.sgd{lr = 0.1, momentum = 0.9}, schedule = hwb.optim.cosine{}}
---print(history[10].val_accuracy)
---```
function hwb.train(options) end

--- Accuracy and mean loss in evaluation mode, over the samples of all ranks.
---@param m table a model
---@param data any a dataset, a loader or {x, y}
---@param options? {batch: integer, count: integer, loss: any}
---@return {accuracy: number, correct: integer, count: integer, loss: number, seconds: number}
---```lua
---print(hwb.evaluate(m, test).accuracy)
---```
function hwb.evaluate(m, data, options) end

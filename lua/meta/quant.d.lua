---@meta
-- Quantization of tensors and models; HAWQ: sensitivities and bits for every layer.

--- How to quantize a tensor, read as rows x columns with rows = its first axis.
---@class hwb.QuantizerOptions
---@field scheme? "uniform"|"symmetric"|"asymmetric" default symmetric, which "uniform" also means
---@field granularity? "tensor"|"channel"|"group" what shares a scale; default "channel"
---@field group? integer rows of a group
---@field range? "minmax"|"percentile"|"mse" default "minmax"
---@field percentile? number default 99.99

--- Codes' quantizer, as hwb.quant.encode returns it.
---@class hwb.QuantizerParams: hwb.QuantizerOptions
---@field bits integer
---@field scale hwb.Tensor [groups]
---@field zero hwb.Tensor [groups] int32

hwb.quant = {}

--- The squared distance between a tensor and its quantized values, summed in double.
---@param w hwb.Tensor
---@param bits integer 1 to 8
---@param spec? hwb.QuantizerOptions
---@return number
---```lua
---print(hwb.quant.error(m:get("conv1.weight"), 4))
---```
function hwb.quant.error(w, bits, spec) end

--- The tensor rounded to the values that so many bits can hold.
---@param w hwb.Tensor
---@param bits integer 1 to 8
---@param spec? hwb.QuantizerOptions
---@return hwb.Tensor
---```lua
---local q = hwb.quant.fake(w, 4, {scheme = "asymmetric", granularity = "tensor"})
---```
function hwb.quant.fake(w, bits, spec) end

--- Integer codes of a tensor, and what they mean.
---@param w hwb.Tensor
---@param bits integer 1 to 8
---@param spec? hwb.QuantizerOptions
---@return hwb.Tensor codes int32
---@return hwb.QuantizerParams params
---```lua
---local codes, p = hwb.quant.encode(w, 4)
---```
function hwb.quant.encode(w, bits, spec) end

--- The values that codes stand for.
---@param codes hwb.Tensor int32
---@param params hwb.QuantizerParams
---@return hwb.Tensor
---```lua
---local w = hwb.quant.decode(codes, p)
---```
function hwb.quant.decode(codes, params) end

--- Codes in `bits` bits each, one after the other, least significant bit first.
---@param codes hwb.Tensor int32
---@param params integer|hwb.QuantizerParams
---@return hwb.Tensor bytes uint8 [ceil(n bits / 8)]
---```lua
---print(hwb.quant.pack(codes, p):numel())
---```
function hwb.quant.pack(codes, params) end

--- The reverse of hwb.quant.pack.
---@param bytes hwb.Tensor uint8
---@param sizes integer[] of the codes
---@param params integer|hwb.QuantizerParams
---@return hwb.Tensor codes
---```lua
---local codes = hwb.quant.unpack(bytes, {64, 32, 3, 3}, p)
---```
function hwb.quant.unpack(bytes, sizes, params) end

--- Watches the range of activations: o:update(x), then lo, hi = o:range().
---@param kind "minmax"|"ema"|"percentile"
---@param value? number momentum (0.99) or percentile (99.99)
---@return userdata
---```lua
---local o = hwb.quant.observer("percentile", 99.9)
---```
function hwb.quant.observer(kind, value) end

--- Scale and zero point of an activation range.
---@param lo number
---@param hi number
---@param bits integer
---@param scheme? "symmetric"|"asymmetric" default "asymmetric"
---@return number scale
---@return integer zero
---```lua
---local scale, zero = hwb.quant.scale(0, 6.2, 4)
---```
function hwb.quant.scale(lo, hi, bits, scheme) end

--- b and shift with multiplier = b / 2^shift, for integers-only inference.
---@param multiplier number
---@return integer b
---@return integer shift
---```lua
---local b, shift = hwb.quant.dyadic(0.0137)
---```
function hwb.quant.dyadic(multiplier) end

--- clamp(round(acc * b / 2^shift), lo, hi) in integers.
---@param acc integer 32-bit
---@param b integer
---@param shift integer
---@param lo integer
---@param hi integer
---@return integer
---```lua
---hwb.quant.requantize(1000, b, shift, -128, 127)
---```
function hwb.quant.requantize(acc, b, shift, lo, hi) end

--- Size arithmetic of a model, or of records {name=, n=, rest=, buffers=, macs=, groups=}.
--- Options: activations (bits in BOPs), first_last (bits of the first and last layer),
--- basis="params" or "state_dict", count_rest=true, group_bytes=0, baseline_mib,
--- granularity, group, input.
---@param model table a model, or records
---@param bits? integer|table<string, integer> {[layer]=, ["*"]=}; absent and 32 are float
---@param options? table
---@return {bytes: number, mib: number, ratio: number, average_bits: number, bops: number, parameters: integer, baseline_bytes: number}
---```lua
---print(hwb.quant.size(hwb.models.resnet50{}, 4, {first_last = 8}).mib)
---```
function hwb.quant.size(model, bits, options) end

--- Options of hwb.quant.apply.
---@class hwb.QuantizeOptions: hwb.QuantizerOptions
---@field weights? integer|table<string, integer> bits of every layer, or {[layer]=, ["*"]=}
---@field activations? integer|table<string, integer> the same for the layers' inputs
---@field data? any x, {x, y}, a dataset or a loader: what activation ranges are taken from
---@field batches? integer of data at most; default 8
---@field activation_range? "percentile"|"minmax"|"ema"
---@field activation_percentile? number default 99.99
---@field momentum? number of "ema"; default 0.99
---@field activation_scheme? "asymmetric"|"symmetric"
---@field mask? boolean cut gradients outside the range; default: of activations only
---@field fold? boolean fold batch norms into convolutions first
---@field input? integer[] size of one input, where the model has no input_size

--- A quantized copy of a model, itself a model: eval, hwb.train (straight-through
--- gradients), save (packed codes), q:size(), q.bits, q:refresh().
---@param m table a model
---@param options hwb.QuantizeOptions
---@return table q
---```lua
---local q = hwb.quant.apply(m, {weights = plan.bits, activations = 8, data = train})
---q:save("resnet20-4bit.safetensors")
---print(q:size().file_bytes, hwb.evaluate(q, test).accuracy)
---```
function hwb.quant.apply(m, options) end

--- Reads a file that a quantized model wrote into a copy of m, which gives the architecture.
---@param path string
---@param m table a model
---@return table? q nil, message on failure
---```lua
---local q = assert(hwb.quant.load("resnet20-4bit.safetensors", hwb.models.resnet20{}))
---```
function hwb.quant.load(path, m) end

--- A copy of m whose batch norms are folded into the convolutions before them, checked
--- against m on one input.
---@param m table a model
---@param options? {input: integer[], x: hwb.Tensor}
---@return table
---```lua
---local f = hwb.quant.fold(m)
---```
function hwb.quant.fold(m, options) end

hwb.hawq = {}

--- What is known of one layer; plain data, from hwb.hawq.sensitivity or any file.
---@class hwb.LayerRecord
---@field name string
---@field n integer weights
---@field avg_trace number trace of the Hessian's block divided by n
---@field dw2 table<integer, number> |Q(W) - W|^2 by bits
---@field macs? integer multiply-adds for one input
---@field lambda? number top eigenvalue of the block
---@field stderr? number of avg_trace
---@field latency? table<integer, number> milliseconds by bits
---@field choices? integer[] restricts the layer to these bits

--- Bits for every layer and what they cost.
---@class hwb.Plan
---@field bits table<string, integer>
---@field omega number sum of avg_trace * dw2[bits]
---@field size_mib number
---@field compression number
---@field average_bits number
---@field bops? number
---@field latency_ms? number
---@field optimal? boolean proved
---@field order string[] layers by descending share of omega: the order to fine-tune in
---@field notes string[] what was changed in the records' numbers
---@field violates? table budgets that a policy's bits exceed
---@field frontier? {size_mib: number, omega: number, bits: table<string, integer>}[]

--- Sensitivity records of every quantizable layer, in forward order. Options: data (needed),
--- choices={2,4,8}, metric="trace", "eigenvalue" or "both", kind="hessian", "ggn" or
--- "fisher", loss, bn, micro, tol=0.05, max_probes=100, seed=0, and those of a quantizer.
---@param m table a model
---@param options table
---@return hwb.LayerRecord[]
---```lua
---local layers = hwb.hawq.sensitivity(m, {data = {x, y}, choices = {2, 4, 8}})
---```
function hwb.hawq.sensitivity(m, options) end

--- Loss change of quantizing one layer alone, for every (layer, bits): linear, quadratic,
--- predicted (their sum), isotropic (HAWQ-V2's model), ggn and fisher (the quadratic form
--- with those matrices; `variants` names them) and measured; and the rank
--- correlation of each with the measured one.
---@param m table a model
---@param records hwb.LayerRecord[]
---@param options table data (needed), choices, loss, bn, micro, kind, variants
---@return table[] rows
---@return table correlations by bits
---```lua
---local rows, rho = hwb.hawq.loss_change(m, layers, {data = {x, y}, choices = {4}})
---print(rho[4].predicted, rho[4].isotropic)
---```
function hwb.hawq.loss_change(m, records, options) end

--- Records for hwb.hawq.allocate whose Omega is the loss change that the rows of
--- hwb.hawq.loss_change predict ("predicted", "quadratic" or "measured"), gains counted as 0.
---@param records table[]
---@param rows table[]
---@param key? string
---@return table[]
---```lua
---local plan = hwb.hawq.allocate(hwb.hawq.second_order(layers, rows), {budget = {compression = 8}})
---```
function hwb.hawq.second_order(records, rows, key) end

--- Cross-layer terms dW_i' H dW_j / 2 of a plan's bits.
---@param m table a model
---@param records hwb.LayerRecord[]
---@param bits table<string, integer>
---@param options table data (needed)
---@return number[][]
---```lua
---local c = hwb.hawq.cross_terms(m, layers, plan.bits, {data = {x, y}})
---```
function hwb.hawq.cross_terms(m, records, bits, options) end

--- Adds act_trace and act_stderr to the records: average traces of the Hessian with respect
--- to the layers' inputs.
---@param m table a model
---@param records hwb.LayerRecord[]
---@param options table data (needed), probes=20, seed=0
---@return hwb.LayerRecord[]
---```lua
---hwb.hawq.activation_sensitivity(m, layers, {data = {x, y}})
---```
function hwb.hawq.activation_sensitivity(m, records, options) end

--- Chooses bits for every layer under budgets. policy: "pareto" (least omega, proved
--- optimal), "hawq_v1" (bits in the order of lambda/n), or a function(layers, budget)
--- that returns bits.
---@param layers hwb.LayerRecord[]
---@param options {choices: integer[], budget: {size_mib: number, compression: number, bops: number, latency_ms: number}, ties: any[][], policy: string|function, activations: any, negative: string, frontier: boolean, max_points: integer}
---@return hwb.Plan
---```lua
---local plan = hwb.hawq.allocate(layers, {choices = {2, 4, 8}, budget = {compression = 8}})
---print(plan.omega, plan.size_mib, plan.bits.conv1)
---```
function hwb.hawq.allocate(layers, options) end

--- The control experiment: a plan's bits dealt out against the sensitivities, at no more
--- than its size.
---@param layers hwb.LayerRecord[]
---@param plan hwb.Plan
---@param options? table
---@return hwb.Plan
---```lua
---local back = hwb.hawq.reverse(layers, plan)
---```
function hwb.hawq.reverse(layers, plan, options) end

--- The plan that gives every layer the same bits.
---@param layers hwb.LayerRecord[]
---@param bits integer
---@param options? table
---@return hwb.Plan
---```lua
---print(hwb.hawq.uniform(layers, 4).size_mib)
---```
function hwb.hawq.uniform(layers, bits, options) end

--- Omega, size and the like of given bits.
---@param layers hwb.LayerRecord[]
---@param bits table<string, integer>
---@param options? table
---@return hwb.Plan
---```lua
---print(hwb.hawq.evaluate(layers, {conv1 = 8, fc = 4}).omega)
---```
function hwb.hawq.evaluate(layers, bits, options) end

hwb.policies = {}

--- Policy: the same bits for every layer, as many as the size budget allows.
---@param layers hwb.LayerRecord[]
---@param budget table
---@return table<string, integer>
---```lua
---hwb.hawq.allocate(layers, {budget = {size_mib = 1}, policy = hwb.policies.uniform})
---```
function hwb.policies.uniform(layers, budget) end

--- Policy: from the highest bits down, lowers where omega grows least for every bit saved.
---@param layers hwb.LayerRecord[]
---@param budget table
---@return table<string, integer>
---```lua
---hwb.hawq.allocate(layers, {budget = {size_mib = 1}, policy = hwb.policies.greedy})
---```
function hwb.policies.greedy(layers, budget) end

--- Policy: lowers the largest layers first.
---@param layers hwb.LayerRecord[]
---@param budget table
---@return table<string, integer>
---```lua
---hwb.hawq.allocate(layers, {budget = {size_mib = 1}, policy = hwb.policies.smallest_first})
---```
function hwb.policies.smallest_first(layers, budget) end

--- The rank correlation of two lists (Spearman): 1 when both have the same order.
---@param a number[]
---@param b number[]
---@return number
---```lua
---hwb.hawq.spearman({1, 2, 3}, {10, 20, 15}) --> 0.5
---```
function hwb.hawq.spearman(a, b) end

--- The bits of a layer by a setting: a number, or {[layer]=, ["*"]=}.
---@param setting number|table|nil
---@param name string of the layer
---@param otherwise number where the setting says nothing
---@return number
function hwb.quant.bits_of(setting, name, otherwise) end

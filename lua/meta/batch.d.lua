---@meta

--- Batch-size controllers for hwb.train and adversarial images.

---@class hwb.batch
hwb.batch = {}

---@class batch_options
---@field max? integer largest batch, a multiple of base (128)
---@field base? integer the micro-batch; give hwb.train batch = base
---@field epochs? integer 90
---@field milestones? integer[] {30, 60, 80}: epochs after which the learning rate decays
---@field decay? number 0.2
---@field grow? number batch factor of ABS and ABSA: 2
---@field fall? number they grow when the eigenvalue has fallen by this factor: 2
---@field patience? integer or after this many epochs: 10
---@field attacked? number ABSA: share of adversarial images: 0.2
---@field attack_decay? number that share is divided by it at each growth: 2
---@field attack_stop? integer last epoch with attacks: half of them
---@field warmup? number FB: epochs of warm-up: 5
---@field eps? number size of the FGSM step: 0.005
---@field probe? hwb.tensor[] {x, y}: images for the eigenvalue (ABS, ABSA)
---@field tol? number of that eigenvalue's residual: 0.01
---@field maxiter? integer products for it at most: 20
---@field compat? "hessianflow" what the program behind the published table does

--- A fixed batch `max`, the learning rate of the small one.
---@param options? batch_options
---@return table controller
function hwb.batch.bl(options) end

--- A fixed batch `max`, linear scaling of the learning rate after gradual warm-up
--- (Goyal et al. 2017).
---@param options? batch_options
---@return table controller
function hwb.batch.fb(options) end

--- The batch grows where the learning rate would decay (Smith et al. 2018).
---@param options? batch_options
---@return table controller
function hwb.batch.gg(options) end

--- The batch grows as the top Hessian eigenvalue falls (Yao et al. 2018).
---@param options batch_options
---@return table controller
function hwb.batch.abs(options) end

--- ABS with adversarial images in the early epochs.
---@param options batch_options
---@return table controller
function hwb.batch.absa(options) end

--- Updates of a whole training as the publications count them; nil for abs and absa.
---@param kind string
---@param options batch_options
---@param samples integer
---@return integer?
function hwb.batch.published_updates(kind, options, samples) end

--- Rows for run:table: where the time of trainings went, and their speed-up over the first.
---@param list {name: string, times: table}[] times is hwb.train's history.times
---@return table[] rows {name=, computation=, communication=, resize=, hessian=, data=, total=, speedup=} in seconds
---```lua
---run:table("times", hwb.batch.breakdown{{name = "BL", times = bl.times}, {name = "ABSA", times = absa.times}},
---  hwb.batch.breakdown_columns)
---```
function hwb.batch.breakdown(list) end

--- Columns of hwb.batch.breakdown in the published order.
---@type string[]
hwb.batch.breakdown_columns = {}

---@class hwb.adversarial
hwb.adversarial = {}

---@class attack_options
---@field eps? number size, in units of x
---@field range? any {lo, hi}: where pixels stay, numbers or tensors; false: anywhere; default: the least and largest of x
---@field loss? any as hwb.train's
---@field steps? integer pgd: 10
---@field step? number pgd: 2.5 eps / steps
---@field random? integer pgd: starts anywhere within eps, from this seed
---@field tol? number fhsm, l2hess: of the solve, 1e-3
---@field maxiter? integer fhsm, l2hess: products of the solve, 20
---@field damping? number fhsm, l2hess: added to the Hessian, 0

--- Names of the attacks.
---@type string[]
hwb.adversarial.methods = {}

--- "cross_entropy", "mse" or function(output, target) -> such a function.
---@param loss? any
---@return function
function hwb.adversarial.loss(loss) end

--- x + eps sign(g), clipped; g: the gradient of each image's own loss.
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.fgsm(m, x, y, options) end

--- Ten steps of eps/10 sign(g), clipped after each.
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.fgsm10(m, x, y, options) end

--- Steps of `step` sign(g), each projected onto |delta| <= eps (Madry et al. 2018).
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.pgd(m, x, y, options) end

--- x + eps g / |g|, clipped.
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.l2grad(m, x, y, options) end

--- x + eps sign(H^-1 g), clipped; H: the Hessian of each image's own loss, solved by
--- conjugate gradients on exact products.
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.fhsm(m, x, y, options) end

--- x + eps H^-1 g / |H^-1 g|, clipped.
---@param m table a model
---@param x hwb.Tensor
---@param y hwb.Tensor labels from 1
---@param options attack_options
---@return hwb.Tensor
function hwb.adversarial.l2hess(m, x, y, options) end

--- (H + damping)^-1 g of every image at once, and how the solve went.
---@param m table
---@param x hwb.Tensor
---@param y hwb.Tensor
---@param options? attack_options
---@return hwb.Tensor, {iterations: integer, stopped: integer, concave: integer, residual: number}
function hwb.adversarial.newton(m, x, y, options) end

--- Share of right answers on attacked images for each of options.eps.
---@param m table
---@param data any a dataset or {x, y}
---@param options table {eps = {0, 0.01}, method = "fgsm", count = 1000, batch = 250} and attack_options
---@return {eps: number, accuracy: number, method: string, count: integer}[]
---```lua
---for _, row in ipairs(hwb.adversarial.accuracy(m, test, {eps = {0, 0.005, 0.01}, method = "fhsm"})) do
---  print(row.eps, row.accuracy)
---end
---```
function hwb.adversarial.accuracy(m, data, options) end

--- Means over images of |g| and of the eigenvalue of H of largest magnitude, and its maximum.
---@param m table
---@param data any a dataset or {x, y}
---@param options? {count: integer, batch: integer, loss: any, tol: number, maxiter: integer}
---@return {gradient: number, lambda: number, lambda_max: number, count: integer}
function hwb.adversarial.input_curvature(m, data, options) end

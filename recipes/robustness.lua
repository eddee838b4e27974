-- Adversarial robustness of a trained ResNet20: accuracy against the size of the attack.
--
--   hwb run recipes/robustness.lua
--   hwb run recipes/robustness.lua --data DIR --set weights=runs/…/resnet20.safetensors \
--       --set shortcut=B --set norm=none
--
-- FGSM and FGSM-10 move every pixel by eps, FHSM too, along the Newton direction H^-1 g of
-- each image; L2GRAD and L2HESS move an image by a vector of the same length, eps times the
-- square root of its numbers.  Pixels are within 0..1.
local attacks = require "hwb.study.attacks"

return {
  name = "robustness",
  summary = "Accuracy of ResNet20 under FGSM, FGSM-10, L2GRAD, FHSM and L2HESS, and the curvature behind it",
  paper = "Yao et al. 2018, arXiv:1802.08241",
  args = {
    weights = { default = "", help = "checkpoint (.th, .pth, .safetensors); default: the bundled one" },
    shortcut = { default = "A", choices = { "A", "B" }, help = "A (padding) or B (1x1 convolution)" },
    norm = { default = "imagenet", choices = { "imagenet", "cifar10", "none" },
      help = "input normalisation of the given weights" },
    methods = { default = { "fgsm", "fgsm10", "l2grad", "fhsm", "l2hess" },
      choices = { "fgsm", "fgsm10", "l2grad", "fhsm", "l2hess" }, help = "attacks" },
    eps = { default = { 0, 0.002, 0.004, 0.008, 0.016, 0.032 }, smoke = { 0, 0.02 },
      help = "root mean square change of a pixel" },
    images = { default = 500, smoke = 16, help = "test images" },
    products = { default = 20, smoke = 3, help = "Hessian products of a Newton direction at most" },
    samples = { default = 128, smoke = 16, help = "training images for the Hessian of the weights" },
  },

  run = function(hwb, args, run)
    local s = hwb.study.resnet20(args, run, true)
    local test = s.test:subset(1, math.min(args.images, #s.test))
    local float = hwb.evaluate(s.model, test)
    run:print(("accuracy: %.2f %% (%d of %d)"):format(100 * float.accuracy, float.correct, float.count))

    -- accuracy of every attack at every size
    local curves = run:once("curves", function()
      return attacks.curves(s.model, test, args)
    end)
    run:table("accuracy", attacks.rows(curves, args.eps), attacks.columns(curves))
    run:figure("robustness", attacks.figure(curves))

    -- how steep and how curved the loss is, by the images and by the weights
    local o = { count = math.min(args.images, 100), maxiter = args.products }
    local input = hwb.adversarial.input_curvature(s.model, test, o)
    local x, y = s.train:batch(1, args.samples)
    local top = hwb.hessian(s.model, { data = { x, y } }):eigs{ k = 1, which = "LA", seed = run.seed }
    run:table("curvature", {
      { what = "mean |g| of an image", value = input.gradient },
      { what = "mean eigenvalue of largest magnitude, by an image", value = input.lambda },
      { what = "largest of them", value = input.lambda_max },
      { what = "top eigenvalue, by the weights", value = top.values[1] },
    }, { "what", "value" })
    run:result{ bundled = s.bundled, data = s.source, weights = s.weights, images = #test,
      accuracy = float.accuracy, curves = curves, input = input, lambda = top.values[1],
      lambda_residual = top.residuals[1], bn = "eval" }
  end,
}

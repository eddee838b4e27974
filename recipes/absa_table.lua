-- The large-batch table: ResNet20 on CIFAR-10 by five controllers at six batch sizes.
--
--   hwb run recipes/absa_table.lua --data DIR
--   hwb run recipes/absa_table.lua --data DIR --set methods=bl,absa --set batches=128,3200 --set epochs=9
--
-- Every cell is a run of absa_resnet20.lua with a folder of its own in cells/.  A stopped
-- table goes on with `hwb run --resume DIR`: finished cells stay, the one under way goes on
-- from its last checkpoint.  At 128 only BL is run, as in the publication.
local large, cells = require "hwb.study.large_batch", require "hwb.study.cells"

return {
  name = "absa_table",
  summary = "Accuracy and updates of BL, FB, GG, ABS and ABSA by batch size, beside the published ones",
  paper = "Yao et al. 2018, arXiv:1810.01021",
  args = {
    methods = { default = { "bl", "fb", "gg", "abs", "absa" }, help = "controllers" },
    batches = { default = { 128, 640, 3200, 5120, 10240, 16000 }, smoke = { 128, 256, 384, 512, 640, 768 },
      help = "largest batches, multiples of 128" },
    epochs = { default = 90, smoke = 2, help = "passes over the training images" },
    images = { default = 50000, smoke = 256, help = "training images" },
    test_images = { default = 10000, smoke = 100, help = "test images" },
    lr = { default = 0.1, help = "learning rate of the micro-batch" },
    probe = { default = 128, smoke = 32, help = "training images for the eigenvalue" },
    compat = { default = "none", choices = { "none", "hessianflow" }, help = "as in absa_resnet20" },
  },

  run = function(_, args, run)
    local train, _, source, bundled = large.cifar10(args.images, args.test_images)
    run:print(("data: %s; weights: random"):format(source))
    local list = large.cells(args.methods, args.batches)

    -- how many updates each cell makes, before anything is trained
    run:table("updates", large.update_rows(list, args.epochs, #train),
      { "batch", "method", "fewest", "most", "published" })
    run:print(large.updates_note .. "\n")

    for i, c in ipairs(list) do
      run:log("cell %d of %d: %s, batch up to %d", i, #list, c.method, c.batch)
      c.cell = cells.run(run, "absa_resnet20", ("%s-%d"):format(c.method, c.batch), {
        method = c.method, batch = c.batch, epochs = args.epochs, images = args.images,
        test_images = args.test_images, lr = args.lr, probe = args.probe, compat = args.compat })
      run:metric(i, { method = c.method, batch = c.batch, accuracy = c.cell.result.accuracy,
        updates = c.cell.result.updates, failed = c.cell.failed })
    end

    run:table("cells", large.cell_rows(list), { "batch", "method", "epochs", "accuracy", "updates",
      "updates_fractional", "published_accuracy", "published_updates", "note" })
    run:table("accuracy", large.accuracy_rows(list), large.accuracy_columns(args.methods))
    large.time_table(run, large.cell_times(list))
    for name, figure in pairs(large.table_figures(list, args.methods)) do run:figure(name, figure) end
    run:result{ bundled = bundled, epochs = args.epochs,
      images = #train, cells = large.cell_results(list, run.dir) }
  end,
}

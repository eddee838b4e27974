-- CIFAR-10: 60000 pictures of 32x32 in 10 classes.  hwb never downloads: unpack the
-- binary version so that the data folder holds cifar-10-batches-bin/.
return {
  name = "cifar10",
  summary = "60000 colour pictures of 32x32 pixels in 10 classes (50000 train, 10000 test)",
  paper = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
  urls = {
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    "https://www.cs.toronto.edu/~kriz/cifar-10-binary.tar.gz",
  },
  licence = "none stated by the authors; free for research, cite the report above",

  reader = "cifar10", -- hwb.data.cifar10{root=, split=}
  probe = "cifar-10-batches-bin/test_batch.bin", -- there when the set is
  folder = "cifar-10-batches-bin", -- of all files below
  splits = {
    train = {
      count = 50000,
      files = {
        "data_batch_1.bin",
        "data_batch_2.bin",
        "data_batch_3.bin",
        "data_batch_4.bin",
        "data_batch_5.bin",
      },
    },
    test = { count = 10000, files = { "test_batch.bin" } },
  },
  file_bytes = 30730000, -- of each file: 10000 rows of a label and 3072 pixels

  -- SHA-256 of a variant whose pixels went through JPEG (decoded by libjpeg-turbo) on
  -- their way, NOT of the authors' archive.  Networks trained on the original pixels
  -- lose about ten points of accuracy on it.
  variants = {
    jpeg = {
      note = "re-packed from JPEG copies: lossy pixels, another order",
      sha256 = {
        ["data_batch_1.bin"] = "fb47ba2ec10f0b1861d1d1b9caed2d3244845cbc20fece3a7f38ae00fb5ffeff",
        ["data_batch_2.bin"] = "82b7aa804e6dd11708f80313e75557a9b3d8cc57f9606e82929aeb542606dde5",
        ["data_batch_3.bin"] = "95d72e93294afeaf7899c1e9aa344e5fbe985348fc99aee7837d0ac5c80479f0",
        ["data_batch_4.bin"] = "19e45912669685c46916cc5ffcc6e5d6ad638fab967b251ba5b7ae5a3028a40f",
        ["data_batch_5.bin"] = "0ff98b291fa73207ac1877cc684d659b7244056e242f87ab892695567f29bee6",
        ["test_batch.bin"] = "7a9345d4711431e872ba74075e5b38fe1d6d1ec26d35f487fe02b726dc91c66a",
      },
    },
  },

  shape = { 3, 32, 32 },
  mean = { 0.4914, 0.4822, 0.4465 }, -- of the 50000 training pictures
  -- The mean of each picture's own deviation, as most published training scripts have it
  -- (over all pixels it is 0.247, 0.243, 0.262).
  std = { 0.2023, 0.1994, 0.2010 },
  classes = {
    "airplane", "automobile", "bird", "cat", "deer",
    "dog", "frog", "horse", "ship", "truck",
  },
}

-- CIFAR-100: 60000 pictures of 32x32 in 100 classes (fine labels).  hwb never
-- downloads: unpack the binary version so that the data folder holds cifar-100-binary/.
return {
  name = "cifar100",
  summary = "60000 colour pictures of 32x32 pixels in 100 classes (50000 train, 10000 test)",
  paper = "A. Krizhevsky, Learning Multiple Layers of Features from Tiny Images, 2009",
  urls = {
    "https://www.cs.toronto.edu/~kriz/cifar.html",
    "https://www.cs.toronto.edu/~kriz/cifar-100-binary.tar.gz",
  },
  licence = "none stated by the authors; free for research, cite the report above",

  reader = "cifar100", -- hwb.data.cifar100{root=, split=}
  probe = "cifar-100-binary/test.bin",
  folder = "cifar-100-binary", -- of all files below
  splits = {
    train = { count = 50000, files = { "train.bin" }, file_bytes = 153700000 },
    test = { count = 10000, files = { "test.bin" }, file_bytes = 30740000 },
  },
  variants = {}, -- no checksums on record: sizes and labels are checked by the reader

  shape = { 3, 32, 32 },
  mean = { 0.5071, 0.4865, 0.4409 },
  std = { 0.2673, 0.2564, 0.2762 },
  classes = 100, -- their names come with the set: fine_label_names.txt
}

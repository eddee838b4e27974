-- ImageNet (ILSVRC 2012), or any set laid out like it: one folder of JPEG or PNG files
-- for each class.  hwb never downloads; ImageNet itself needs an agreement.
return {
  name = "imagenet_folder",
  summary = "pictures in one folder per class: train/<class>/*.JPEG, val/<class>/*.JPEG",
  paper = "Russakovsky et al., ImageNet Large Scale Visual Recognition Challenge, IJCV 2015",
  urls = { "https://www.image-net.org/download.php" },
  licence = "ImageNet: non-commercial research only, by agreement with its authors",

  reader = "image_folder", -- hwb.data.image_folder{root=, shorter=, size=}
  splits = {
    train = { folder = "train" }, -- ILSVRC 2012: 1281167 pictures
    val = { folder = "val" }, -- ILSVRC 2012: 50000 pictures, sorted into class folders
  },
  variants = {}, -- the archives are many and by agreement: no checksums here

  -- Classes are the folder names in byte order; for the 1000 WordNet ids of ILSVRC 2012
  -- that is the label order of torchvision's checkpoints, for fewer folders it is not.
  classes = "folders",

  -- Shorter side to 256 (antialiased bilinear), centre 224: torchvision's evaluation.
  shorter = 256,
  size = 224,
  shape = { 3, 224, 224 },
  mean = { 0.485, 0.456, 0.406 },
  std = { 0.229, 0.224, 0.225 },
}

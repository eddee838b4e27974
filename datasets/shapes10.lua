-- shapes10: the bundled set.  Drawn by engine/data/shapes10.c whenever it is needed,
-- the same to the bit on every machine, so there are no files and nothing to check.
return {
  name = "shapes10",
  summary = "12000 drawn pictures of 32x32 pixels in 10 classes (10000 train, 2000 test)",
  urls = {}, -- comes with hwb
  licence = "that of hwb",

  reader = "shapes10", -- hwb.data.shapes10{split=, seed=}
  splits = {
    train = { count = 10000 },
    test = { count = 2000 },
  },
  variants = {},

  -- One shape on a textured ground, any pose; small shapes around it, something in
  -- front of it in one of three pictures, uneven light, noise.  Texture, colour and
  -- place are independent of the class.
  shape = { 3, 32, 32 },
  seed = 0,
  mean = { 0.488, 0.499, 0.501 },
  std = { 0.245, 0.241, 0.241 },
  classes = {
    "disc", "ring", "square", "triangle", "hexagon",
    "star", "cross", "crescent", "arrow", "bars",
  },
}

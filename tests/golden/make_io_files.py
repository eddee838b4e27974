#!/usr/bin/env python3
"""Makes tests/golden/io/: small files written by other programs, and what they hold.

usage: make_io_files.py        (PyTorch 1.13, numpy, Pillow; Debian: python3-torch python3-pil)

  checkpoint_zip.pt, checkpoint_legacy.pt   the same nested checkpoint in both formats
  arrays.npz     arrays of several types, one in Fortran order, one big-endian, deflated
  resize.npz     PIL BILINEAR resizes of the picture that test_image.c computes
  *.jpg, *.png   one small picture in many kinds of file; images.npz: its pixels by PIL
"""
import collections
import os

import numpy as np
import torch
from PIL import Image

out = os.path.join(os.path.dirname(os.path.abspath(__file__)), "io")
os.makedirs(out, exist_ok=True)


def path(name):
    return os.path.join(out, name)


def checkpoint():
    sd = collections.OrderedDict()
    sd["module.conv.weight"] = torch.arange(24.0).reshape(2, 3, 2, 2) / 8
    sd["module.half"] = torch.tensor([1.0, -2.5, 65504.0, 2.0 ** -24, float("inf")]).half()
    sd["module.bf16"] = torch.tensor([1.0, -3.140625, 1e30]).bfloat16()
    sd["module.double"] = torch.tensor([1 / 3, -1e300], dtype=torch.float64)
    sd["module.i16"] = torch.tensor([-300, 300], dtype=torch.int16)
    sd["module.i8"] = torch.tensor([-1, 127], dtype=torch.int8)
    sd["module.flag"] = torch.tensor([True, False, True])
    sd["module.view"] = torch.arange(24.0).reshape(4, 6).t()[1:3]  # shares, strided
    sd["module.spread"] = torch.arange(3.0).expand(2, 3)  # stride 0
    sd["module.count"] = torch.tensor(7)
    sd["module.none"] = torch.zeros(0, 4)
    sd["module.nan"] = torch.tensor([float("nan"), 1.0])
    return {
        "epoch": 90,
        "arch": "tiny",
        "lr": 0.1,
        "best": torch.tensor(76.5),
        "accuracy": np.float64(0.25),
        "state_dict": sd,
        "optimizer": {"state": {0: {"momentum": torch.ones(2)}}, "groups": [0, 1]},
    }


def picture(h, w):
    """The same as picture() in tests/c/test_image.c."""
    y, x, c = np.meshgrid(np.arange(h), np.arange(w), np.arange(3), indexing="ij")
    return ((x * (5 + c) + y * (11 - 2 * c) + (x * y) // 7 + 40 * ((x // 4 + y // 5) % 2)) % 256).astype(np.uint8)


for name, zipped in (("checkpoint_zip.pt", True), ("checkpoint_legacy.pt", False)):
    torch.save(checkpoint(), path(name), _use_new_zipfile_serialization=zipped)

np.savez_compressed(
    path("arrays.npz"),
    x=np.arange(6.0).reshape(2, 3),
    fortran=np.asfortranarray(np.arange(6, dtype="f4").reshape(2, 3)),
    big=np.arange(3, dtype=">i4"),
    half=np.array([0.5, -2], "f2"),
    scalar=np.float32(2.5),
)

image = Image.fromarray(picture(37, 53))
np.savez_compressed(
    path("resize.npz"),
    **{f"{h}x{w}": np.asarray(image.resize((w, h), Image.BILINEAR)) for h, w in ((16, 16), (19, 80), (80, 21), (1, 1))},
)

small = Image.fromarray(picture(17, 13))
files = {
    "rgb.jpg": (small, dict(quality=85)),
    "gray.jpg": (small.convert("L"), dict(quality=85)),
    "cmyk.jpg": (small.convert("CMYK"), dict(quality=85)),
    "progressive.jpg": (small, dict(quality=85, progressive=True)),
    "rgb.png": (small, {}),
    "gray.png": (small.convert("L"), {}),
    "bit.png": (small.convert("1"), {}),
    "palette.png": (small.convert("P", palette=Image.ADAPTIVE, colors=16), {}),
    "rgba.png": (small.convert("RGBA"), {}),
}
pixels = {}
for name, (im, options) in files.items():
    im.save(path(name), **options)
    pixels[name] = np.asarray(Image.open(path(name)).convert("RGB"))
np.savez_compressed(path("images.npz"), **pixels)
print(sum(os.path.getsize(path(f)) for f in os.listdir(out)), "bytes in", out)

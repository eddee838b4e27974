#!/usr/bin/env python3
"""Makes tests/fuzz/corpus/<format>/: small seeds for the fuzzers, replayed in every test run.

usage: make_corpus.py        (Pillow and numpy; Debian: python3-pil python3-numpy)

The PyTorch seeds are written with stand-ins for torch's classes, so PyTorch is not needed.
Files found by a fuzzer are added by hand as <what>-<sha>.bin and are left alone here.
"""
import collections
import io
import json
import os
import pickle
import struct
import sys
import types
import zipfile

import numpy as np
from PIL import Image

root = os.path.join(os.path.dirname(os.path.abspath(__file__)), "corpus")


def save(fmt, name, data):
    os.makedirs(os.path.join(root, fmt), exist_ok=True)
    with open(os.path.join(root, fmt, name), "wb") as f:
        f.write(data)


# ---- safetensors

def safetensors(header, data=b""):
    text = header if isinstance(header, bytes) else json.dumps(header).encode()
    return struct.pack("<Q", len(text)) + text + data


def entry(dtype, shape, begin, end):
    return {"dtype": dtype, "shape": shape, "data_offsets": [begin, end]}


save("safetensors", "mixed", safetensors(
    {"__metadata__": {"format": "pt"}, "a": entry("F32", [2, 3], 0, 24), "b": entry("F16", [2], 24, 28),
     "c": entry("BOOL", [1], 28, 29), "d": entry("I8", [1, 0], 29, 29)}, bytes(range(29))))
save("safetensors", "empty", safetensors({}))
save("safetensors", "overlap", safetensors({"a": entry("U8", [4], 0, 4), "b": entry("U8", [4], 2, 6)}, bytes(6)))
save("safetensors", "overflow", safetensors({"a": entry("U8", [2 ** 32, 2 ** 32], 0, 0)}))
save("safetensors", "twice", safetensors(b'{"a":{"dtype":"U8","shape":[],"data_offsets":[0,1]},"a":{}}', b"x"))
save("safetensors", "deep", safetensors(b'{"a":' + b"[" * 3000))

# ---- PyTorch: classes whose pickles name torch's


def module(name, **members):
    m = types.ModuleType(name)
    for key, value in members.items():
        value.__module__, value.__qualname__ = name, key
        setattr(m, key, value)
    sys.modules[name] = m


class FloatStorage:
    pass


class HalfStorage:
    pass


def _rebuild_tensor(*a):
    pass


def _rebuild_tensor_v2(*a):
    pass


module("torch", FloatStorage=FloatStorage, HalfStorage=HalfStorage)
module("torch._utils", _rebuild_tensor=_rebuild_tensor, _rebuild_tensor_v2=_rebuild_tensor_v2)


class Storage:
    def __init__(self, kind, key, count):
        self.pid = ("storage", kind, key, "cpu", count)


class Tensor:
    def __init__(self, storage, offset, size, stride, v2=True):
        self.state = (storage, offset, size, stride) + ((False, collections.OrderedDict()) if v2 else ())
        self.call = _rebuild_tensor_v2 if v2 else _rebuild_tensor

    def __reduce__(self):
        return self.call, self.state


def dumps(obj, protocol=2):
    out = io.BytesIO()
    p = pickle.Pickler(out, protocol)
    p.persistent_id = lambda x: x.pid if isinstance(x, Storage) else None
    p.dump(obj)
    return out.getvalue()


def legacy(obj_pickle, storages, protocol=2):
    head = [0x1950A86A20F9469CFC6C, 1001, {"protocol_version": 1001, "little_endian": True}]
    out = b"".join(dumps(h, protocol) for h in head) + obj_pickle + dumps([k for k, _, _ in storages], protocol)
    return out + b"".join(struct.pack("<q", count) + data for _, count, data in storages)


def zipped(members, method=zipfile.ZIP_STORED):
    out = io.BytesIO()
    with zipfile.ZipFile(out, "w", method) as z:
        for name, data in members.items():
            z.writestr(zipfile.ZipInfo(name), data, method)
    return out.getvalue()


w = Storage(FloatStorage, "0", 6)
h = Storage(HalfStorage, "1", 2)
state = collections.OrderedDict([("module.w", Tensor(w, 0, (2, 3), (3, 1))), ("module.v", Tensor(w, 1, (2,), (2,))),
                                 ("module.h", Tensor(h, 0, (2,), (1,), v2=False))])
checkpoint = {"epoch": 3, "lr": 0.1, "state_dict": state, "name": "net", "big": 2 ** 70, "none": [None, (), True]}
data_w, data_h = struct.pack("<6f", *range(6)), b"\0<\0\xbc"
for protocol in (2, 4):
    obj = dumps(checkpoint, protocol)
    save("torch_legacy", f"checkpoint{protocol}", legacy(obj, [("0", 6, data_w), ("1", 2, data_h)], protocol))
    members = {"x/data.pkl": obj, "x/byteorder": b"little", "x/data/0": data_w, "x/data/1": data_h, "x/version": b"3\n"}
    save("torch_zip", f"checkpoint{protocol}", zipped(members))
    one = {"w": Tensor(Storage(FloatStorage, "0", 2), 0, (2,), (1,)), "np": 1.5}
    save("torch_zip", f"pickle{protocol}", dumps(one, protocol))
save("torch_zip", "deflated", zipped(members, zipfile.ZIP_DEFLATED))
save("torch_legacy", "system", legacy(b"\x80\x02cos\nsystem\n(X\x02\0\0\0idtR.", []))
save("torch_legacy", "stack_global", legacy(b"\x80\x04\x8c\x05posix\x8c\x06system\x93\x8c\x02id\x85R.", []))
save("torch_zip", "system", b"\x80\x02cbuiltins\neval\nX\x01\0\0\x001\x85R.")
save("torch_legacy", "cycle", legacy(b"\x80\x02}q\0X\x0a\0\0\0state_dicth\0s.", []))
save("torch_zip", "giant", dumps({"w": Tensor(Storage(FloatStorage, "0", 2), 0, (1 << 40,), (0,))}))
numpy_scalar = dumps({"acc": np.float64(0.5), "w": one["w"]})
save("torch_zip", "numpy", numpy_scalar)

# ---- numpy


def npy(array):
    out = io.BytesIO()
    np.save(out, array)
    return out.getvalue()


save("npy", "f4", npy(np.arange(6, dtype="f4").reshape(2, 3)))
save("npy", "fortran", npy(np.asfortranarray(np.arange(6, dtype=">i2").reshape(2, 3))))
save("npy", "scalar", npy(np.float64(2)))
save("npy", "npz", zipped({"a.npy": npy(np.arange(3))}, zipfile.ZIP_DEFLATED))

# ---- images

y, x, c = np.meshgrid(np.arange(9), np.arange(11), np.arange(3), indexing="ij")
image = Image.fromarray(((x * 17 + y * 29 + c * 71) % 256).astype(np.uint8))


def encoded(im, kind, **options):
    out = io.BytesIO()
    im.save(out, kind, **options)
    return out.getvalue()


save("jpeg", "rgb", encoded(image, "JPEG"))
save("jpeg", "gray", encoded(image.convert("L"), "JPEG"))
save("jpeg", "cmyk", encoded(image.convert("CMYK"), "JPEG"))
save("jpeg", "progressive", encoded(image, "JPEG", progressive=True))
save("jpeg", "cut", encoded(image, "JPEG")[:-30])
save("png", "rgb", encoded(image, "PNG"))
save("png", "rgba", encoded(image.convert("RGBA"), "PNG"))
save("png", "palette", encoded(image.convert("P", palette=Image.ADAPTIVE, colors=4), "PNG", bits=2))
save("png", "gray16", encoded(Image.fromarray((np.arange(30).reshape(5, 6) * 2000).astype(np.uint16)), "PNG"))
save("png", "bit", encoded(image.convert("1"), "PNG"))
save("png", "cut", encoded(image, "PNG")[:-20])

# ---- CIFAR: a byte that chooses the kind, then rows (most of a row is zeros: short seeds)

save("cifar", "ten", b"\0" + b"\x07" + bytes(3072))
save("cifar", "label", b"\0" + b"\x0b" + bytes(3072))
save("cifar", "hundred", b"\1" + b"\x01\x63" + bytes(3072))
save("cifar", "cut", b"\1" + b"\x01\x02\x03")

# ---- the index of an image folder, without its checksum


def folder_index(*classes):
    out = b"HWBFIDX1" + struct.pack("<q", len(classes))
    for mtime, name, count, names in classes:
        out += struct.pack("<qq", mtime, count) + name + b"\0" + b"".join(n + b"\0" for n in names)
    return out


save("folder_index", "two", folder_index((7, b"cat", 2, [b"1.png", b"2.png"]), (0, b"dog", 0, [])))
save("folder_index", "more_than_there_are", folder_index((7, b"cat", 2 ** 62, [b"1.png"])))
save("folder_index", "negative", folder_index((7, b"cat", -1, [])))
save("folder_index", "leads_out", folder_index((7, b"../cat", 1, [b"1.png"])))
save("folder_index", "unfinished", folder_index((7, b"cat", 1, [b"1.png"]))[:-3])

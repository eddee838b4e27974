"""The benchmark networks of peer_spec.py as plain functions of PyTorch tensors.

Weights are by formula, or a checkpoint in safetensors stands in.
"""
import json
import struct

import numpy as np
import torch
import torch.nn.functional as F

import peer_spec


# --- the two things a network is made of that have a fast and a slow way ------

def wanted(ctx, j):
    """Does the running backward pass need the gradient of tensor input j?  (ctx.needs_input_grad
    does not know: it says whether some pass might.)"""
    node = ctx.next_functions[j][0]
    return node is not None and torch._C._will_engine_execute_node(node)


class FastConvGrad(torch.autograd.Function):
    """(gy, x, w) -> (gx, gw), whose own derivative is again convolutions.

    PyTorch's built-in double backward of a convolution moves the batch into
    the channels and runs a convolution with an image-sized kernel.
    """

    @staticmethod
    def forward(ctx, gy, x, w, stride, padding, need_x):
        ctx.save_for_backward(gy, x, w)
        ctx.conf = (stride, padding)
        gx, gw, _ = torch.ops.aten.convolution_backward(
            gy, x, w, None, stride, padding, (1, 1), False, (0, 0), 1, (need_x, True, False))
        return (gx if need_x else None), gw

    @staticmethod
    def backward(ctx, vx, vw):
        gy, x, w = ctx.saved_tensors
        stride, padding = ctx.conf
        to_gy, to_x, to_w = (wanted(ctx, j) for j in range(3))

        def back(gy, x, w, mask):
            return torch.ops.aten.convolution_backward(gy, x, w, None, stride, padding, (1, 1), False, (0, 0), 1, mask)

        ggy, gx, gw = None, None, None
        if vx is not None:
            ggy = F.conv2d(vx, w, None, stride, padding) if to_gy else None
            gw = back(gy, vx, w, (False, True, False))[1] if to_w else None
        if vw is not None:
            more = F.conv2d(x, vw, None, stride, padding) if to_gy else None
            ggy = more if ggy is None else ggy + more
            gx = back(gy, x, vw, (True, False, False))[0] if to_x else None
        return ggy, gx, gw, None, None, None


class FastConv(torch.autograd.Function):
    @staticmethod
    def forward(ctx, x, w, stride, padding):
        ctx.save_for_backward(x, w)
        ctx.conf = (stride, padding)
        return F.conv2d(x, w, None, stride, padding)

    @staticmethod
    def backward(ctx, gy):
        x, w = ctx.saved_tensors
        gx, gw = FastConvGrad.apply(gy, x, w, *ctx.conf, ctx.needs_input_grad[0])
        return gx, gw, None, None


class Ops:
    """conv: "native" or "fast"; bn: "native", "affine" (running statistics folded in by hand) or "train"."""

    def __init__(self, conv="native", bn="native"):
        self.conv_way, self.bn_way = conv, bn

    def conv(self, x, w, stride=1, padding=0):
        if self.conv_way == "fast":
            # view_as: wanted() cannot ask about a leaf.
            return FastConv.apply(x, w.view_as(w), (stride, stride), (padding, padding))
        return F.conv2d(x, w, None, stride, padding)

    def bn(self, p, buffers, name, x):
        mean, var = buffers[name + ".running_mean"], buffers[name + ".running_var"]
        w, b = p[name + ".weight"], p[name + ".bias"]
        if self.bn_way == "affine":
            s = w * torch.rsqrt(var + 1e-5)
            return x * s[None, :, None, None] + (b - mean * s)[None, :, None, None]
        return F.batch_norm(x, mean, var, w, b, self.bn_way == "train", 0.1, 1e-5)


# --- networks -----------------------------------------------------------------

class InTorch:
    """inputs as tensors"""

    def inputs(self, batch, side=None):
        return tuple(map(torch.from_numpy, super().inputs(batch, side)))


class ResNet20(InTorch, peer_spec.ResNet20):
    def __call__(self, ops, p, s, x, act=F.relu):
        y = act(ops.bn(p, s, "bn1", ops.conv(x, p["conv1.weight"], 1, 1)))
        for stage in (1, 2, 3):
            for b in range(3):
                at, stride = f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1
                z = act(ops.bn(p, s, at + ".bn1", ops.conv(y, p[at + ".conv1.weight"], stride, 1)))
                z = ops.bn(p, s, at + ".bn2", ops.conv(z, p[at + ".conv2.weight"], 1, 1))
                if stride == 2:
                    side = (z.shape[1] - y.shape[1]) // 2
                    y = F.pad(y[:, :, ::2, ::2], (0, 0, 0, 0, side, side))
                y = act(z + y)
        return F.linear(y.mean((2, 3)), p["linear.weight"], p["linear.bias"])


class ResNet50(InTorch, peer_spec.ResNet50):
    def __call__(self, ops, p, s, x, act=F.relu):
        y = act(ops.bn(p, s, "bn1", ops.conv(x, p["conv1.weight"], 2, 3)))
        y = F.max_pool2d(y, 3, 2, 1)
        for stage, blocks, _ in self.stages:
            for b in range(blocks):
                at, stride = f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1
                z = act(ops.bn(p, s, at + ".bn1", ops.conv(y, p[at + ".conv1.weight"])))
                z = act(ops.bn(p, s, at + ".bn2", ops.conv(z, p[at + ".conv2.weight"], stride, 1)))
                z = ops.bn(p, s, at + ".bn3", ops.conv(z, p[at + ".conv3.weight"]))
                if b == 0:
                    y = ops.bn(p, s, at + ".downsample.1", ops.conv(y, p[at + ".downsample.0.weight"], stride))
                y = act(z + y)
        return F.linear(y.mean((2, 3)), p["fc.weight"], p["fc.bias"])


class Bert(InTorch, peer_spec.Bert):
    def norm(self, p, name, x):
        return F.layer_norm(x, (self.dim,), p[name + ".weight"], p[name + ".bias"], 1e-12)

    def linear(self, p, name, x):
        return F.linear(x, p[name + ".weight"], p[name + ".bias"])

    def attention(self, p, at, x):
        n, t, d = x.shape
        q, k, v = (self.linear(p, f"{at}attention.self.{m}", x).reshape(n, t, self.heads, -1).transpose(1, 2)
                   for m in ("query", "key", "value"))
        a = torch.softmax(q @ k.transpose(-1, -2) * (d // self.heads) ** -0.5, -1) @ v
        return self.linear(p, at + "attention.output.dense", a.transpose(1, 2).reshape(n, t, d))

    def __call__(self, ops, p, s, ids, act=None):
        x = F.embedding(ids, p["embeddings.word_embeddings.weight"])
        x = x + p["embeddings.position_embeddings.weight"][: ids.shape[1]] + p["embeddings.token_type_embeddings.weight"][0]
        x = self.norm(p, "embeddings.LayerNorm", x)
        for j in range(self.depth):
            at = f"encoder.layer.{j}."
            x = self.norm(p, at + "attention.output.LayerNorm", x + self.attention(p, at, x))
            h = self.linear(p, at + "output.dense", F.gelu(self.linear(p, at + "intermediate.dense", x)))
            x = self.norm(p, at + "output.LayerNorm", x + h)
        return self.linear(p, "classifier", x).reshape(-1, self.classes)


NETS = {c.name: c for c in (ResNet20, ResNet50, Bert)}


# --- safetensors: 8-byte header length, JSON header, raw little-endian data ---

TYPES = {"F32": np.float32, "F64": np.float64, "I64": np.int64, "I32": np.int32, "U8": np.uint8}


def read_safetensors(path):
    with open(path, "rb") as f:
        head = json.loads(f.read(struct.unpack("<Q", f.read(8))[0]))
        base, raw = f.tell(), np.memmap(path, np.uint8, "r")
    head.pop("__metadata__", None)
    return {k: torch.from_numpy(np.array(raw[base + e["data_offsets"][0]:base + e["data_offsets"][1]])
                                .view(TYPES[e["dtype"]]).reshape(e["shape"])) for k, e in head.items()}


def write_safetensors(path, tensors):
    names = {v: k for k, v in TYPES.items()}
    head, at = {}, 0
    for k, t in tensors.items():
        n = t.numel() * t.element_size()
        head[k] = {"dtype": names[t.numpy().dtype.type], "shape": list(t.shape), "data_offsets": [at, at + n]}
        at += n
    text = json.dumps(head).encode()
    text += b" " * (-len(text) % 8)
    with open(path, "wb") as f:
        f.write(struct.pack("<Q", len(text)) + text)
        for t in tensors.values():
            f.write(t.contiguous().numpy().tobytes())

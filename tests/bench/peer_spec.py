"""The benchmark networks' tensors and inputs by formula, for any library: numpy only.

A tensor number k of n values is shift + scale * sin(h(k,i)), h(k,i) = (31 i^2
+ 7919 i + 104729 k) mod 10007, i the 0-based flat index: what the golden
files use, so that any program builds the same tensors with no file between.
Parameters are numbered from 1 in model order; x is number 100001, labels are
h(200001, i) mod classes, token ids h(100001, i) mod vocabulary.

Key names are akamaster's (ResNet20), torchvision's (ResNet50) and Hugging
Face's (BERT).  `side` is an image's height, or a sequence's number of tokens.
"""
import math

import numpy as np

X_K, Y_K = 100001, 200001


def hashed(k, n):
    i = np.arange(n, dtype=np.int64)
    return (31 * i * i + 7919 * i + 104729 * k) % 10007


def by_formula(k, shape, scale, shift):
    table = (shift + scale * np.sin(np.arange(10007, dtype=np.float64))).astype(np.float32)
    return table[hashed(k, math.prod(shape))].reshape(shape)


def vector(at, n, j=0):
    """v[i] = sin(0.37 (i + 1 + 1000 j)), i = at .. at+n-1."""
    return np.sin(0.37 * (np.arange(at, at + n, dtype=np.float64) + 1 + 1000 * j)).astype(np.float32)


class Spec:
    """Collects (name, shape, scale, shift) in model order, and buffers."""

    def __init__(self):
        self.rows, self.buffers = [], {}

    def conv(self, name, n_in, n_out, k):
        self.rows.append((name + ".weight", (n_out, n_in, k, k), 2 / math.sqrt(n_in * k * k), 0.0))

    def bn(self, name, n):
        # 0.5 keeps the residual stream of a deep network within range.
        self.rows += [(name + ".weight", (n,), 0.1, 0.5), (name + ".bias", (n,), 0.1, 0.0)]
        self.buffers[name + ".running_mean"] = np.zeros(n, np.float32)
        self.buffers[name + ".running_var"] = np.ones(n, np.float32)

    def linear(self, name, n_in, n_out):
        self.rows += [(name + ".weight", (n_out, n_in), math.sqrt(2 / n_in), 0.0), (name + ".bias", (n_out,), 0.01, 0.0)]

    def norm(self, name, n):
        self.rows += [(name + ".weight", (n,), 0.1, 1.0), (name + ".bias", (n,), 0.1, 0.0)]


class ResNet20:
    """CIFAR ResNet20 with option-A shortcuts; x[N,3,32,32]."""
    name, batch, side, classes, small_side = "resnet20", 128, 32, 10, 32
    lr = 1e-3       # of train-step

    def spec(self):
        s = Spec()
        s.conv("conv1", 3, 16, 3)
        s.bn("bn1", 16)
        wide = 16
        for stage, out in ((1, 16), (2, 32), (3, 64)):
            for b in range(3):
                at = f"layer{stage}.{b}"
                s.conv(f"{at}.conv1", wide, out, 3)
                s.bn(f"{at}.bn1", out)
                s.conv(f"{at}.conv2", out, out, 3)
                s.bn(f"{at}.bn2", out)
                wide = out
        s.linear("linear", 64, 10)
        return s

    def inputs(self, batch, side=None):
        side = side or self.side
        return by_formula(X_K, (batch, 3, side, side), 1.7, 0.0), hashed(Y_K, batch) % self.classes

    def layers(self, names):
        return [k[:-7] for k in names if k.endswith("weight") and ".bn" not in k and not k.startswith("bn")
                and "downsample.1" not in k]


class ResNet50(ResNet20):
    """torchvision's ResNet50 (stride in the 3x3 convolution); x[N,3,224,224]."""
    name, batch, side, classes, small_side = "resnet50", 8, 224, 1000, 64
    lr = 1e-5       # |g| is 175: with 1e-3 the second loss is 1e-3 off in float32
    stages = ((1, 3, 64), (2, 4, 128), (3, 6, 256), (4, 3, 512))

    def spec(self):
        s = Spec()
        s.conv("conv1", 3, 64, 7)
        s.bn("bn1", 64)
        wide = 64
        for stage, blocks, mid in self.stages:
            for b in range(blocks):
                at = f"layer{stage}.{b}"
                for j, (i, o, k) in enumerate(((wide, mid, 1), (mid, mid, 3), (mid, 4 * mid, 1)), 1):
                    s.conv(f"{at}.conv{j}", i, o, k)
                    s.bn(f"{at}.bn{j}", o)
                if b == 0:
                    s.conv(f"{at}.downsample.0", wide, 4 * mid, 1)
                    s.bn(f"{at}.downsample.1", 4 * mid)
                wide = 4 * mid
        s.linear("fc", 2048, 1000)
        return s


class Bert:
    """BERT-base encoder (12 x 768, 12 heads), 128 tokens, 9 labels a token; ids[N,128]."""
    name, batch, side, classes, small_side = "bert", 4, 128, 9, 8
    lr = 1e-3
    vocab, dim, ff, heads, depth = 28996, 768, 3072, 12, 12

    def spec(self):
        s = Spec()
        s.rows += [("embeddings.word_embeddings.weight", (self.vocab, self.dim), 0.03, 0.0),
                   ("embeddings.position_embeddings.weight", (512, self.dim), 0.03, 0.0),
                   ("embeddings.token_type_embeddings.weight", (2, self.dim), 0.03, 0.0)]
        s.norm("embeddings.LayerNorm", self.dim)
        for j in range(self.depth):
            at = f"encoder.layer.{j}."
            for m in ("attention.self.query", "attention.self.key", "attention.self.value", "attention.output.dense"):
                s.linear(at + m, self.dim, self.dim)
            s.norm(at + "attention.output.LayerNorm", self.dim)
            s.linear(at + "intermediate.dense", self.dim, self.ff)
            s.linear(at + "output.dense", self.ff, self.dim)
            s.norm(at + "output.LayerNorm", self.dim)
        s.linear("classifier", self.dim, self.classes)
        return s

    def inputs(self, batch, side=None):
        n = batch * (side or self.side)
        return (hashed(X_K, n) % self.vocab).reshape(batch, -1), hashed(Y_K, n) % self.classes

    def layers(self, names):
        return [k[:-7] for k in names if k.endswith("weight") and "LayerNorm" not in k
                and "position" not in k and "token_type" not in k]


NETS = {c.name: c for c in (ResNet20, ResNet50, Bert)}

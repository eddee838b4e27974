#!/usr/bin/env python3
"""JAX (jit) on the benchmark cases of the two residual networks.

usage: peer_jax.py [--case NAME,...] [--repeat N] [--batch N] [--tf32]

One JSON line a case, in the manner of peer_gpu.py, on JAX's default device.  Weights and inputs
are those of peer_nets.py; batch-norm is in evaluation, as a scale and shift; H v is jvp of grad,
K vectors by vmap, the block sweep one program for each layer; all of it under jit, data on the device.

Has run on a CPU only.
"""
import argparse
import json
import os
import statistics
import sys
import time

sys.dont_write_bytecode = True
os.environ.setdefault("XLA_PYTHON_CLIENT_PREALLOCATE", "false")

import jax                      # noqa: E402
import jax.numpy as jnp         # noqa: E402
import numpy as np              # noqa: E402

import peer_nets                # noqa: E402


def conv(x, w, stride=1, padding=0):
    return jax.lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2,
                                        dimension_numbers=("NHWC", "OIHW", "NHWC"))


def norm(p, name, x):
    """Running mean 0 and variance 1."""
    return x * (p[name + ".weight"] * (1 + 1e-5) ** -0.5) + p[name + ".bias"]


def resnet20(p, x):
    y = jax.nn.relu(norm(p, "bn1", conv(x, p["conv1.weight"], 1, 1)))
    for stage in (1, 2, 3):
        for b in range(3):
            at, stride = f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1
            z = jax.nn.relu(norm(p, at + ".bn1", conv(y, p[at + ".conv1.weight"], stride, 1)))
            z = norm(p, at + ".bn2", conv(z, p[at + ".conv2.weight"], 1, 1))
            if stride == 2:
                side = (z.shape[3] - y.shape[3]) // 2
                y = jnp.pad(y[:, ::2, ::2, :], ((0, 0),) * 3 + ((side, side),))
            y = jax.nn.relu(z + y)
    return y.mean((1, 2)) @ p["linear.weight"].T + p["linear.bias"]


def resnet50(p, x):
    y = jax.nn.relu(norm(p, "bn1", conv(x, p["conv1.weight"], 2, 3)))
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for stage, blocks, _ in peer_nets.ResNet50.stages:
        for b in range(blocks):
            at, stride = f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1
            z = jax.nn.relu(norm(p, at + ".bn1", conv(y, p[at + ".conv1.weight"])))
            z = jax.nn.relu(norm(p, at + ".bn2", conv(z, p[at + ".conv2.weight"], stride, 1)))
            z = norm(p, at + ".bn3", conv(z, p[at + ".conv3.weight"]))
            if b == 0:
                y = norm(p, at + ".downsample.1", conv(y, p[at + ".downsample.0.weight"], stride))
            y = jax.nn.relu(z + y)
    return y.mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]


NETS = {"resnet20": (resnet20, 128), "resnet50": (resnet50, 64)}


class Task:
    def __init__(self, net, batch):
        self.forward, standard = NETS[net]
        spec_of = peer_nets.NETS[net]()
        self.p = {k: jnp.asarray(peer_nets.by_formula(i + 1, s, a, b).numpy())
                  for i, (k, s, a, b) in enumerate(spec_of.spec().rows)}
        x, y = spec_of.inputs(batch or standard)
        self.x, self.y = jnp.asarray(x.permute(0, 2, 3, 1).contiguous().numpy()), jnp.asarray(y.numpy())
        self.layers = spec_of.layers(list(self.p))

    def loss(self, p):
        z = jax.nn.log_softmax(self.forward(p, self.x))
        return -jnp.take_along_axis(z, self.y[:, None], 1).mean()

    def vector(self, j=0):
        at, out = 0, {}
        for k, p in self.p.items():
            i = np.arange(at, at + p.size, dtype=np.float64)
            out[k] = jnp.asarray(np.sin(0.37 * (i + 1 + 1000 * j)).astype(np.float32).reshape(p.shape))
            at += p.size
        return out


def dot(a, b):
    return sum(jnp.vdot(a[k], b[k]) for k in a)


def gradient(task, _):
    g = jax.jit(jax.grad(task.loss))

    def step():
        out = g(task.p)
        return (float(dot(out, out)) ** 0.5,)

    return step


def hv(task):
    return lambda p, v: jax.jvp(jax.grad(task.loss), (p,), (v,))[1]


def hvp(task, k):
    vs = [task.vector(j) for j in range(k)]
    if k == 1:
        apply = jax.jit(hv(task))
        return lambda: (float(dot(apply(task.p, vs[0]), vs[0])),) * 2
    many = jax.tree.map(lambda *t: jnp.stack(t), *vs)
    apply = jax.jit(jax.vmap(hv(task), (None, 0)))

    def step():
        out = apply(task.p, many)
        first, last = ({n: t[i] for n, t in out.items()} for i in (0, -1))
        return float(dot(first, vs[0])), float(dot(last, vs[-1]))

    return step


def block_eigs(task, iterations):
    """Power iteration on every layer's block; one compiled iteration a layer."""
    start = task.vector()
    names = {k: [n for n in task.p if n.rsplit(".", 1)[0] == k] for k in task.layers}

    def one(keys):
        def iterate(p, v):
            size = dot(v, v) ** 0.5
            v = {k: t / size for k, t in v.items()}
            gradient_of = jax.grad(lambda part: task.loss({**p, **part}))
            out = jax.jvp(gradient_of, ({k: p[k] for k in keys},), (v,))[1]
            return out, dot(out, v)

        return jax.jit(iterate)

    programs = {k: one(keys) for k, keys in names.items()}

    def step():
        values = []
        for k, keys in names.items():
            v = {n: start[n] for n in keys}
            for _ in range(iterations):
                v, value = programs[k](task.p, v)
            values.append(float(value))
        return sum(values), sum(map(abs, values))

    return step


CASES = {"gradient": ("resnet20", gradient, 0), "hvp": ("resnet20", hvp, 1), "hvp-4": ("resnet20", hvp, 4),
         "hvp-16": ("resnet20", hvp, 16), "block-eigs": ("resnet20", block_eigs, 10),
         "resnet50-gradient": ("resnet50", gradient, 0), "resnet50-hvp": ("resnet50", hvp, 1),
         "resnet50-hvp-4": ("resnet50", hvp, 4), "resnet50-block-eigs": ("resnet50", block_eigs, 2)}


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--case", default="")
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--tf32", action="store_true")
    args = ap.parse_args(argv)
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if args.tf32 else "highest")
    for case, (net, function, argument) in CASES.items():
        if args.case and case not in args.case.split(","):
            continue
        task = Task(net, args.batch)
        step = function(task, argument)
        begin = time.perf_counter()
        check = step()
        first, times = time.perf_counter() - begin, []
        for _ in range(args.repeat):
            begin = time.perf_counter()
            check = step()
            times.append(time.perf_counter() - begin)
        print(json.dumps({
            "case": case, "way": "jit", "device": str(jax.devices()[0]), "math": "tf32" if args.tf32 else "float32",
            "batch": int(task.y.shape[0]), "seconds_median": round(statistics.median(times), 6),
            "seconds_min": round(min(times), 6), "seconds_max": round(max(times), 6), "repeat": args.repeat,
            "first_s": round(first, 4), "check": list(check), "versions": {"jax": jax.__version__}}), flush=True)
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

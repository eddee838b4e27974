#!/usr/bin/env python3
"""JAX (jit) on the benchmark cases of a GPU, in the manner of peer_gpu.py; needs numpy and JAX only.

usage: peer_jax.py [--list] [--case NAME,...] [--way NAME,...] [--repeat N] [--batch N] [--smoke] [--tf32]

One JSON line a (case, way), on JAX's default device; all of it under jit, data on the device, and
what computes the check values is not timed.  Weights and inputs are those of peer_spec.py.
Images are [N,H,W,C]; batch-norm is a scale and shift, in train-step that of the batch.  block-eigs, which
is many products, runs once after its warm-up.  Ways:

  jit     first order: the step or gradient; products: jvp of grad, K vectors by vmap; block-eigs:
          one program a layer, differentiated in that layer's parameters only
  kept    products: jax.linearize of grad, whose residuals stay on the device: the primal pass is
          not repeated; block-eigs: the same one program for all layers, the vector zero elsewhere

block-eigs of ResNet50 and BERT is "kept" only: as many programs as layers take minutes to compile.
On a GPU nothing of this has run yet.
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

import peer_spec                # noqa: E402

BATCH = {"resnet20": 128, "resnet50": 64, "bert": 4}
ITERATIONS = {"resnet20": 10, "resnet50": 2, "bert": 2}


# --- networks: functions of (norm, parameters, input); norm is one of the two below --------

def conv(x, w, stride=1, padding=0):
    return jax.lax.conv_general_dilated(x, w, (stride, stride), [(padding, padding)] * 2,
                                        dimension_numbers=("NHWC", "OIHW", "NHWC"))


def norm_eval(p, name, x):
    """Running mean 0 and variance 1."""
    return x * (p[name + ".weight"] * (1 + 1e-5) ** -0.5) + p[name + ".bias"]


class BatchNorm:
    """Of the batch; collects the running statistics that follow from it."""

    def __init__(self, running):
        self.running, self.after = running, {}

    def __call__(self, p, name, x):
        mean, var, n = x.mean((0, 1, 2)), x.var((0, 1, 2)), x.size // x.shape[-1]
        for what, new in (("mean", mean), ("var", var * n / (n - 1))):
            key = f"{name}.running_{what}"
            self.after[key] = 0.9 * self.running[key] + 0.1 * new
        return (x - mean) * jax.lax.rsqrt(var + 1e-5) * p[name + ".weight"] + p[name + ".bias"]


def resnet20(norm, p, x):
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


def resnet50(norm, p, x):
    y = jax.nn.relu(norm(p, "bn1", conv(x, p["conv1.weight"], 2, 3)))
    y = jax.lax.reduce_window(y, -jnp.inf, jax.lax.max, (1, 3, 3, 1), (1, 2, 2, 1), ((0, 0), (1, 1), (1, 1), (0, 0)))
    for stage, blocks, _ in peer_spec.ResNet50.stages:
        for b in range(blocks):
            at, stride = f"layer{stage}.{b}", 2 if stage > 1 and b == 0 else 1
            z = jax.nn.relu(norm(p, at + ".bn1", conv(y, p[at + ".conv1.weight"])))
            z = jax.nn.relu(norm(p, at + ".bn2", conv(z, p[at + ".conv2.weight"], stride, 1)))
            z = norm(p, at + ".bn3", conv(z, p[at + ".conv3.weight"]))
            if b == 0:
                y = norm(p, at + ".downsample.1", conv(y, p[at + ".downsample.0.weight"], stride))
            y = jax.nn.relu(z + y)
    return y.mean((1, 2)) @ p["fc.weight"].T + p["fc.bias"]


def bert(_, p, ids):
    size = peer_spec.Bert

    def linear(name, x):
        return x @ p[name + ".weight"].T + p[name + ".bias"]

    def layer_norm(name, x):
        mean = x.mean(-1, keepdims=True)
        var = ((x - mean) ** 2).mean(-1, keepdims=True)
        return (x - mean) * jax.lax.rsqrt(var + 1e-12) * p[name + ".weight"] + p[name + ".bias"]

    def attention(at, x):
        n, t, d = x.shape
        q, k, v = (linear(f"{at}attention.self.{m}", x).reshape(n, t, size.heads, -1).transpose(0, 2, 1, 3)
                   for m in ("query", "key", "value"))
        a = jax.nn.softmax(q @ k.transpose(0, 1, 3, 2) * (d // size.heads) ** -0.5, -1) @ v
        return linear(at + "attention.output.dense", a.transpose(0, 2, 1, 3).reshape(n, t, d))

    x = p["embeddings.word_embeddings.weight"][ids]
    x = x + p["embeddings.position_embeddings.weight"][: ids.shape[1]] + p["embeddings.token_type_embeddings.weight"][0]
    x = layer_norm("embeddings.LayerNorm", x)
    for j in range(size.depth):
        at = f"encoder.layer.{j}."
        x = layer_norm(at + "attention.output.LayerNorm", x + attention(at, x))
        h = jax.nn.gelu(linear(at + "intermediate.dense", x), approximate=False)
        x = layer_norm(at + "output.LayerNorm", x + linear(at + "output.dense", h))
    return linear("classifier", x).reshape(-1, size.classes)


FORWARD = {"resnet20": resnet20, "resnet50": resnet50, "bert": bert}


class Network:
    def __init__(self, net, args):
        spec_of, self.name, self.smoke = peer_spec.NETS[net](), net, args.smoke
        spec, self.forward, self.lr = spec_of.spec(), FORWARD[net], spec_of.lr
        self.p = {k: jnp.asarray(peer_spec.by_formula(i + 1, s, a, b)) for i, (k, s, a, b) in enumerate(spec.rows)}
        self.buffers = {k: jnp.asarray(t) for k, t in spec.buffers.items()}
        x, y = spec_of.inputs(2 if args.smoke else args.batch or BATCH[net], spec_of.small_side if args.smoke else None)
        self.x, self.y = jnp.asarray(x.transpose(0, 2, 3, 1) if x.ndim == 4 else x), jnp.asarray(y)
        names = [r[0] for r in spec.rows]
        self.layers = {k: [n for n in names if n.rsplit(".", 1)[0] == k] for k in spec_of.layers(names)}
        self.made = {}

    def loss(self, p, x, y, norm=norm_eval):
        z = jax.nn.log_softmax(self.forward(norm, p, x))
        return -jnp.take_along_axis(z, y[:, None], 1).mean()

    def vector(self, j=0):
        at, out = 0, {}
        for k, p in self.p.items():
            out[k] = jnp.asarray(peer_spec.vector(at, p.size, j).reshape(p.shape))
            at += p.size
        return out

    def once(self, name, make):
        """Compiled functions and residuals serve several cases."""
        if name not in self.made:
            self.made[name] = make()
        return self.made[name]

    def kept(self):
        """The linear map v -> H v at the weights and data, its residuals on the device."""
        def linear_part(p, x, y):
            return jax.linearize(jax.grad(lambda q: self.loss(q, x, y)), p)[1]

        return self.once("kept", lambda: jax.jit(linear_part)(self.p, self.x, self.y))


def dot(a, b):
    return float(sum(jnp.vdot(a[k], b[k]) for k in a))


# --- cases: functions (network, way, number) -> step; step() -> (what to wait for, check) ---------

def train_step(network, _way, _number):
    def step(state, x, y):
        p, momentum, running = state

        def loss_of(q):
            norm = BatchNorm(running)
            return network.loss(q, x, y, norm), norm.after

        (loss, after), g = jax.value_and_grad(loss_of, has_aux=True)(p)
        momentum = {k: 0.9 * momentum[k] + (g[k] + 1e-4 * p[k]) for k in p}
        return ({k: p[k] - network.lr * momentum[k] for k in p}, momentum, after), loss

    run = jax.jit(step, donate_argnums=0)
    state = [({k: t.copy() for k, t in network.p.items()}, {k: jnp.zeros_like(t) for k, t in network.p.items()},
              {k: t.copy() for k, t in network.buffers.items()})]

    def timed():
        state[0], loss = run(state[0], network.x, network.y)
        return (state[0], loss), lambda: (float(loss),)

    return timed


def gradient(network, _way, _number):
    run = jax.jit(jax.grad(network.loss))

    def timed():
        g = run(network.p, network.x, network.y)
        return g, lambda: (dot(g, g) ** 0.5,)

    return timed


def hvp(network, way, k):
    if way == "kept":
        fixed, product = (network.kept(),), lambda linear, v: linear(v)
    else:
        fixed = network.p, network.x, network.y

        def product(p, x, y, v):
            return jax.jvp(jax.grad(lambda q: network.loss(q, x, y)), (p,), (v,))[1]

    vs = [network.vector(j) for j in range(k)]
    if k == 1:
        run, given = jax.jit(product), vs[0]
    else:
        run = jax.jit(jax.vmap(product, (None,) * len(fixed) + (0,)))
        given = jax.tree.map(lambda *t: jnp.stack(t), *vs)

    def timed():
        hv = run(*fixed, given)
        return hv, lambda: tuple(dot(hv if k == 1 else {n: t[j] for n, t in hv.items()}, vs[j]) for j in (0, -1))

    return timed


def block_eigs(network, way, iterations):
    """Power iteration on every layer's block."""
    start, programs = network.vector(), {}

    def normalised(v):
        scale = sum(jnp.vdot(t, t) for t in v.values()) ** -0.5
        return {k: t * scale for k, t in v.items()}

    def own_program(keys):
        def iterate(p, x, y, v):
            v = normalised(v)
            gradient_of = jax.grad(lambda part: network.loss({**p, **part}, x, y))
            out = jax.jvp(gradient_of, ({k: p[k] for k in keys},), (v,))[1]
            return out, sum(jnp.vdot(out[k], v[k]) for k in v)

        run = jax.jit(iterate)
        return lambda v: run(network.p, network.x, network.y, v)

    def one_for_all(linear, v, inside):
        v = normalised(v)
        out = {k: t * inside[k] for k, t in linear(v).items()}
        return out, sum(jnp.vdot(out[k], v[k]) for k in v)

    if way == "kept":
        run, linear = jax.jit(one_for_all), network.kept()
        zeros = {k: jnp.zeros_like(t) for k, t in network.p.items()}
        for name, keys in network.layers.items():
            inside = {k: jnp.float32(k in keys) for k in network.p}
            programs[name] = (lambda v, inside=inside: run(linear, v, inside),
                              {k: start[k] if k in keys else zeros[k] for k in network.p})
    else:
        for name, keys in network.layers.items():
            programs[name] = (own_program(keys), {k: start[k] for k in keys})

    def timed():
        values = []
        for program, v in programs.values():
            for _ in range(iterations):
                v, value = program(v)
            values.append(value)
        return values, lambda: (sum(map(float, values)), sum(abs(float(t)) for t in values))

    return timed


def rows():
    """case -> (network, function, number, ways); the names are those of bench_cases.c"""
    out = {}
    for net, at in (("resnet20", ""), ("resnet50", "resnet50-"), ("bert", "bert-")):
        out[at + "train-step"] = (net, train_step, 0, ("jit",))
        out[at + "gradient"] = (net, gradient, 0, ("jit",))
        for k in (1, 4, 16):
            out[f"{at}hvp" + (f"-{k}" if k > 1 else "")] = (net, hvp, k, ("kept", "jit"))
        out[at + "block-eigs"] = (net, block_eigs, ITERATIONS[net], ("kept", "jit") if net == "resnet20" else ("kept",))
    return out


def measure(args, case, way, network):
    _, function, number, _ = rows()[case]
    if args.smoke:
        number = 1 if function is block_eigs else min(number, 2) if network.name == "bert" else number
    step = function(network, way, number)
    begin = time.perf_counter()
    made, check = step()
    jax.block_until_ready(made)
    first, times = time.perf_counter() - begin, []
    repeat = 1 if function is block_eigs else args.repeat
    for _ in range(repeat):
        begin = time.perf_counter()
        made, check = step()
        jax.block_until_ready(made)
        times.append(time.perf_counter() - begin)
    return {"case": case, "way": way, "device": jax.devices()[0].device_kind, "math": "tf32" if args.tf32 else "float32",
            "batch": int(network.x.shape[0]), "seconds_median": round(statistics.median(times), 6),
            "seconds_min": round(min(times), 6), "seconds_max": round(max(times), 6), "repeat": repeat,
            "first_s": round(first, 4), "check": list(check()), "versions": {"jax": jax.__version__}}


def parse(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--case", default="", help="in this order")
    ap.add_argument("--way", default="")
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--smoke", action="store_true")
    ap.add_argument("--tf32", action="store_true")
    args = ap.parse_args(argv)
    args.cases = args.case.split(",") if args.case else list(rows())
    for case in args.cases:
        if case not in rows():
            ap.error(f"no case {case}; there are {', '.join(rows())}")
    args.repeat = 1 if args.smoke else max(args.repeat, 1)
    return args


def main(argv):
    args = parse(argv)
    if args.list:
        for case, (net, _, _, ways) in rows().items():
            print(f"{case:22} {net:9} {' '.join(ways)}")
        return 0
    jax.config.update("jax_default_matmul_precision", "tensorfloat32" if args.tf32 else "highest")
    status, network = 0, None
    for case in args.cases:
        net, _, _, ways = rows()[case]
        for way in (w for w in ways if not args.way or w in args.way.split(",")):
            try:
                if not network or network.name != net:
                    network = None
                    jax.clear_caches()
                    network = Network(net, args)
                line = measure(args, case, way, network)
            except Exception as e:      # a way that this version cannot do: the others still count
                status = 1
                line = {"case": case, "way": way, "failed": f"{type(e).__name__}: {e}"[:300]}
            print(json.dumps(line), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

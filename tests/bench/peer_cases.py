"""The cases of peer_torch.py: each builds what may be built once and returns a
function that does the timed work and returns the check values, or a function that
computes them, which is not timed."""
import os

import numpy as np
import torch
import torch.autograd.forward_ad as fwd
import torch.nn.functional as F

import peer_nets
import peer_spec

MICRO = 125     # images a piece in hvp-dataset and evaluation (NOTES.md: 50 to 500 take the same time)


class Task:
    """A network with its parameters and data, laid out as the way asks."""

    def __init__(self, net, way, options, tensors=None, cifar=None):
        self.net, self.way, self.options, self.cifar = peer_nets.NETS[net](), way, options, cifar
        self.last_layout = torch.channels_last if way.endswith("-cl") else torch.contiguous_format
        spec = self.net.spec()
        given = peer_nets.read_safetensors(tensors) if tensors else {}
        self.values = {k: given[k] if k in given else torch.from_numpy(peer_spec.by_formula(i + 1, s, a, b))
                       for i, (k, s, a, b) in enumerate(spec.rows)}
        self.buffers = {k: given.get(k, torch.from_numpy(t)) for k, t in spec.buffers.items()}
        self.x, self.y = self.net.inputs(self.net.batch)
        if "input.x" in given:
            self.x, self.y = given["input.x"], given["input.y"].long()
        self.params = {k: self.lay(t.clone()).requires_grad_() for k, t in self.values.items()}
        self.list = list(self.params.values())
        self.x = self.lay(self.x)
        affine = "affine" in way or way.startswith("fast")
        self.ops = peer_nets.Ops("fast" if way.startswith("fast") else "native", "affine" if affine else "native")
        self.hvps = 0
        if "images" in options:
            xs, ys = self.images(options["images"], options["file"])
            self.pieces = [(self.lay(x).clone(memory_format=self.last_layout), y) for x, y in zip(xs.split(MICRO), ys.split(MICRO))]

    def lay(self, t):
        return t.contiguous(memory_format=self.last_layout) if t.dim() == 4 else t

    def loss(self, params=None, x=None, y=None):
        z = self.net(self.ops, params or self.params, self.buffers, self.x if x is None else x)
        return F.cross_entropy(z, self.y if y is None else y)

    def vector(self, j=0):
        """The j-th vector in the parameters' shapes."""
        at, out = 0, []
        for p in self.list:
            out.append(self.lay(torch.from_numpy(peer_spec.vector(at, p.numel(), j)).reshape(p.shape)))
            at += p.numel()
        return out

    def images(self, count, name):
        """`count` CIFAR images: real ones where --cifar is given, else by formula."""
        if not self.cifar:
            return self.net.inputs(count)
        data = np.fromfile(os.path.join(self.cifar, name), np.uint8).reshape(-1, 3073)[:count]
        mean, std = (torch.tensor(t).reshape(3, 1, 1) for t in ((0.485, 0.456, 0.406), (0.229, 0.224, 0.225)))
        x = torch.from_numpy(data[:, 1:].reshape(-1, 3, 32, 32)).float() / 255
        return (x - mean) / std, torch.from_numpy(data[:, 0].astype(np.int64))

    def dump(self, path):
        x, y = self.net.inputs(self.net.batch)
        peer_nets.write_safetensors(path, {**self.values, **self.buffers, "input.x": x, "input.y": y})


def dot(a, b):
    return float(sum((s.double() * t.double()).sum() for s, t in zip(a, b) if s is not None))


def train_step(task):
    task.ops.bn_way = "train"
    optimizer = torch.optim.SGD(task.list, lr=task.net.lr, momentum=0.9, weight_decay=1e-4)
    forward_loss = torch.compile(task.loss) if task.way.startswith("compile") else task.loss

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = forward_loss()
        loss.backward()
        optimizer.step()
        return (float(loss.detach()),)

    return step


def gradient(task):
    forward_loss = torch.compile(task.loss) if task.way.startswith("compile") else task.loss

    def step():
        g = torch.autograd.grad(forward_loss(), task.list)
        return lambda: (dot(g, g) ** 0.5,)

    return step


# --- H v: a function of (indices of parameters, v) that returns H v there ------

def operator(task, x=None, y=None):
    """H v by the task's way; idx None is every parameter, else a list of positions."""
    if task.way.startswith("forward"):
        return forward_operator(task, x, y)
    if task.way.startswith("compile"):
        return compiled_operator(task)
    grads = torch.autograd.grad(task.loss(None, x, y), task.list, create_graph=True)

    def apply(v, idx=None):
        task.hvps += 1
        if idx is None:
            return torch.autograd.grad(grads, task.list, v, retain_graph=True, allow_unused=True)
        return torch.autograd.grad([grads[i] for i in idx], [task.list[i] for i in idx], v, retain_graph=True)

    return apply


def forward_operator(task, x, y):
    def apply(v, idx=None):
        task.hvps += 1
        keys = list(task.params)
        idx = range(len(keys)) if idx is None else idx
        with fwd.dual_level():
            wanted = {keys[i]: fwd.make_dual(task.list[i], t) for i, t in zip(idx, v)}
            duals = {k: wanted.get(k, p.detach()) for k, p in task.params.items()}
            g = torch.autograd.grad(task.loss(duals, x, y), list(wanted.values()))
            return [fwd.unpack_dual(t).tangent for t in g]

    return apply


def compiled_operator(task):
    from torch.func import grad, jvp
    keys = list(task.params)
    fixed = tuple(p.detach() for p in task.list)
    gradient_of = grad(lambda p: task.loss(dict(zip(keys, p))))
    hv = torch.compile(lambda p, v: jvp(gradient_of, (p,), (v,))[1])

    def apply(v):
        task.hvps += 1
        return hv(fixed, tuple(v))

    return apply


def hvp(task):
    k = task.options["k"]
    vs = [task.vector(j) for j in range(k)]
    if task.way.startswith("vmap"):
        grads = torch.autograd.grad(task.loss(), task.list, create_graph=True)
        many = [torch.stack(t) for t in zip(*vs)]

        def step():
            hv = torch.autograd.grad(grads, task.list, many, retain_graph=True, is_grads_batched=True)
            return lambda: (dot([t[0] for t in hv], vs[0]), dot([t[-1] for t in hv], vs[-1]))

        return step
    apply = operator(task)

    def step():
        task.hvps = 0
        first = hv = apply(vs[0])
        for v in vs[1:]:
            hv = apply(v)
        return lambda: (dot(first, vs[0]), dot(hv, vs[-1]))

    return step


def primal(task):
    """One product after the data changed: gradient graph and product."""
    v = task.vector()

    def step():
        hv = operator(task)(v)
        return lambda: (dot(hv, v),) * 2

    return step


def hvp_dataset(task):
    """One exact product over all images: pieces weighted by their size, each graph built and dropped."""
    n, v, pieces = task.options["images"], task.vector(), task.pieces

    def step():
        task.hvps = 0
        total = [torch.zeros_like(t) for t in v]
        for x, y in pieces:
            for acc, h in zip(total, operator(task, x, y)(v)):
                acc.add_(h, alpha=len(y) / n)
        check = dot(total, v)
        return check, check

    return step


def layer_indices(task):
    keys = list(task.params)
    return [(k, [i for i, q in enumerate(keys) if q.rsplit(".", 1)[0] == k]) for k in task.net.layers(keys)]


def block_eigs(task):
    """Power iteration on every layer's block, from sin() start vectors; returns the sum of the eigenvalues."""
    apply, start = operator(task), task.vector()

    def top(idx):
        v = [start[i] for i in idx]
        value = 0.0
        for _ in range(task.options["iterations"]):
            size = dot(v, v) ** 0.5
            v = [t / size for t in v]
            hv = apply(v, idx)
            value = dot(hv, v)
            v = hv
        return value

    def step():
        task.hvps = 0
        values = [top(idx) for _, idx in layer_indices(task)]
        return sum(values), sum(map(abs, values))

    return step


def traces(task):
    """Hutchinson by joint probes, the signs of sin() vectors, one number a layer's weight; returns
    the sum over layers, and of their sizes."""
    apply, layers = operator(task), layer_indices(task)
    probes = [[torch.where(t < 0, -1.0, 1.0) for t in task.vector(j)] for j in range(task.options["probes"])]

    def step():
        task.hvps = 0
        got = {k: 0.0 for k, _ in layers}
        for v in probes:
            hv = apply(v)
            for k, idx in layers:
                got[k] += dot([v[idx[0]]], [hv[idx[0]]]) / task.options["probes"]
        return sum(got.values()), sum(map(abs, got.values()))

    return step


def lanczos(task):
    """Fixed number of steps, full re-orthogonalisation twice (float32 vectors); returns the top Ritz value."""
    apply, n = operator(task), sum(p.numel() for p in task.list)
    shapes = [p.shape for p in task.list]

    def matvec(q):
        parts = [t.reshape(s) for t, s in zip(q.split([s.numel() for s in shapes]), shapes)]
        return torch.cat([t.reshape(-1) for t in apply([task.lay(t) for t in parts])])

    def step():
        task.hvps = 0
        steps = task.options["steps"]
        basis = torch.zeros(steps + 1, n)
        q = torch.cat([t.contiguous().reshape(-1) for t in task.vector()])
        basis[0] = q / q.norm()
        alpha, beta = [], []
        for m in range(steps):
            w = matvec(basis[m])
            alpha.append(float(w @ basis[m]))
            for _ in range(2):
                w = w - basis[: m + 1].T @ (basis[: m + 1] @ w)
            beta.append(float(w.norm()))
            basis[m + 1] = w / beta[-1]
        t = np.diag(alpha) + np.diag(beta[:-1], 1) + np.diag(beta[:-1], -1)
        return (float(np.linalg.eigvalsh(t)[-1]),)

    return step


def fake_quant_weights(values, names, bits):
    """Per output channel, symmetric; the same rule as the golden files'."""
    top, out = 2 ** (bits - 1) - 1, dict(values)
    for k in names:
        w = values[k + ".weight"]
        s = (w.abs().reshape(w.shape[0], -1).amax(1) / top).clamp_min(1e-8).reshape(-1, *[1] * (w.dim() - 1))
        out[k + ".weight"] = torch.clamp(torch.round(w / s), -top - 1, top) * s
    return out


def evaluate(task):
    """How many of 10,000 images are right, and the mean of the largest output; bits: weights and
    activations fake-quantized on the fly."""
    bits, pieces = task.options["bits"], task.pieces
    layers = task.net.layers(list(task.values))
    scales, at = [], [0]

    def observe(t):
        scales.append(max(float(F.relu(t).max()) / (2 ** bits - 1), 1e-8))
        return F.relu(t)

    def quantized(t):
        at[0] += 1
        return torch.fake_quantize_per_tensor_affine(F.relu(t), scales[at[0] - 1], 0, 0, 2 ** bits - 1)

    if bits:
        with torch.no_grad():
            task.net(task.ops, task.values, task.buffers, pieces[0][0], observe)

    def step():
        right, most = 0, 0.0
        with torch.inference_mode():
            p = fake_quant_weights(task.values, layers, bits) if bits else task.values
            p = {k: task.lay(t) for k, t in p.items()}
            for x, y in pieces:
                at[0] = 0
                z = task.net(task.ops, p, task.buffers, x, quantized if bits else F.relu)
                right += int((z.argmax(1) == y).sum())
                most += float(z.amax(1).double().sum())
        return right, most / task.options["images"]

    return step

"""Golden values of the two CIFAR-10 ResNet20 checkpoints on real images, float64.

Images are rows of the CIFAR-10 binary files (1 label byte, 3072 planar RGB
bytes), x = (byte/255 - mean)/std evaluated in float64; weights are the
checkpoints' float32 values widened.  See README.md for every field.
"""
import collections
import hashlib
import math
import os
import sys
import time

import numpy as np
import torch
import torch.nn.functional as F

import formula
import nets
from curvature import Problem, flat, lanczos, mean_stderr

BLOCK_SAMPLES = 8
IMAGES = 64             # rows 0..63 of test_batch.bin
FEW = 2                 # rows 0..1: check of the exact traces
CHECKPOINTS = {
    "resnet20_a": {"file": "resnet20-12fca82f.th", "shortcut": "A",
                   "sha256": "12fca82f0bebc4135bf1f32f6e3710e61d5108578464b84fd6d7f5c1b04036c8",
                   "mean": [0.485, 0.456, 0.406], "std": [0.229, 0.224, 0.225]},
    "resnet20_b": {"file": "pyhessian-resnet20.pkl", "shortcut": "B",
                   "sha256": "540b6fa4571068396e1e95c9159b14449dc2d18fa120476b209834b38214a719",
                   "mean": [0.4914, 0.4822, 0.4465], "std": [0.2023, 0.1994, 0.2010]},
}
T0 = time.time()


def log(text):
    print(f"{time.time() - T0:8.1f} s  {text}", file=sys.stderr, flush=True)


def read_rows(path, rows=None):
    """(labels, pixels[N,3,32,32] uint8) of one CIFAR-10 binary file."""
    data = np.fromfile(path, dtype=np.uint8).reshape(-1, 3073)
    if rows is not None:
        data = data[rows]
    return torch.from_numpy(data[:, 0].astype(np.int64)), data[:, 1:].reshape(-1, 3, 32, 32)


def normalise(pixels, mean, std, dtype=torch.float64):
    x = torch.from_numpy(pixels).to(dtype) / 255
    m, s = (torch.tensor(t, dtype=dtype).reshape(1, 3, 1, 1) for t in (mean, std))
    return (x - m) / s


class Network:
    """One checkpoint: parameters in model order (float64) and running statistics."""

    def __init__(self, key, data):
        self.info = dict(CHECKPOINTS[key])
        path = os.path.join(data, "weights", self.info["file"])
        with open(path, "rb") as f:
            assert hashlib.sha256(f.read()).hexdigest() == self.info["sha256"], path
        saved = torch.load(path, map_location="cpu", weights_only=False) \
            if torch.__version__ >= "2" else torch.load(path, map_location="cpu")
        state = {k[len("module."):]: t for k, t in saved.get("state_dict", saved).items()}
        self.net = nets.CifarResNet(self.info["shortcut"])
        self.params = collections.OrderedDict((k, state[k].double()) for k in self.net.names())
        self.stats = {k: t.double() for k, t in state.items() if "running" in k}
        assert set(state) == set(self.params) | set(self.stats) | {k for k in state if "num_batches" in k}

    def images(self, pixels, dtype=torch.float64):
        return normalise(pixels, self.info["mean"], self.info["std"], dtype)

    def problem(self, pixels, y, bn="eval"):
        x = self.images(pixels)
        p = {k: t.clone() for k, t in self.params.items()}
        return Problem(p, lambda q: self.net(q, self.stats, x, bn), lambda z: F.cross_entropy(z, y))

    def correct(self, pixels, y):
        """How many of the images are right, float32, eval batch-norm."""
        p = {k: t.float() for k, t in self.params.items()}
        s = {k: t.float() for k, t in self.stats.items()}
        with torch.no_grad():
            return sum(int((self.net(p, s, self.images(px, torch.float32), "eval").argmax(1) == t).sum())
                       for px, t in zip(np.split(pixels, 20), y.chunk(20)))


def products(prob, layers):
    """loss, gradient, H v whole and by layer, for v = formula.probe."""
    v = formula.probe(prob.n)
    hv = prob.hvp(v)
    out = {"loss": prob.loss.item(), "logits": formula.digest(prob.logits),
           "grad": formula.digest(flat(prob.grads)), "hv": formula.digest(hv), "vhv": float(v @ hv), "blocks": {}}
    for b in layers:
        o, n = prob.offset(b), prob.size(b)
        hb = prob.hvp(v[o:o + n], b)
        out["blocks"][b] = {"offset": o, "n": n, "vhv": float(v[o:o + n] @ hb), "hv": formula.digest(hb, BLOCK_SAMPLES)}
    return out


def block_eigenvalues(prob, layers):
    """Largest eigenvalue of every layer's block (none is negative, see exact_traces)."""
    out = {}
    for b in layers:
        out[b] = lanczos(lambda v, b=b: prob.hvp(v, b), prob.size(b), 1, "LA", 1e-10)
        log(f"{b}: {out[b]['values'][0]:.10g} in {out[b]['hvps']}")
    return out


def rademacher_traces(prob, layers, probes, seed):
    """Joint probes: v' H v restricted to every layer, and over all parameters; mean and standard error."""
    gen = torch.Generator().manual_seed(seed)
    got = {b: [] for b in ["all", *layers]}
    for _ in range(probes):
        v = torch.randint(0, 2, (prob.n,), generator=gen).double() * 2 - 1
        q = v * prob.hvp(v)
        got["all"].append(float(q.sum()))
        for b in layers:
            o = prob.offset(b)
            got[b].append(float(q[o:o + prob.size(b)].sum()))
    return {"probes": probes, "mean_stderr": {b: list(mean_stderr(x)) for b, x in got.items()}}


def exact_traces(network, pixels, y):
    """Traces without sampling: of the Hessian (eval batch-norm) and of the empirical Fisher matrix.

    Between the kinks of ReLU the logits are linear in the parameters of any
    one layer while the others are held, so that layer's Hessian block has no
    term but Gauss-Newton's, and the whole trace is the sum over layers:
    Tr H = Tr G = (1/N) sum_n sum_c |J_n' s_c|^2 with diag(p) - p p' =
    sum_c s_c s_c', s_c = sqrt(p_c) (e_c - p).  Tr F = (1/N) sum_n |g_n|^2.
    """
    names = list(network.params)
    hess, fisher = (dict.fromkeys(["all", *names], 0.0) for _ in range(2))
    for n in range(len(y)):
        prob = network.problem(pixels[n:n + 1], y[n:n + 1])
        soft = torch.softmax(prob.logits.detach()[0], 0)
        eye = torch.eye(len(soft))
        rows = [(hess, (soft[c].sqrt() * (eye[c] - soft))[None]) for c in range(len(soft))]
        for acc, w in rows + [(fisher, (soft - eye[y[n]])[None])]:
            sq = prob.vjp(w) ** 2 / len(y)
            acc["all"] += float(sq.sum())
            for b in names:
                o = prob.offset(b)
                acc[b] += float(sq[o:o + prob.size(b)].sum())
    return {"hessian": hess, "fisher": fisher}


def check_exact_traces(network, pixels, y, block):
    """The identity above against the Hessian's own diagonal, entry by entry, on a few images."""
    prob = network.problem(pixels, y)
    n = prob.size(block)
    diag = math.fsum(float(prob.hvp(e, block)[j]) for j, e in enumerate(torch.eye(n)))
    other = exact_traces(network, pixels, y)["hessian"][block]
    log(f"trace of {block}: {diag:.15g} by columns, {other:.15g} by rows of J")
    assert abs(diag - other) < 1e-9 * abs(diag)


def quantized(w, bits):
    """Symmetric, per output channel: S = max|w| / (2^(bits-1) - 1), round half to even, clamp, times S."""
    top = 2 ** (bits - 1) - 1
    s = (w.abs().reshape(w.shape[0], -1).amax(1) / top).clamp_min(1e-8).reshape(-1, *[1] * (w.dim() - 1))
    return torch.clamp(torch.round(w / s), -top - 1, top) * s


def quantization(network, prob, pixels, y, layers):
    """For each weight and bit width: |dW|^2, g'dW, dW'H dW / 2 and the measured change of the loss."""
    x, out = network.images(pixels), {}
    for b in layers:
        name = b + ".weight"
        i = prob.names.index(name)
        out[name] = {}
        for bits in (2, 3, 4, 8):
            dw = quantized(network.params[name], bits) - network.params[name]
            d = dw.reshape(-1)
            with torch.no_grad():
                q = dict(network.params)
                q[name] = network.params[name] + dw
                measured = float(F.cross_entropy(network.net(q, network.stats, x, "eval"), y) - prob.loss)
            out[name][str(bits)] = {"dw2": float(d @ d), "linear": float((prob.grads[i].reshape(-1) @ d).detach()),
                                    "quadratic": 0.5 * float(d @ prob.hvp(d, name)), "measured": measured}
    return out


def network_case(key, data, cifar, quick=False):
    """Everything of one checkpoint on the first rows of test_batch.bin; quick leaves out the long sums."""
    net = Network(key, data)
    layers = net.net.layers()
    y_all, px_all = read_rows(os.path.join(cifar, "test_batch.bin"))
    y, px = y_all[:IMAGES], px_all[:IMAGES]
    out = {"checkpoint": net.info,
           "images": {"file": "test_batch.bin", "rows": [0, IMAGES], "labels": y.tolist(),
                      "byte_sum": int(px.astype(np.int64).sum()), "x": formula.digest(net.images(px), 16)},
           "parameters": [[k, t.numel()] for k, t in net.params.items()],
           "layers": layers}
    prob = net.problem(px, y)
    v = formula.probe(prob.n)
    log(f"{key}: n {prob.n} loss {prob.loss.item():.15g}")
    out["eval"] = products(prob, [*layers, "bn1", "layer3.2.bn2"])
    out["eval"]["correct"] = int((prob.logits.argmax(1) == y).sum())
    out["eval"]["ggn_v"], out["eval"]["fisher_v"] = formula.digest(prob.ggn(v)), formula.digest(prob.fisher(v))
    log(f"{key}: eval products done")
    batch = net.problem(px, y, "batch")
    out["batch"] = products(batch, [*layers, "bn1", "layer3.2.bn2"])
    out["batch"]["ggn_v"] = formula.digest(batch.ggn(v))
    log(f"{key}: batch products done")
    if quick:
        return out
    out["test_batch_correct"] = net.correct(px_all, y_all)
    log(f"{key}: {out['test_batch_correct']} right")
    out["quantization"] = quantization(net, prob, px, y, layers)
    out["exact_traces"] = exact_traces(net, px, y)
    for b in ("bn1.weight", net.net.head + ".weight", "conv1.weight"):
        check_exact_traces(net, px[:FEW], y[:FEW], b)
    log(f"{key}: quantization and exact traces done")
    out["eval"]["largest"] = lanczos(prob.hvp, prob.n, 5, "LA", 1e-10, log=log)
    out["batch"]["largest"] = lanczos(batch.hvp, batch.n, 3, "LA", 1e-10, log=log)
    del batch
    out["eval"]["smallest"] = lanczos(prob.hvp, prob.n, 1, "SA", 1e-3, maxiter=60, log=log)
    out["eval"]["block_eigenvalues"] = block_eigenvalues(prob, layers)
    out["eval"]["traces"] = rademacher_traces(prob, layers, 30, 7)
    log(f"{key}: traces done")
    return out


# --- the 200 training images -------------------------------------------------

PUBLISHED_SHA = ("ba6aefc1", "7c18")     # first and last digits of the published digest
PUBLISHED_SUM = 73302986
EIGENPAIRS = {"resnet20_b": 7, "resnet20_a": 4}


def rows_of_first_files(per_class=20, classes=10, each=5000, seed=1):
    """Where the first `per_class` files of every class went.

    The unpack script sorts the 50,000 training files by (class, name) and
    writes file order[r] as row r, order = RandomState(1).permutation(50000).
    Row r is row r mod 10000 of data_batch_(1 + r div 10000).bin.
    """
    order = np.random.RandomState(seed).permutation(classes * each)
    where = np.empty_like(order)
    where[order] = np.arange(len(order))
    return [int(where[c * each + j]) for c in range(classes) for j in range(per_class)]


def jpeg200(data, cifar):
    rows = rows_of_first_files()
    batches = [read_rows(os.path.join(cifar, f"data_batch_{b}.bin")) for b in range(1, 6)]
    y = torch.stack([batches[r // 10000][0][r % 10000] for r in rows])
    px = np.stack([batches[r // 10000][1][r % 10000] for r in rows])
    assert y.tolist() == [c for c in range(10) for _ in range(20)]
    sha = hashlib.sha256(np.ascontiguousarray(px.transpose(0, 2, 3, 1)).tobytes()).hexdigest()
    total = int(px.astype(np.int64).sum())
    log(f"200 images: sha256 {sha} sum {total}")
    assert sha.startswith(PUBLISHED_SHA[0]) and sha.endswith(PUBLISHED_SHA[1]) and total == PUBLISHED_SUM
    out = {"images": {"rows": rows, "hwc_sha256": sha, "byte_sum": total}}
    for key, want in EIGENPAIRS.items():
        net = Network(key, data)
        prob = net.problem(px, y)
        v = formula.probe(prob.n)
        out[key] = {"n": prob.n, "correct": int((prob.logits.argmax(1) == y).sum()), "loss": prob.loss.item(),
                    "grad": formula.digest(flat(prob.grads), 16), "hv": formula.digest(prob.hvp(v), 16)}
        log(f"{key}: loss {out[key]['loss']:.12g} |g| {out[key]['grad']['norm2']:.12g}")
        out[key]["largest"] = lanczos(prob.hvp, prob.n, want, "LA", 1e-10, maxiter=80, log=log)
        log(f"{key}: {out[key]['largest']}")
        out[key]["exact_traces"] = exact_traces(net, px, y)["hessian"]
    return out

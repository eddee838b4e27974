"""Golden cases that need no data: every number of the problem is a formula.

A case in the JSON is complete: the list of parameters in model order with
shape and formula (tensor number k = position in the list, 1-based), inputs,
labels, loss, and what PyTorch says about it.  A test rebuilds the network
from nets.py's description in README.md and compares.
"""
import torch
import torch.nn.functional as F

import formula
import nets
from curvature import Problem

BLOCK_SAMPLES = 8
X_K, X2_K, Y_K = 1000, 1001, 2000     # tensor numbers of inputs and labels


class Params:
    """Builds parameters by formula and records how, in model order."""

    def __init__(self):
        self.value, self.spec = {}, []

    def add(self, name, shape, scale, shift=0.0):
        k = len(self.spec) + 1
        self.value[name] = formula.tensor(k, shape, scale, shift)
        self.spec.append({"name": name, "shape": list(shape), "k": k, "scale": scale, "shift": shift})

    def linear(self, name, n_in, n_out):
        self.add(name + ".weight", (n_out, n_in), round(1.4 / n_in ** 0.5, 3))
        self.add(name + ".bias", (n_out,), 0.1)

    def norm(self, name, n):
        self.add(name + ".weight", (n,), 0.3, 1.0)
        self.add(name + ".bias", (n,), 0.2)


def stats_for(spec):
    """Running statistics by formula: k from 500 on, means 0.2 sin, variances 1 + 0.5 sin."""
    stats, out, k = {}, [], 500
    for name, n in spec:
        for what, scale, shift in (("running_mean", 0.2, 0.0), ("running_var", 0.5, 1.0)):
            stats[f"{name}.{what}"] = formula.tensor(k, (n,), scale, shift)
            out.append({"name": f"{name}.{what}", "shape": [n], "k": k, "scale": scale, "shift": shift})
            k += 1
    return stats, out


def extremes(eigenvalues, count):
    """Ascending eigenvalues -> all of them, or `count` from each end."""
    ev = eigenvalues.tolist()
    if len(ev) <= 2 * count:
        return {"all_ascending": ev}
    return {"smallest": ev[:count], "largest": ev[-count:][::-1]}


def quantities(prob, fisher, blocks, dense):
    """Everything measured of one problem; v is formula.probe over the flat parameters."""
    v = formula.probe(prob.n)
    hv = prob.hvp(v)
    out = {
        "n": prob.n,
        "logits": formula.digest(prob.logits),
        "loss": prob.loss.item(),
        "grad": formula.digest(torch.cat([g.reshape(-1) for g in prob.grads])),
        "hv": formula.digest(hv),
        "vhv": float(v @ hv),
        "jv": formula.digest(prob.jvp(v)),
        "ggn_v": formula.digest(prob.ggn(v)),
    }
    if fisher:
        out["fisher_v"] = formula.digest(prob.fisher(v))
    out["blocks"] = {}
    for b in blocks:
        o, n = prob.offset(b), prob.size(b)
        hb = prob.hvp(v[o:o + n], b)
        out["blocks"][b] = {"offset": o, "n": n, "vhv": float(v[o:o + n] @ hb),
                            "hv": formula.digest(hb, BLOCK_SAMPLES)}
    if dense:
        h = prob.dense()
        assert float((h - h.T).abs().max()) < 1e-11 * float(h.abs().max())
        out["dense"] = {"trace": float(h.trace()), "frobenius": float(h.norm()),
                        "diagonal": formula.digest(h.diagonal(), 16),
                        "eigenvalues": extremes(torch.linalg.eigvalsh((h + h.T) / 2), 12)}
        for b in blocks:
            o, n = prob.offset(b), prob.size(b)
            hb = h[o:o + n, o:o + n]
            ev = torch.linalg.eigvalsh((hb + hb.T) / 2)
            out["blocks"][b].update(trace=float(hb.trace()), largest=float(ev[-1]), smallest=float(ev[0]))
    return out


def central_difference(build, prob):
    """Relative error of H v against (g(p + e v) - g(p - e v)) / 2e, as a check of the yardstick."""
    v, eps = formula.probe(prob.n), 1e-5
    base = {k: p.detach() for k, p in zip(prob.names, prob.params)}
    parts = dict(zip(prob.names, prob.split(v)))
    g = [torch.cat([t.reshape(-1) for t in build({k: base[k] + s * eps * parts[k] for k in base}).grads])
         for s in (1, -1)]
    hv = prob.hvp(v)
    return float(((g[0] - g[1]) / (2 * eps) - hv).norm().detach() / hv.norm())


def activation_traces(forward, loss, nodes):
    """Hessian of the loss in an activation a: the trace of sample n's diagonal block, times N.

    The factor N undoes the mean over the batch, so that the value is that of
    the sample's own loss; the samples' blocks are the only ones that are not
    zero.  Exact, by one reverse pass an element.
    """
    out = {}
    for node in nodes:
        kept = {}

        def tap(name, t):
            if name != node:
                return t
            kept[name] = t.detach().requires_grad_(True)
            return kept[name]

        value = loss(forward(tap))
        a = kept[node]
        rows, each = a.shape[0], a[0].numel()
        g = torch.autograd.grad(value, a, create_graph=True)[0].reshape(rows, each)
        trace = torch.zeros(rows)
        for j in range(each):
            h = torch.autograd.grad(g[:, j].sum(), a, retain_graph=True)[0].reshape(rows, each)
            trace += rows * h[:, j]
        out[node] = {"elements": each, "per_sample": trace.tolist(), "mean": float(trace.mean())}
    return out


def case(about, params, build, inputs, fisher=True, blocks=(), dense=True, stats=None):
    prob = build({k: t.clone() for k, t in params.value.items()})
    err = central_difference(build, prob)
    assert err < 1e-6, (about, err)
    out = {"about": about, "parameters": params.spec, "inputs": inputs}
    if stats:
        out["buffers"] = stats
    out.update(quantities(prob, fisher, blocks, dense))
    return out


def case_mlp(acts, loss):
    fn = {"tanh": torch.tanh, "gelu": F.gelu, "gelu_tanh": lambda t: F.gelu(t, approximate="tanh"),
          "sigmoid": torch.sigmoid, "silu": F.silu, "softplus": F.softplus, "none": lambda t: t}
    p = Params()
    sizes = (5, 7, 6, 4)
    for j in range(3):
        p.linear(f"fc{j + 1}", sizes[j], sizes[j + 1])
    n = 9
    x = formula.tensor(X_K, (n, 5))
    target = formula.labels(Y_K, n, 4) if loss == "cross_entropy" else formula.tensor(X2_K, (n, 4))
    inputs = {"x": {"k": X_K, "shape": [n, 5], "scale": 1.0, "shift": 0.0},
              "y": {"k": Y_K, "shape": [n], "classes": 4} if loss == "cross_entropy"
              else {"k": X2_K, "shape": [n, 4], "scale": 1.0, "shift": 0.0},
              "activations": acts, "loss": loss}
    crit = F.cross_entropy if loss == "cross_entropy" else F.mse_loss
    out = case("fc1 fc2 fc3 with the listed activation after each", p,
               lambda q: Problem(q, lambda r: nets.mlp(r, x, [fn[a] for a in acts]), lambda z: crit(z, target)),
               inputs, blocks=("fc1", "fc2", "fc3", "fc2.weight", "fc3.bias"))
    out["activation_traces"] = activation_traces(lambda tap: nets.mlp(p.value, x, [fn[a] for a in acts], tap),
                                                 lambda z: crit(z, target), ("act1", "act2"))
    return out


def case_conv(bn):
    p = Params()
    p.add("conv1.weight", (8, 3, 3, 2), 0.33)
    p.norm("bn1", 8)
    p.add("conv2.weight", (6, 4, 3, 3), 0.23)
    p.add("conv2.bias", (6,), 0.1)
    p.norm("bn2", 6)
    p.add("conv3.weight", (6, 1, 3, 2), 0.5)
    p.add("conv3.bias", (6,), 0.1)
    p.linear("fc", 18, 5)
    stats, spec = stats_for((("bn1", 8), ("bn2", 6)))
    n = 6
    x, y = formula.tensor(X_K, (n, 3, 9, 11)), formula.labels(Y_K, n, 5)
    inputs = {"x": {"k": X_K, "shape": [n, 3, 9, 11], "scale": 1.0, "shift": 0.0},
              "y": {"k": Y_K, "shape": [n], "classes": 5}, "bn": bn, "loss": "cross_entropy"}
    out = case("conv_net: stride, padding, dilation, groups, depthwise, batch-norm, max- and average-pool", p,
               lambda q: Problem(q, lambda r: nets.conv_net(r, stats, x, bn), lambda z: F.cross_entropy(z, y)),
               inputs, fisher=bn == "eval",
               blocks=("conv1", "bn1", "conv2", "bn2", "conv3", "fc", "conv2.weight"), stats=spec)
    if bn == "eval":
        out["activation_traces"] = activation_traces(lambda tap: nets.conv_net(p.value, stats, x, bn, tap),
                                                     lambda z: F.cross_entropy(z, y), ("pool1", "pool2"))
    return out


def case_shared():
    p = Params()
    p.add("conv.weight", (4, 4, 3, 3), 0.3)
    p.add("scale.s1", (1,), 0.0, 0.7)
    p.add("scale.s2", (1,), 0.0, -0.4)
    p.linear("fc", 4, 3)
    n = 5
    x, y = formula.tensor(X_K, (n, 4, 6, 5)), formula.labels(Y_K, n, 3)
    inputs = {"x": {"k": X_K, "shape": [n, 4, 6, 5], "scale": 1.0, "shift": 0.0},
              "y": {"k": Y_K, "shape": [n], "classes": 3}, "loss": "cross_entropy"}
    return case("shared_net: one kernel used twice, a(t) = t sin t, learned scales", p,
                lambda q: Problem(q, lambda r: nets.shared_net(r, x), lambda z: F.cross_entropy(z, y)),
                inputs, blocks=("conv", "scale.s1", "scale.s2", "fc"))


def case_encoder(masked):
    vocab, seq, dim, heads, ff, classes, n, layers = 11, 7, 8, 2, 16, 5, 4, 2
    p = Params()
    p.add("embed.word", (vocab, dim), 0.8)
    p.add("embed.position", (seq, dim), 0.4)
    p.norm("embed.norm", dim)
    for j in range(layers):
        at = f"layer{j + 1}"
        for m in "qkvo":
            p.linear(f"{at}.{m}", dim, dim)
        p.norm(f"{at}.norm1", dim)
        p.linear(f"{at}.up", dim, ff)
        p.linear(f"{at}.down", ff, dim)
        p.norm(f"{at}.norm2", dim)
    p.linear("head", dim, classes)
    ids = formula.labels(X_K, n * seq, vocab).reshape(n, seq)
    y = formula.labels(Y_K, n * seq, classes)
    lengths = [7, 5, 7, 3] if masked else [seq] * n
    keep = torch.arange(seq)[None, :] < torch.tensor(lengths)[:, None]
    bias = torch.where(keep, 0.0, -10000.0).double()[:, None, None, :]
    rows = keep.reshape(-1).nonzero().reshape(-1)
    inputs = {"ids": {"k": X_K, "shape": [n, seq], "classes": vocab}, "y": {"k": Y_K, "shape": [n, seq], "classes": classes},
              "lengths": lengths, "layers": layers, "heads": heads, "dim": dim, "feed_forward": ff, "eps": 1e-12,
              "loss": "cross_entropy over the first lengths[n] tokens of each sequence, mean over those tokens"}

    def forward(r):
        return nets.encoder(r, ids, bias, layers, heads).reshape(n * seq, classes)[rows]

    return case("encoder: embedding, attention, layer-norm, GELU, a head per token", p,
                lambda q: Problem(q, forward, lambda z: F.cross_entropy(z, y[rows])), inputs, fisher=False,
                blocks=("embed.word", "embed.norm", "layer1.q", "layer1.v", "layer1.norm1", "layer2.k", "layer2.up",
                        "layer2.norm2", "head"))


CASES = {
    "mlp_tanh": lambda: case_mlp(["tanh", "tanh", "none"], "cross_entropy"),
    "mlp_gelu": lambda: case_mlp(["gelu", "gelu_tanh", "none"], "cross_entropy"),
    "mlp_mse": lambda: case_mlp(["silu", "softplus", "sigmoid"], "mse"),
    "conv_eval": lambda: case_conv("eval"),
    "conv_batch": lambda: case_conv("batch"),
    "shared": case_shared,
    "encoder": lambda: case_encoder(False),
    "encoder_masked": lambda: case_encoder(True),
}

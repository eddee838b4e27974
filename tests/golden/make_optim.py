#!/usr/bin/env python3
"""Makes or checks optim.json: trajectories of PyTorch's optimizers and schedules.

usage: make_optim.py [--check] OUT        OUT: the folder of optim.json (this folder)

The problem: z = x w^T + b, mean cross-entropy; x[12,5] = formula 1, w[3,5] = formula
2 (scale 0.5), b[3] = formula 3 (scale 0.5), labels h(4,i) mod 3 (see README.md).
Batches are the rows in order, `batch` at a time; an epoch is one pass.  SGD, Adam,
AdamW and the schedules are torch.optim's, everything in float64.  LARS and
LAMB are not in torch.optim: here they are the formulas of their papers on torch tensors.
"""
import argparse
import json
import math
import os
import sys

import torch

sys.dont_write_bytecode = True
import formula

EPOCHS = 4


class Layerwise(torch.optim.Optimizer):
    """LARS and LAMB; parameters of one axis are left out unless decay_vectors."""

    def __init__(self, params, rule, lr, momentum=0.9, nesterov=False, eta=1e-3, betas=(0.9, 0.999), eps=1e-8,
                 weight_decay=0.0, decay_vectors=False):
        super().__init__(params, dict(lr=lr))
        self.rule, self.momentum, self.nesterov, self.eta, self.betas = rule, momentum, nesterov, eta, betas
        self.eps, self.weight_decay, self.decay_vectors = eps, weight_decay, decay_vectors

    @torch.no_grad()
    def step(self):
        for group in self.param_groups:
            for p in group["params"]:
                adapt = self.decay_vectors or p.dim() > 1
                wd = self.weight_decay if adapt else 0.0
                getattr(self, self.rule)(p, p.grad, self.state[p], group["lr"], wd, adapt)

    def lars(self, p, g, s, lr, wd, adapt):
        ratio = self.eta * p.norm() / (g.norm() + wd * p.norm() + self.eps) if adapt else 1.0
        d = ratio * (g + wd * p)
        s["m"] = d.clone() if "m" not in s else self.momentum * s["m"] + d
        p -= lr * (d + self.momentum * s["m"] if self.nesterov else s["m"])

    def lamb(self, p, g, s, lr, wd, adapt):
        b1, b2 = self.betas
        s["t"] = s.get("t", 0) + 1
        s["m"] = b1 * s.get("m", torch.zeros_like(p)) + (1 - b1) * g
        s["v"] = b2 * s.get("v", torch.zeros_like(p)) + (1 - b2) * g * g
        u = s["m"] / (1 - b1 ** s["t"]) / ((s["v"] / (1 - b2 ** s["t"])).sqrt() + self.eps) + wd * p
        p -= lr * (p.norm() / u.norm() if adapt else 1.0) * u


def adam_like(cls, o, w, b):
    return cls([w, b], lr=o["lr"], betas=(o["beta1"], o["beta2"]), eps=o["eps"], weight_decay=o["weight_decay"])


def optimizer(kind, o, w, b):
    if kind == "sgd":
        wd = o.get("weight_decay", 0.0)
        groups = [{"params": [w], "weight_decay": wd},
                  {"params": [b], "weight_decay": wd if o.get("decay_vectors", True) else 0.0}]
        return torch.optim.SGD(groups, lr=o["lr"], momentum=o.get("momentum", 0.0), nesterov=o.get("nesterov", False))
    if kind in ("adam", "adamw"):
        return adam_like(torch.optim.Adam if kind == "adam" else torch.optim.AdamW, o, w, b)
    o = dict(o)
    if "beta1" in o:
        o["betas"] = (o.pop("beta1"), o.pop("beta2"))
    return Layerwise([w, b], kind, **o)


def scheduler(spec, opt, steps):
    """torch's schedulers, stepped once an update."""
    kind, per_epoch = spec["kind"], steps // EPOCHS
    s = torch.optim.lr_scheduler
    if kind == "step":
        return s.MultiStepLR(opt, [m * per_epoch for m in spec["milestones"]], spec["factor"])
    if kind == "cosine":
        return s.CosineAnnealingLR(opt, steps, opt.param_groups[0]["lr"] * spec["floor"])
    if kind == "linear":
        return s.LinearLR(opt, 1.0, spec["floor"], steps)
    if kind == "warmup":
        return s.LinearLR(opt, spec["from"], 1.0, spec["epochs"] * per_epoch)
    return s.LambdaLR(opt, lambda t: 1.0)


CASES = {
    "sgd": {"kind": "sgd", "options": {"lr": 0.5}},
    "sgd_momentum": {"kind": "sgd", "options": {"lr": 0.2, "momentum": 0.9, "weight_decay": 0.05}},
    "sgd_nesterov": {"kind": "sgd", "options": {"lr": 0.2, "momentum": 0.8, "nesterov": True, "weight_decay": 0.05,
                                "decay_vectors": False}},
    "sgd_micro": {"kind": "sgd", "options": {"lr": 0.5, "momentum": 0.9}, "micro": 2},
    "sgd_clip": {"kind": "sgd", "options": {"lr": 0.5, "momentum": 0.9}, "clip": 0.1},
    "adam": {"kind": "adam", "options": {"lr": 0.05, "beta1": 0.8, "beta2": 0.95, "eps": 1e-6, "weight_decay": 0.1}},
    "adamw": {"kind": "adamw", "options": {"lr": 0.05, "beta1": 0.9, "beta2": 0.99, "eps": 1e-8, "weight_decay": 0.1}},
    "lars": {"kind": "lars", "options": {"lr": 2.0, "momentum": 0.9, "eta": 0.02, "weight_decay": 0.05}},
    "lars_vectors": {"kind": "lars", "options": {"lr": 2.0, "momentum": 0.9, "nesterov": True, "eta": 0.02,
                                             "weight_decay": 0.05, "decay_vectors": True}},
    "lamb": {"kind": "lamb", "options": {"lr": 0.05, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6, "weight_decay": 0.1}},
    "lamb_vectors": {"kind": "lamb", "options": {"lr": 0.05, "beta1": 0.9, "beta2": 0.99, "eps": 1e-6,
                                             "weight_decay": 0.1, "decay_vectors": True}},
    "step": {"kind": "sgd", "options": {"lr": 0.5}, "schedule": {"kind": "step", "milestones": [1, 3], "factor": 0.2}},
    "cosine": {"kind": "sgd", "options": {"lr": 0.5}, "schedule": {"kind": "cosine", "floor": 0.1}},
    "linear": {"kind": "sgd", "options": {"lr": 0.5}, "schedule": {"kind": "linear", "floor": 0.25}},
    "warmup": {"kind": "sgd", "options": {"lr": 0.5}, "schedule": {"kind": "warmup", "from": 0.1, "epochs": 2}},
}


def trajectory(case):
    x, y = formula.tensor(1, [12, 5]), formula.labels(4, 12, 3)
    w = formula.tensor(2, [3, 5], 0.5).requires_grad_()
    b = formula.tensor(3, [3], 0.5).requires_grad_()
    opt, batch = optimizer(case["kind"], case["options"], w, b), 4
    steps = EPOCHS * (12 // batch)
    plan = scheduler(case.get("schedule", {"kind": "constant"}), opt, steps)
    losses, rates = [], []
    for t in range(steps):
        first = t % (12 // batch) * batch
        opt.zero_grad()
        loss = torch.nn.functional.cross_entropy(x[first:first + batch] @ w.T + b, y[first:first + batch])
        loss.backward()
        if "clip" in case:
            norm = math.hypot(w.grad.norm().item(), b.grad.norm().item())
            for p in (w, b):  # clip_grad_norm_ without the 1e-6 it adds to the norm
                p.grad *= min(1.0, case["clip"] / norm)
        losses.append(loss.item())
        rates.append(opt.param_groups[0]["lr"])
        opt.step()
        plan.step()
    values = torch.cat([w.reshape(-1), b]).tolist()
    assert all(math.isfinite(v) for v in values)
    return {**case, "batch": batch, "epochs": EPOCHS, "losses": losses, "rates": rates, "parameters": values}


def main():
    ap = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][len("usage: "):])
    ap.add_argument("--check", action="store_true")
    ap.add_argument("out")
    args = ap.parse_args()
    torch.set_default_dtype(torch.float64)
    fresh = {"computed_by": {"torch": torch.__version__, "script": "make_optim.py"},
             "cases": {name: trajectory(c) for name, c in CASES.items()}}
    path = os.path.join(args.out, "optim.json")
    if not args.check:
        formula.dump(path, fresh)
        return 0
    with open(path) as f:
        diff = formula.compare(json.load(f), json.loads(json.dumps(fresh)), 1e-10)
    print("optim: " + (f"{len(diff)} differences" if diff else "agrees"), *diff[:20], sep="\n  ")
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())

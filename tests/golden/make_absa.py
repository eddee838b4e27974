#!/usr/bin/env python3
"""Makes or checks absa.json: whole trainings with ABSA, by PyTorch.

usage: make_absa.py [--check] OUT        OUT: the folder of absa.json (this folder)

The published program's loop (HessianFlow: absa.py, train.py, optm_utils.py) on a small
problem without random numbers: x[128,5] = 0.5 + formula 1 (scale 0.5), the label of a row
is the largest of its first three numbers, the network fc1 5 -> 8, tanh, fc2 8 -> 3 with
parameters of formula 3 ... 6 (scale 1.3), micro-batches of 16 rows in order, float64.  Two cases:

hessianflow  as published: what is left of a batch goes into the next epoch and the next
             batch size; the eigenvalue is that of largest magnitude by at most 10 steps
             of power iteration to 1 %, started from the probe vector of README.md,
             on "one batch of 128 images", here all.
exact        what is left of a batch makes an update of its own at the end of an epoch,
             scaled to the mean of its samples; the eigenvalue is the largest algebraic
             one of the whole Hessian, by a dense solver.
"""
import argparse
import json
import os
import sys

import torch
from torch.nn.functional import cross_entropy

sys.dont_write_bytecode = True
import formula

B0, EPOCHS, RMAX, KAPPA, RATIO = 16, 20, 5, 6, 2.0
LR, RHO, MILESTONES, MOMENTUM = 0.45, 0.2, [14, 17], 0.9
GAMMA, EPS = 0.25, 0.05
SHAPES = [[8, 5], [8], [3, 8], [3]]


def net(p, x):
    return torch.tanh(x @ p[0].T + p[1]) @ p[2].T + p[3]


def flat(ts):
    return torch.cat([t.reshape(-1) for t in ts])


def hvp(p, x, y, v):
    g = flat(torch.autograd.grad(cross_entropy(net(p, x), y), p, create_graph=True))
    return flat(torch.autograd.grad(g @ v, p))


def power_iteration(p, x, y):
    n = sum(t.numel() for t in p)
    v, mu = formula.probe(n), None
    v = v / (v.norm() + 1e-6)
    for _ in range(10):
        hv = hvp(p, x, y, v)
        before, mu = mu, (v @ hv).item()
        v = hv / (hv.norm() + 1e-6)
        if before is not None and abs(mu - before) / abs(before) < 1e-2:
            break
    return mu


def largest_algebraic(p, x, y):
    n = sum(t.numel() for t in p)
    h = torch.stack([hvp(p, x, y, e) for e in torch.eye(n)])
    return torch.linalg.eigvalsh((h + h.T) / 2)[-1].item()


def fgsm(p, x, y):
    x = x.clone().requires_grad_()
    g, = torch.autograd.grad(cross_entropy(net(p, x), y), x)
    return torch.clamp(x.detach() + EPS * g.sign(), x.min().item(), x.max().item())


class Sgd:
    """torch.optim.SGD whose learning rate changes between steps."""

    def __init__(self, p, lr):
        self.p, self.opt = p, torch.optim.SGD(p, lr=lr, momentum=MOMENTUM)

    def step(self, grads, lr):
        self.opt.param_groups[0]["lr"] = lr
        for t, g in zip(self.p, grads):
            t.grad = g
        self.opt.step()


def train(historic):
    x = formula.tensor(1, [128, 5], 0.5, 0.5)
    y = x[:, :3].argmax(1)
    p = [formula.tensor(3 + i, s, 1.3).requires_grad_() for i, s in enumerate(SHAPES)]
    sgd, total, inner, updates = Sgd(p, LR), None, 0, 0
    ratio, gamma, lr, reference, k, grow = 1, GAMMA, LR, None, 0, True
    rows = []

    def update():
        nonlocal total, updates
        sgd.step(total, lr)
        total, updates = None, updates + 1

    def grow_batch():
        nonlocal ratio, gamma, lr, k, grow
        old, ratio = ratio, min(int(ratio * RATIO), RMAX)
        gamma, k, lr = gamma / RATIO, 0, lr * ratio / old
        if ratio == RMAX:
            gamma, grow = 0.0, False

    for epoch in range(1, EPOCHS + 1):
        row = {"batch": B0 * ratio, "lr": lr, "attacked": gamma, "loss": 0.0}
        pending = 0
        for first in range(0, 128, B0):
            bx, by = x[first:first + B0], y[first:first + B0]
            if gamma > 1 / B0:
                m = max(int(B0 * gamma), 1)
                bx = torch.cat([fgsm(p, bx[:m], by[:m]), bx[m:]])
            loss = cross_entropy(net(p, bx), by)
            grads = torch.autograd.grad(loss / ratio, p)
            total = list(grads) if total is None else [a + g for a, g in zip(total, grads)]
            inner, pending = inner + 1, pending + 1
            row["loss"] += loss.item() / 8
            if inner % ratio == 0 if historic else pending == ratio:
                update()
                pending = 0
        if not historic and pending:
            total = [g * ratio / pending for g in total]
            update()
        row["updates"] = updates
        if grow:
            row["lambda"] = lam = (power_iteration if historic else largest_algebraic)(p, x, y)
            k += 1
            if reference is None:
                reference = lam
            elif lam <= reference / RATIO:
                reference = lam
                grow_batch()
            if k >= KAPPA:
                grow_batch()
        if epoch in MILESTONES:
            lr *= RHO
        if epoch >= EPOCHS // 2:
            gamma = 0.0
        rows.append(row)
    return {"rows": rows, "parameters": flat(p).tolist()}


def main():
    ap = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][len("usage: "):])
    ap.add_argument("--check", action="store_true")
    ap.add_argument("out")
    args = ap.parse_args()
    torch.set_default_dtype(torch.float64)
    fresh = {"computed_by": {"torch": torch.__version__, "script": "make_absa.py"},
             "options": {"base": B0, "max": B0 * RMAX, "epochs": EPOCHS, "patience": KAPPA, "grow": RATIO,
                         "decay": RHO, "milestones": MILESTONES, "attacked": GAMMA, "eps": EPS},
             "lr": LR, "momentum": MOMENTUM, "hessianflow": train(True), "exact": train(False)}
    path = os.path.join(args.out, "absa.json")
    if not args.check:
        formula.dump(path, fresh)
        return 0
    with open(path) as f:
        diff = formula.compare(json.load(f), json.loads(json.dumps(fresh)), 1e-8)
    print("absa: " + (f"{len(diff)} differences" if diff else "agrees"), *diff[:20], sep="\n  ")
    return 1 if diff else 0


if __name__ == "__main__":
    sys.exit(main())

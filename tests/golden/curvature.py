"""Second-order quantities of a loss by PyTorch reverse mode over reverse mode, float64.

Nothing here is clever: the gradient graph is built once and kept, and every
H v is one more reverse pass through it.  This is the yardstick, so it shares
no idea with the forward-over-reverse engine that is measured against it.
"""
import math

import torch
from torch.autograd import grad


def flat(parts):
    return torch.cat([p.reshape(-1) for p in parts])


class Problem:
    """loss(params) for fixed data: holds logits, loss, gradient and the gradient's graph.

    names/params are in model order; forward(dict) returns logits;
    loss(logits) is a scalar.
    """

    def __init__(self, params, forward, loss):
        self.names = list(params)
        self.params = [params[k] for k in self.names]
        for p in self.params:
            p.requires_grad_(True)
        self.logits = forward(params)
        self.loss = loss(self.logits)
        self.loss_of = loss
        self.grads = grad(self.loss, self.params, create_graph=True)
        self.start, n = {}, 0
        for name, p in zip(self.names, self.params):
            self.start[name] = n
            n += p.numel()
        self.n = n

    def members(self, block):
        """Positions of a block's parameters: None is all, else a parameter or layer name."""
        if block is None:
            return list(range(len(self.names)))
        return [i for i, k in enumerate(self.names) if k == block or k.rsplit(".", 1)[0] == block]

    def size(self, block=None):
        return sum(self.params[i].numel() for i in self.members(block))

    def offset(self, block):
        """Flat index of the block's first entry; the members of a block are contiguous here."""
        ids = self.members(block)
        assert ids == list(range(ids[0], ids[-1] + 1)), block
        return self.start[self.names[ids[0]]]

    def split(self, vec, block=None):
        out, at = [], 0
        for i in self.members(block):
            p = self.params[i]
            out.append(vec[at:at + p.numel()].reshape(p.shape))
            at += p.numel()
        assert at == vec.numel()
        return out

    def hvp(self, vec, block=None):
        """H v, or H_bb v for one block: d(g_b . v)/d(p_b)."""
        ids = self.members(block)
        hv = grad([self.grads[i] for i in ids], [self.params[i] for i in ids],
                  self.split(vec, block), retain_graph=True, allow_unused=True)
        return flat([torch.zeros_like(self.params[i]) if h is None else h for i, h in zip(ids, hv)])

    def jvp(self, vec):
        """J v of the logits by the double-vjp trick: d(J^T u . v)/du."""
        u = torch.zeros_like(self.logits, requires_grad=True)
        jtu = grad(self.logits, self.params, u, create_graph=True)
        return grad(jtu, u, self.split(vec), retain_graph=True)[0].detach()

    def vjp(self, w):
        return flat(grad(self.logits, self.params, w, retain_graph=True))

    def ggn(self, vec):
        """J^T H_L J v, H_L the Hessian of the loss in the logits."""
        z = self.logits.detach().requires_grad_(True)
        gz = grad(self.loss_of(z), z, create_graph=True)[0]
        return self.vjp(grad(gz, z, self.jvp(vec))[0])

    def fisher(self, vec):
        """Empirical Fisher times v: (1/N) sum_n g_n (g_n . v), sample n = row n of the logits.

        The loss is a mean over rows, so row n of dL/dz is (1/N) of l_n's.
        """
        z = self.logits.detach().requires_grad_(True)
        r = grad(self.loss_of(z), z)[0]
        rows = r.shape[0]
        inner = (r * self.jvp(vec)).reshape(rows, -1).sum(1) * rows
        return self.vjp(r * inner.reshape(-1, *[1] * (r.dim() - 1)))

    def dense(self):
        """The whole Hessian, column by column; small problems only."""
        eye = torch.eye(self.n, dtype=torch.float64)
        return torch.stack([self.hvp(e) for e in eye])


def tridiagonal(alpha, beta):
    t = torch.diag(torch.tensor(alpha, dtype=torch.float64))
    if beta:
        off = torch.tensor(beta, dtype=torch.float64)
        t = t + torch.diag(off, 1) + torch.diag(off, -1)
    return t


def lanczos(matvec, n, want=1, which="LA", tol=1e-10, maxiter=120, seed=0, log=None):
    """Largest ("LA") or smallest ("SA") `want` eigenvalues of a symmetric operator.

    Full re-orthogonalisation, twice.  The Ritz residual is |beta_m s_mi|; an
    eigenvalue lies within it, and its own error is of the order residual^2/gap.
    Stops when every wanted residual is <= tol * |theta|.
    """
    gen = torch.Generator().manual_seed(seed)
    q = torch.randn(n, generator=gen, dtype=torch.float64)
    basis, alpha, beta = [q / q.norm()], [], []
    for m in range(1, min(maxiter, n) + 1):
        w = matvec(basis[-1])
        alpha.append(float(basis[-1] @ w))
        stack = torch.stack(basis)
        for _ in range(2):
            w = w - stack.T @ (stack @ w)
        beta.append(float(w.norm()))
        t = tridiagonal(alpha, beta[:-1])
        theta, s = torch.linalg.eigh(t)
        if which == "LA":
            theta, s = theta.flip(0), s.flip(1)
        res = (beta[-1] * s[-1, :want]).abs()
        done = m >= want and bool((res <= tol * theta[:want].abs()).all())
        if log and m % 10 == 0:
            log(f"lanczos {which} {m}: {theta[0]:.12g} residual {res.max():.2e}")
        if done or m == n or beta[-1] <= 1e-14 * max(map(abs, alpha)):
            break
        basis.append(w / beta[-1])
    return {"values": theta[:want].tolist(), "residuals": res.tolist(), "hvps": m, "start_seed": seed}


def mean_stderr(xs):
    m = len(xs)
    mean = math.fsum(xs) / m
    var = math.fsum((x - mean) ** 2 for x in xs) / (m - 1)
    return mean, math.sqrt(var / m)

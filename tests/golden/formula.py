"""Numbers by formula, and the small summaries of long vectors that the golden files hold.

A golden file must be usable from C or Lua with nothing but the file itself.
So every input, weight and probe vector that does not come from a data set is
a formula that any language evaluates to the last bit or two: either sin() of
an exact small integer, or sin() of one rounded product.  All indices here are
0-based and flat vectors are in PyTorch (row-major, NCHW/OIHW) order.
"""
import json
import math

import torch

MOD = 10007
SAMPLES = 48


def hashed(k, i):
    """Integer in [0, 10007): h(k,i) = (31 i^2 + 7919 i + 104729 k) mod 10007."""
    return (31 * i * i + 7919 * i + 104729 * k) % MOD


def tensor(k, shape, scale=1.0, shift=0.0):
    """t[i] = shift + scale * sin(h(k,i)); k numbers the tensor, i its flat index."""
    n = math.prod(shape)
    flat = [shift + scale * math.sin(hashed(k, i)) for i in range(n)]
    return torch.tensor(flat, dtype=torch.float64).reshape(shape)


def labels(k, n, classes):
    """Class of sample i: h(k,i) mod classes, 0-based."""
    return torch.tensor([hashed(k, i) % classes for i in range(n)], dtype=torch.int64)


def probe(n, start=0):
    """v[i] = sin(0.37 * (start + i + 1)): the direction of every Hv here."""
    return torch.tensor([math.sin(0.37 * (start + i + 1)) for i in range(n)],
                        dtype=torch.float64)


def sample_index(n, count=SAMPLES):
    """Positions kept of an n-vector: all if n <= count, else (j*(n-1)) div (count-1)."""
    if n <= count:
        return list(range(n))
    return [j * (n - 1) // (count - 1) for j in range(count)]


def digest(vec, count=SAMPLES):
    """Summary of a flat vector r.

    n; norm2 = |r|_2; sum; dot_sin = sum r[i] sin(0.37 (i+1));
    dot_cos = sum r[i] cos(0.11 (i+1)); values = r at sample_index(n, count).
    The two dots see a permutation or a sign error that the norm does not.
    """
    r = vec.detach().double().reshape(-1).tolist()
    return {
        "n": len(r),
        "norm2": math.sqrt(math.fsum(a * a for a in r)),
        "sum": math.fsum(r),
        "dot_sin": math.fsum(a * math.sin(0.37 * (i + 1)) for i, a in enumerate(r)),
        "dot_cos": math.fsum(a * math.cos(0.11 * (i + 1)) for i, a in enumerate(r)),
        "values": [r[i] for i in sample_index(len(r), count)],
    }


def dump(path, obj):
    """JSON with shortest round-trip doubles; one key a line two levels deep, then compact."""

    def compact(x):
        return json.dumps(x, separators=(",", ":"))

    def level(x, depth):
        if isinstance(x, dict) and depth < 3 and any(isinstance(v, (dict, list)) for v in x.values()):
            pad = "  " * (depth + 1)
            body = ",\n".join(f"{pad}{json.dumps(k)}: {level(v, depth + 1)}" for k, v in x.items())
            return "{\n" + body + "\n" + "  " * depth + "}"
        return compact(x)

    with open(path, "w") as f:
        f.write(level(obj, 0) + "\n")


def compare(stored, fresh, rtol, path=""):
    """List of differences between two golden trees.

    Eigenpairs ("values" with "residuals") may differ by their residuals, the
    counts beside them are not compared, nor is who computed the file.
    """
    if path.endswith("computed_by"):
        return []
    if isinstance(stored, dict) and isinstance(fresh, dict):
        if "residuals" in stored and "residuals" in fresh:
            return compare_eigenvalues(stored, fresh, rtol, path)
        out = [f"{path}: keys differ {sorted(set(stored) ^ set(fresh))}"] if set(stored) != set(fresh) else []
        for k in stored:
            if k in fresh:
                out += compare(stored[k], fresh[k], rtol, f"{path}/{k}")
        return out
    if isinstance(stored, list) and isinstance(fresh, list):
        if len(stored) != len(fresh):
            return [f"{path}: length {len(stored)} against {len(fresh)}"]
        if stored and all(isinstance(a, float) for a in stored):
            # One vector: an entry near zero has no relative accuracy of its own.
            size = max(abs(a) for a in stored)
            worst = max(abs(a - b) for a, b in zip(stored, fresh))
            return [] if worst <= rtol * size else [f"{path}: off by {worst:.3e} of {size:.3e}"]
        return [d for i, (a, b) in enumerate(zip(stored, fresh)) for d in compare(a, b, rtol, f"{path}[{i}]")]
    if isinstance(stored, float) or isinstance(fresh, float):
        return [] if abs(stored - fresh) <= rtol * max(1.0, abs(stored)) else [f"{path}: {stored!r} against {fresh!r}"]
    return [] if stored == fresh else [f"{path}: {stored!r} against {fresh!r}"]


def compare_eigenvalues(stored, fresh, rtol, path):
    out = []
    for i, (a, b, ra, rb) in enumerate(zip(stored["values"], fresh["values"], stored["residuals"], fresh["residuals"])):
        if abs(a - b) > ra + rb + rtol * abs(a):
            out.append(f"{path}/values[{i}]: {a!r} against {b!r}")
    return out

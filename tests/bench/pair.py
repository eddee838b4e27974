#!/usr/bin/env python3
"""Runs the engine's bench and peer_torch.py in turn, A B A B, compares what they
computed, and prints one Markdown row a case with the ratios of every round.

usage: pair.py --bench PATH/bench [--rounds 3] [--repeat 5] [--threads 2] [--way WAY]
               [--prefix WORDS] [--write RESULTS.md] [--tensors FILE] [--cifar DIR] [CASE ...]

--way takes another of PyTorch's ways than the best known one; --prefix puts words
before every command of both sides ("taskset -c 0,1"); --write replaces the case's
row in a table of RESULTS.md, or adds it.

Ratios are ours / PyTorch's: of the wall clock (medians), as median (least to
greatest of the rounds).  Memory: peak resident set above what was resident before
the first computation (model, data, libraries), the same on both sides.  The limit
is the time that the case's multiply-adds, counted for direct convolutions, take
at the rate of a large matrix product, and that its kernels' reads and writes
take at the rate of a large copy; both rates are measured here, before the cases.

The check values of both sides must agree to the case's tolerance; otherwise the
row is not written and the exit status is 1.
"""
import argparse
import json
import os
import shlex
import statistics
import subprocess
import sys

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
# case -> (PyTorch's best way, tolerance of the check, most time and memory as shares of PyTorch's)
CASES = {
    "train-step": ("compile-cl", 1e-5, 0.6, 0.6),
    "gradient": ("compile-cl", 1e-5, 0.6, 0.6),
    "hvp": ("fast-cl", 1e-4, 0.4, 0.4),
    "hvp-4": ("fast-cl", 1e-4, None, None),
    "hvp-16": ("fast-cl", 1e-4, 0.25, None),
    "hvp-dataset": ("fast-cl", 1e-4, None, None),
    "block-eigs": ("fast-cl", 1e-3, 0.25, 0.4),
    "traces": ("fast-cl", 1e-4, 0.4, 0.4),
    "lanczos": ("fast-cl", 1e-3, 0.4, 0.4),
    "eval": ("native-cl", 1e-3, None, None),
    "quant-eval": ("native-cl", 5e-3, None, None),
    "resnet50-gradient": ("native-cl", 1e-4, 0.6, 0.6),
    "resnet50-hvp": ("fast-cl", 2e-3, 0.5, 0.5),
    "resnet50-hvp-4": ("fast-cl", 2e-3, None, None),
    "resnet50-hvp-16": ("fast-cl", 2e-3, 0.25, None),
    "resnet50-block-eigs": ("fast-cl", 5e-3, 0.333, 0.5),
    "bert-gradient": ("compile", 1e-5, 0.6, 0.6),
    "bert-hvp": ("native", 1e-3, 0.7, 0.7),
}
HEAD = ("| case | PyTorch's way | ours, s | PyTorch, s | time, ours / PyTorch's | target | memory, MiB | target | met "
        "| limit: arithmetic, memory, s |\n" + "| --- " * 10 + "|\n")


def line_of(command, env):
    run = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True, check=False)
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        sys.exit(f"{' '.join(command)}: {(run.stderr.strip() or run.stdout.strip())[-300:]}")
    return json.loads(lines[-1])


def commands(args, name, way):
    """The two sides' command lines."""
    prefix, more = shlex.split(args.prefix), [f"threads={args.threads}", f"repeat={args.repeat}"]
    peer = ["--repeat", str(args.repeat), "--threads", str(args.threads), "--malloc", "tuned"]
    if args.tensors:
        more, peer = more + [f"tensors={args.tensors}"], peer + ["--tensors", args.tensors]
    if args.cifar:
        more = more + [f"cifar={args.cifar}"]
        peer = peer + ["--cifar", os.path.join(args.cifar, "cifar-10-batches-bin")]
    return ([*prefix, args.bench, name, *more],
            [*prefix, sys.executable, os.path.join(HERE, "peer_torch.py"), "--case", name, "--way", way, *peer])


def disagreement(a, b, tolerance):
    """What of the check values differs by more than the tolerance, as text; '' when nothing does."""
    if len(a["check"]) != len(b["check"]):
        return f"{len(a['check'])} check values against {len(b['check'])}"
    for i, (x, y) in enumerate(zip(a["check"], b["check"])):
        if not abs(x - y) <= tolerance * max(abs(x), abs(y)):
            return f"check {i + 1}: {x!r} against {y!r}, further apart than {tolerance:g}"
    return ""


def against(ratio, target):
    return "–" if target is None else "yes" if ratio <= target else "no"


def row_of(name, way, a, b, machine):
    _, _, time_target, memory_target = CASES[name]
    wall = [x["seconds_median"] / y["seconds_median"] for x, y in zip(a, b)]
    ratio = statistics.median(wall)
    ours, theirs = max(x["peak_mib"] for x in a), max(y["peak_mib"] for y in b)
    least = min(x["seconds_min"] for x in a), min(y["seconds_min"] for y in b)
    met = against(ratio, time_target), against(ours / theirs, memory_target)
    limit = [a[0]["gmacs"] / machine["gmacs_per_s"], a[0]["gbytes"] / machine["gbytes_per_s"]]
    return (f"| {name} | {way} | {least[0]:.3f} | {least[1]:.3f} | {ratio:.2f} ({min(wall):.2f} to {max(wall):.2f}) "
            f"| {time_target or '–'} | {ours:.0f} : {theirs:.0f} = {ours / theirs:.2f} | {memory_target or '–'} "
            f"| {met[0]}, {met[1]} | {limit[0]:.3f}, {f'{limit[1]:.3f}' if limit[1] else 'not counted'} |")


def write_row(path, name, row):
    """Replaces the row of `name`, or puts it where CASES has it."""
    order = list(CASES)
    with open(path, encoding="utf-8") as f:
        lines = f.read().split("\n")
    if HEAD.split("\n", maxsplit=1)[0] not in lines:
        lines += HEAD.rstrip("\n").split("\n") + [""]
    at = lines.index(HEAD.split("\n", maxsplit=1)[0]) + 2
    while at < len(lines) and lines[at].startswith("| "):
        other = lines[at][2:].split(" |", maxsplit=1)[0]
        if other == name:
            del lines[at]
            continue
        if other in order and order.index(other) > order.index(name):
            break
        at += 1
    lines.insert(at, row)
    with open(path + ".new", "w", encoding="utf-8") as f:
        f.write("\n".join(lines))
    os.replace(path + ".new", path)


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--way")
    ap.add_argument("--prefix", default="")
    ap.add_argument("--write")
    ap.add_argument("--tensors")
    ap.add_argument("--cifar")
    ap.add_argument("cases", nargs="*")
    args = ap.parse_args()
    unknown = [c for c in args.cases if c not in CASES]
    if unknown:
        ap.error(f"no case {unknown[0]}; there are {', '.join(CASES)}")
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    machine = line_of([*shlex.split(args.prefix), args.bench, "machine", f"threads={args.threads}"], env)
    print(f"machine: {machine['gmacs_per_s']} G multiply-adds/s, {machine['gbytes_per_s']} GB/s copied", file=sys.stderr)
    print(HEAD, end="", flush=True)
    failed = 0
    for name in args.cases or CASES:
        way, tolerance = args.way or CASES[name][0], CASES[name][1]
        ours, theirs = commands(args, name, way)
        a, b = [], []
        for _ in range(args.rounds):
            a.append(line_of(ours, env))
            b.append(line_of(theirs, env))
            if "failed" in b[-1]:
                sys.exit(f"{name}, {way}: {b[-1]['failed']}")
        wrong = next(filter(None, (disagreement(x, y, tolerance) for x, y in zip(a, b))), "")
        if wrong:
            print(f"{name}: the sides disagree: {wrong}", file=sys.stderr)
            failed = 1
            continue
        row = row_of(name, way, a, b, machine)
        print(row, flush=True)
        if args.write:
            write_row(args.write, name, row)
    return failed


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Runs the engine's bench and peer_torch.py in turn, A B A B, and prints one
Markdown row a case with the ratios of every round.

usage: pair.py --bench PATH/bench [--rounds 3] [--repeat 5] [--threads 2] [CASE ...]

Ratios are ours / PyTorch's: of the wall clock (medians) and of processor
seconds of all threads (least run), each as median (least to greatest of the
rounds).  Memory: bytes above the model and data, ours from the engine's
account, PyTorch's peak resident set above its set before the first computation.
"""
import argparse
import json
import os
import statistics
import subprocess
import sys

HERE = os.path.dirname(os.path.abspath(__file__))
# case -> (arguments of bench, case and way of peer_torch.py, its best way)
CASES = {
    "gradient-resnet20": (["gradient"], "gradient-resnet20", "native-cl"),
    "hvp-resnet20": (["hvp"], "hvp-resnet20", "fast-cl"),
    "hvp-resnet20-native": (["hvp"], "hvp-resnet20", "native"),
    "hvp4-resnet20": (["hvp", "k=4"], "hvp4-resnet20", "fast-cl"),
    "hvp16-resnet20": (["hvp", "k=16"], "hvp16-resnet20", "fast-cl"),
    "block-eigs-resnet20": (["block-eigs"], "block-eigs-resnet20", "fast-cl"),
    "traces": (["traces"], "traces", "fast-cl"),
    "gradient-resnet50": (["gradient", "net=resnet50"], "gradient-resnet50", "native-cl"),
    "hvp-resnet50": (["hvp", "net=resnet50"], "hvp-resnet50", "fast-cl"),
    "block-eigs-resnet50": (["block-eigs", "net=resnet50", "iterations=2"], "block-eigs-resnet50", "fast-cl"),
}


def line_of(command, env):
    run = subprocess.run(command, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
    lines = run.stdout.strip().splitlines()
    if run.returncode or not lines:
        sys.exit(f"{' '.join(command)}: {run.stderr.strip()[-300:]}")
    return json.loads(lines[-1])


def spread(values):
    return f"{statistics.median(values):.2f} ({min(values):.2f} to {max(values):.2f})"


def main():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--bench", required=True)
    ap.add_argument("--rounds", type=int, default=3)
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("cases", nargs="*")
    args = ap.parse_args()
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads)}
    common = [f"repeat={args.repeat}", f"threads={args.threads}"]
    print("| case | PyTorch's way | ours, s | PyTorch, s | wall clock | processor time | memory, MiB |\n" + "| --- " * 7 + "|")
    for name in args.cases or CASES:
        ours, case, way = CASES[name]
        a, b = [], []
        for _ in range(args.rounds):
            a.append(line_of([args.bench, *ours, *common], env))
            b.append(line_of([sys.executable, os.path.join(HERE, "peer_torch.py"), "--case", case, "--way", way, "--repeat",
                              str(args.repeat), "--threads", str(args.threads), "--malloc", "tuned"], env))
        wall = [x["seconds_median"] / y["seconds_median"] for x, y in zip(a, b)]
        cpu = [x["cpu_s_min"] / y["cpu_s_min"] for x, y in zip(a, b)]
        mib = [x["peak_mib"] for x in a], [y["peak_mib"] - y["base_mib"] for y in b]
        least = min(x["seconds_min"] for x in a), min(y["seconds_min"] for y in b)
        print(f"| {name} | {way} | {least[0]:.3f} | {least[1]:.3f} | {spread(wall)} | {spread(cpu)} "
              f"| {max(mib[0]):.0f} : {max(mib[1]):.0f} = {max(mib[0]) / max(mib[1]):.2f} |", flush=True)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""The engine, PyTorch and JAX on one GPU: runs what is asked for and prints a table of
ours : eager : compiled : CUDA graphs : JAX, with the distance from the card's own limits.

usage: pair_gpu.py (--ours FILE | --bench "COMMAND") [--machine "COMMAND"] [--out PEERS.jsonl]
                   [--seconds N] [--torch PYTHON] [--jax PYTHON] [--math float32|tf32]
                   [--device cuda|cpu] [--smoke] [CASE ...]

--ours reads lines of `bench` that were measured before; --bench runs COMMAND CASE for each case.
--machine is what measures the card (cuda_machine), where FILE does not have it; without both,
PyTorch does.  --torch and --jax: Python interpreters that have them (python3); one that does not is
left out, and the table says so.  The peers run in groups, each one process: eager, CUDA graphs,
JAX, compiled; a group that has used up its part of --seconds (240) is ended, and cases that it had not
come to are a dash.  Their lines go to --out.  The table is that of ../gpu_table.py.

Exits 1 when sides that were measured disagree by more than the case's tolerance, or a peer fails
other than by a limit on time or memory; 77 when there is no peer at all.  --device cpu --smoke
tries all of it without a GPU.
"""
import argparse
import json
import os
import shlex
import subprocess
import sys
import threading
import time

sys.dont_write_bytecode = True
HERE = os.path.dirname(os.path.abspath(__file__))
sys.path.insert(0, os.path.dirname(HERE))
import gpu_table        # noqa: E402

CASES = ("hvp", "train-step", "block-eigs", "gradient", "hvp-4", "hvp-16",
         "resnet50-hvp", "resnet50-train-step", "resnet50-gradient", "bert-hvp", "bert-train-step", "bert-gradient",
         "resnet50-hvp-4", "bert-hvp-4", "resnet50-hvp-16", "bert-hvp-16", "resnet50-block-eigs", "bert-block-eigs")
# (name, script, ways, share of the time that is left)
GROUPS = (("eager", "peer_gpu.py", "fast,native,forward,vmap", 0.35), ("graph", "peer_gpu.py", "graph", 0.4),
          ("jax", "peer_jax.py", "kept,jit", 0.5), ("compiled", "peer_gpu.py", "compile,compile-graph", 1.0))
REPEAT = 5      # on both sides: the loss of a training depends on the number of steps


def has(python, module):
    try:
        return subprocess.run([python, "-c", f"import {module}"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL,
                              check=False).returncode == 0
    except OSError:
        return False


def lines_of(command, seconds, keep=None):
    """(JSON lines that the command prints, what became of it: "", "no time" or the reason); the lines
    go to the file `keep` as they come."""
    with subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True) as run:
        ended = threading.Event()
        clock = threading.Timer(seconds, lambda: (ended.set(), run.kill()))
        clock.start()
        said = []
        drain = threading.Thread(target=lambda: said.append(run.stderr.read()))
        drain.start()
        out = []
        for line in run.stdout:
            if line.startswith("{"):
                out.append(json.loads(line))
                print(line, end="", file=keep or sys.stderr, flush=True)
        drain.join()
        run.wait()
        clock.cancel()
    if ended.is_set():
        return out, "no time"
    if run.returncode and not any("failed" in x for x in out):
        return out, ("".join(said).strip().splitlines() or [f"status {run.returncode}"])[-1][:200]
    return out, ""


def ours(args):
    got, problems = gpu_table.read(args.ours) if args.ours else [], []
    if args.machine and not any(x.get("case") == "machine" for x in got):
        got += lines_of(shlex.split(args.machine), 60)[0]
    for case in args.cases if args.bench else ():
        words = [f"device={args.device}", f"math={args.math}", f"repeat={2 if case.endswith('eigs') else REPEAT}"]
        if args.device == "cpu":
            words = [w for w in words if not w.startswith("math=")]
        if case.startswith("resnet50"):
            words.append("batch=64")
        more, problem = lines_of([*shlex.split(args.bench), case, *words, *(["smoke=1"] if args.smoke else [])], 120)
        got += more
        if problem:
            problems.append(f"bench {case}: {problem}")
    return got, problems


def peers(args, keep):
    began, got, notes = time.monotonic(), [], []
    for name, script, ways, share in GROUPS:
        python, module = (args.jax, "jax") if name == "jax" else (args.torch, "torch")
        if not has(python, module):
            notes.append(f"{name}: {python} has no {module}")
            continue
        command = [python, os.path.join(HERE, script), "--case", ",".join(args.cases), "--way", ways,
                   "--repeat", str(REPEAT)]
        if script == "peer_gpu.py":
            command += ["--device", args.device]
        command += (["--smoke"] if args.smoke else []) + (["--tf32"] if args.math == "tf32" else [])
        more, problem = lines_of(command, max(5, (args.seconds - (time.monotonic() - began)) * share), keep)
        got += more
        if problem:
            notes.append(f"{name}: {problem}")
    return got, notes


def bad_ends(found):
    """Failures of peers that are no limit of the card."""
    return [f"{x['case']}, {x['way']}: {x['failed']}" for x in found
            if "failed" in x and "emory" not in x["failed"] and "RESOURCE_EXHAUSTED" not in x["failed"]]


def parse():
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--ours", default="")
    ap.add_argument("--bench", default="")
    ap.add_argument("--machine", default="")
    ap.add_argument("--out", default="")
    ap.add_argument("--seconds", type=float, default=240)
    ap.add_argument("--torch", default=sys.executable)
    ap.add_argument("--jax", default=sys.executable)
    ap.add_argument("--math", default="float32", choices=("float32", "tf32"))
    ap.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    ap.add_argument("--smoke", action="store_true")
    ap.add_argument("cases", nargs="*")
    args = ap.parse_args()
    if bool(args.ours) == bool(args.bench):
        ap.error("one of --ours and --bench")
    for case in args.cases:
        if case not in CASES:
            ap.error(f"no case {case}; there are {', '.join(CASES)}")
    args.cases = args.cases or list(CASES)
    return args


def main():
    args = parse()
    mine, problems = ours(args)
    with open(args.out or os.devnull, "a", encoding="utf-8") as keep:
        found, notes = peers(args, keep if args.out else None)
    if found and not any("gbytes_per_s" in x for x in mine) and has(args.torch, "torch"):
        found += lines_of([args.torch, os.path.join(HERE, "peer_gpu.py"), "--machine", "--device", args.device], 60)[0]
    shown = [x for x in mine if x.get("case") in args.cases or "seconds_median" not in x]
    print("\n".join(gpu_table.table(shown, found)))
    apart = gpu_table.disagreements(shown, found)
    for line in [*notes, *problems, *bad_ends(found), *apart]:
        print(f"pair_gpu: {line}", file=sys.stderr)
    if not found:
        return 77
    return 1 if problems or apart or bad_ends(found) else 0


if __name__ == "__main__":
    sys.exit(main())

#!/usr/bin/env python3
"""Rows for tests/bench/RESULTS.md from what tests/gpu.sh measured.

usage: gpu_table.py BENCH.jsonl [PEERS.jsonl]

BENCH has the lines of `bench` (and of `cuda_machine`), PEERS those of peer_gpu.py and
peer_jax.py; lines of other kinds are passed over.  One row a case and kind of arithmetic: our time,
the peers' best times, the quotients, and the distance from the card: our time over the least
time in which the card, at its measured rates, could do the multiply-adds and move the bytes that
the case's kernels read and write.  The least time is the larger of the two; kernels that
keep data in registers or caches may come below it.

Nothing is filled in that was not measured: a missing time is a dash.  "timed": algorithms chosen by
measured times, last bits may vary (bench's deterministic=0).
"""
import json
import sys


def read(path):
    out = []
    try:
        with open(path, encoding="utf-8") as f:
            for line in f:
                line = line.strip()
                if not line.startswith("{"):
                    continue
                try:
                    out.append(json.loads(line))
                except ValueError:      # a line cut short by a time limit
                    continue
    except OSError:
        pass
    return out


def milliseconds(x):
    return "-" if x is None else f"{1000 * x:.3g}" if x < 1 else f"{1000 * x:.0f}"


def quotient(a, b):
    return "-" if a is None or not b else f"{a / b:.2f}"


def best(peers, ours, ways):
    """(seconds, way) of the fastest of these ways; (None, None) without one."""
    found = [(p["seconds_median"], p["way"]) for p in peers
             if p.get("case") == ours["case"] and p.get("math", "float32") == ours["math"] and p.get("way") in ways
             and ours.get("batch") == p.get("batch", ours.get("batch")) and "seconds_median" in p]
    return min(found) if found else (None, None)


EAGER = ("native", "fast", "forward", "vmap")
COMPILED = ("compile",)
GRAPH = ("graph", "compile-graph")
JAX = ("jit", "kept")


def same(ours, peer):
    """Did both compute the same?  The loss of a training depends on the number of its steps."""
    alike = (ours["case"] == peer.get("case") and ours["math"] == peer.get("math", "float32")
             and ours.get("batch") == peer.get("batch", ours.get("batch")))
    return alike and not (ours["case"].endswith("train-step") and ours.get("repeat") != peer.get("repeat"))


def difference(ours, peer):
    """The largest relative difference of the check values, or None."""
    return max((abs(a - b) / abs(b) for a, b in zip(ours.get("check", []), peer.get("check", [])) if b), default=None)


def agreement(ours, peers):
    """The largest difference from all peers that computed the same, or None."""
    return max(filter(None, (difference(ours, p) for p in peers if same(ours, p))), default=None)


def tolerance(case):
    """Of float32: ResNet50's products lose digits in 50 layers, power iteration and training steps
    enlarge what the last bits differ by."""
    if case.endswith("block-eigs") or case == "resnet50-train-step":
        return 5e-3
    return 2e-3 if "hvp" in case else 1e-4


def disagreements(bench, peers):
    """What is further apart than the case allows, as text."""
    out = []
    for b in (b for b in bench if "seconds_median" in b and b["math"] == "float32"):
        for p in (p for p in peers if same(b, p)):
            off = difference(b, p)
            if off is not None and not off <= tolerance(b["case"]):
                out.append(f"{b['case']}: {b['check']}, but {p['way']} {p['check']}")
    return out


def limit(ours, machine):
    """(least seconds, what bounds it) on this card; (None, "") when not known."""
    macs, moved = machine.get("gmacs_per_s_" + ours["math"]), machine.get("gbytes_per_s")
    terms = []
    if macs and ours.get("gmacs"):
        terms.append((ours["gmacs"] / macs, "arithmetic"))
    if moved and ours.get("gbytes"):
        terms.append((ours["gbytes"] / moved, "memory"))
    return max(terms) if terms else (None, "")


def table(bench, peers):
    machine = next((b for b in bench if b.get("case") == "machine"),
                   next((p for p in peers if "gbytes_per_s" in p), {}))
    lines = []
    if machine:
        lines += [f"Device: {machine.get('card', 'not named')}.", "",
                  f"Card, measured: {machine.get('gbytes_per_s', '-')} GB/s (copy, read and written), "
                  f"10^9 multiply-adds/s of a product: float32 {machine.get('gmacs_per_s_float32', '-')}, "
                  f"TF32 {machine.get('gmacs_per_s_tf32', '-')}, bf16 {machine.get('gmacs_per_s_bf16', '-')}.", ""]
    lines += ["| case | math | hwb ms | PyTorch eager ms | compiled ms | CUDA graph ms | JAX ms | eager/hwb | "
              "compiled/hwb | graph/hwb | JAX/hwb | card's least ms | hwb/least | checks differ by |",
              "|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|"]
    for b in bench:
        if "seconds_median" not in b:
            continue
        mine = b["seconds_median"]
        eager, compiled, graph, jax = (best(peers, b, ways) for ways in (EAGER, COMPILED, GRAPH, JAX))
        least, bound = limit(b, machine)
        off = agreement(b, peers)
        lines.append("| " + " | ".join([
            b["case"], b["math"] + ("" if b.get("deterministic", True) else ", timed"), milliseconds(mine),
            *(milliseconds(t) + (f" ({way})" if way else "") for t, way in (eager, compiled, graph, jax)),
            *(quotient(t, mine) for t, _ in (eager, compiled, graph, jax)),
            milliseconds(least) + (f" ({bound})" if bound else ""), quotient(mine, least),
            "-" if off is None else f"{off:.1e}"]) + " |")
    apart = disagreements(bench, peers)
    if apart:
        lines += ["", "Not the same numbers:", ""] + [f"- {text}" for text in apart]
    failed = [p for p in peers if "failed" in p]
    if failed:
        lines += ["", "Peers that could not do a case:", ""]
        lines += [f"- {p['case']}, {p['way']}: {p['failed'][:160]}" for p in failed]
    return lines


def main(argv):
    if len(argv) not in (2, 3):
        print(__doc__.split("\n\n")[1], file=sys.stderr)
        return 2
    bench = read(argv[1])
    if not any("seconds_median" in b for b in bench):
        print(f"gpu_table: {argv[1]} has no measurement", file=sys.stderr)
        return 1
    print("\n".join(table(bench, read(argv[2]) if len(argv) == 3 else [])))
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv))

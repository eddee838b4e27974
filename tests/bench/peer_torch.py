#!/usr/bin/env python3
"""PyTorch on the benchmark cases: the other side of `hwb bench`.

usage: peer_torch.py [--list] [--case NAME,...] [--way NAME,...] [--repeat N] [--threads N]
                     [--malloc default|tuned] [--tensors FILE] [--cifar DIR] [--dump FILE]

One JSON line a (case, way):
  case, way; seconds_median, seconds_min, seconds_max over --repeat runs after
  one warm-up (--repeat 0: the warm-up itself); cpu_s_min: processor seconds of all threads in the least run,
  which says more than the wall clock on a machine with other work;
  setup_s: work done once per batch that every later vector reuses (building
  the gradient graph); first_s: the warm-up, compilation included;
  peak_mib: peak resident memory above base_mib, what was resident just
  before the first computation (interpreter, library, weights, data);
  check: numbers that must agree between ways and programs; hvps: products
  in one run, where it is a run of many; threads, malloc, versions.

Each (case, way) runs in a process of its own, so that memory is its own.
Weights and inputs are formulas (peer_spec.py); --tensors takes parameters by
name, and input.x / input.y, from a safetensors file instead; --dump writes
such a file for the case and stops.  v[i] = sin(0.37 (i+1)) over the flat
parameters.  K vectors: vector j starts at i + 1000 j.

Ways: "native" is the model as its users write it, second order by double
backward with the gradient graph kept (PyHessian); "-cl" channels-last;
"fast-cl" the same with a convolution whose double backward is convolutions,
and batch-norm in evaluation as a scale and shift; "forward" is forward over
reverse, the primal recomputed for every vector; "compile" is torch.compile of
torch.func's jvp of grad.
"""
import argparse
import ctypes
import json
import os
import statistics
import subprocess
import sys
import time

sys.dont_write_bytecode = True
MALLOC_TUNED = {"MALLOC_MMAP_THRESHOLD_": "4294967296", "MALLOC_TRIM_THRESHOLD_": "17179869184",
                "MALLOC_TOP_PAD_": "67108864"}


def rows():
    """case -> (network, function name, options, ways); the names are those of bench_cases.c"""
    conv = ("native", "native-cl", "fast-cl", "forward-cl", "forward-affine-cl")
    first = ("native", "native-cl", "compile-cl")
    out = {}
    for net, at in (("resnet20", ""), ("resnet50", "resnet50-"), ("bert", "bert-")):
        flat = net == "bert"
        out[at + "train-step"] = (net, "train_step", {}, ("native", "compile") if flat else first)
        out[at + "gradient"] = (net, "gradient", {}, ("native", "compile") if flat else first)
        hvp = ("native", "forward", "compile") if flat else conv + ("compile-affine-cl",)
        out[at + "hvp"] = (net, "hvp", {"k": 1}, hvp)
        for k in (4, 16):
            out[f"{at}hvp-{k}"] = (net, "hvp", {"k": k}, ("native",) if flat else ("native-cl", "fast-cl", "vmap-cl"))
    out["primal"] = ("resnet20", "primal", {}, conv)
    out["hvp-dataset"] = ("resnet20", "hvp_dataset", {"images": 2000, "file": "data_batch_1.bin"}, conv)
    out["block-eigs"] = ("resnet20", "block_eigs", {"iterations": 10}, conv)
    out["resnet50-block-eigs"] = ("resnet50", "block_eigs", {"iterations": 2}, ("native-cl", "fast-cl"))
    out["bert-block-eigs"] = ("bert", "block_eigs", {"iterations": 2}, ("native",))
    out["traces"] = ("resnet20", "traces", {"probes": 10}, ("native", "native-cl", "fast-cl"))
    out["lanczos"] = ("resnet20", "lanczos", {"steps": 30}, ("native", "native-cl", "fast-cl"))
    test = {"images": 10000, "file": "test_batch.bin"}
    out["eval"] = ("resnet20", "evaluate", {"bits": None, **test}, ("native", "native-cl"))
    out["quant-eval"] = ("resnet20", "evaluate", {"bits": 4, **test}, ("native", "native-cl"))
    return out


def parse(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--list", action="store_true", help="names of cases and ways")
    ap.add_argument("--case", default="")
    ap.add_argument("--way", default="")
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("--malloc", choices=("default", "tuned"), default="default")
    ap.add_argument("--tensors")
    ap.add_argument("--cifar", help="folder of data_batch_1.bin and test_batch.bin, for real images")
    ap.add_argument("--dump")
    ap.add_argument("--child", action="store_true", help=argparse.SUPPRESS)
    return ap.parse_args(argv)


def children(args, argv):
    """Runs every chosen (case, way) in its own process and passes its line on."""
    env = {**os.environ, "OMP_NUM_THREADS": str(args.threads), "MKL_NUM_THREADS": str(args.threads)}
    if args.malloc == "tuned":
        env.update(MALLOC_TUNED)
    status = 0
    for case, (_, _, _, ways) in rows().items():
        if args.case and case not in args.case.split(","):
            continue
        for way in ways:
            if args.way and way not in args.way.split(","):
                continue
            cmd = [sys.executable, os.path.abspath(__file__), *argv, "--child", "--case", case, "--way", way]
            run = subprocess.run(cmd, env=env, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True)
            if run.returncode == 0:
                sys.stdout.write(run.stdout)
            else:
                status = 1
                reason = (run.stderr.strip().splitlines() or ["killed"])[-1]
                print(json.dumps({"case": case, "way": way, "failed": reason[:300]}))
            sys.stdout.flush()
    return status


def resident(which):
    """A line of /proc/self/status in MiB: VmRSS (resident now), VmHWM (at most)."""
    with open("/proc/self/status", encoding="ascii") as f:
        return next(int(line.split()[1]) for line in f if line.startswith(which)) / 1024


def resident_base():
    """Resident MiB now, with the record of the most set back to it."""
    ctypes.CDLL(None).malloc_trim(0)
    with open("/proc/self/clear_refs", "w", encoding="ascii") as f:
        f.write("5")
    return resident("VmRSS")


def child(args):
    import torch

    import peer_cases

    torch.set_num_threads(args.threads)
    net, function, options, _ = rows()[args.case]
    task = peer_cases.Task(net, args.way, options, args.tensors, args.cifar)
    if args.dump:
        task.dump(args.dump)
        return 0
    base = resident_base()
    t = time.perf_counter()
    step = getattr(peer_cases, function)(task)
    setup = time.perf_counter() - t
    t, c = time.perf_counter(), time.process_time()
    check = step()
    first = time.perf_counter() - t
    times, cpu = ([], []) if args.repeat else ([first], [time.process_time() - c])
    for _ in range(args.repeat):
        t, c = time.perf_counter(), time.process_time()
        check = step()
        times.append(time.perf_counter() - t)
        cpu.append(time.process_time() - c)
    check = check() if callable(check) else check
    print(json.dumps({
        "case": args.case, "way": args.way, "seconds_median": round(statistics.median(times), 5),
        "seconds_min": round(min(times), 5), "seconds_max": round(max(times), 5), "repeat": args.repeat,
        "cpu_s_min": round(min(cpu), 5), "setup_s": round(setup, 4), "first_s": round(first, 4), "peak_mib": round(resident("VmHWM") - base, 1),
        "base_mib": round(base, 1), "check": list(check), **({"hvps": task.hvps} if task.hvps else {}),
        "threads": args.threads, "malloc": args.malloc,
        "versions": {"torch": torch.__version__, "python": sys.version.split()[0]}}))
    return 0


def main(argv):
    args = parse(argv)
    if args.list:
        for case, (net, _, options, ways) in rows().items():
            print(f"{case:22} {net:9} {' '.join(ways)}", *(f"{k}={v}" for k, v in options.items() if v))
        return 0
    if args.child or args.dump:
        if args.dump and not args.way:
            args.way = rows()[args.case][3][0]
        return child(args)
    return children(args, argv)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

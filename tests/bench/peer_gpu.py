#!/usr/bin/env python3
"""PyTorch on a GPU, on the benchmark cases of a GPU: the other side of `bench CASE device=cuda`.

usage: peer_gpu.py [--case NAME,...] [--way NAME,...] [--repeat N] [--device cuda|cpu] [--batch N] [--tf32]
                   [--machine]

One JSON line a (case, way), in the manner of peer_torch.py; networks, weights, inputs and check
values are those of peer_nets.py and peer_cases.py.  Ways: "native" is double backward with the
gradient graph kept, channels-last; "fast" the same with convolutions whose double backward is
convolutions; "forward" is torch.func's jvp of grad, run op by op; "compile" is torch.compile of
the same; "graph" is the same captured as one CUDA graph; "vmap" takes K vectors at once.  First-order
cases: "native", "compile", "graph".  float32 is exact unless --tf32.

--machine prints what the card gives: bytes a second of a large copy (read and written), and
multiply-adds a second of a large product in float32, TF32 and bf16; a case's distance from these is
what `bench`'s gmacs and gbytes say of it.

Has run on a CPU only (--device cpu, where "graph" is left out).
"""
import argparse
import json
import statistics
import sys
import time

sys.dont_write_bytecode = True

FIRST = ("native", "compile", "graph")
SECOND = ("native", "fast", "forward", "compile", "graph")


def rows():
    """case -> (network, function name, options, ways); the names are those of bench_cases.c"""
    out = {"train-step": ("resnet20", "train_step", {}, ("native", "compile"))}
    for net, at in (("resnet20", ""), ("resnet50", "resnet50-"), ("bert", "bert-")):
        flat = net == "bert"
        out[at + "gradient"] = (net, "gradient", {}, FIRST)
        out[at + "hvp"] = (net, "hvp", {"k": 1}, tuple(w for w in SECOND if not (flat and w == "fast")))
        for k in () if flat else (4, 16):
            out[f"{at}hvp-{k}"] = (net, "hvp", {"k": k}, ("fast", "vmap", "graph"))
    out["block-eigs"] = ("resnet20", "block_eigs", {"iterations": 10}, ("native", "fast"))
    out["resnet50-block-eigs"] = ("resnet50", "block_eigs", {"iterations": 2}, ("native", "fast"))
    return out


BATCH = {"resnet20": 128, "resnet50": 64, "bert": 4}


def make_task(args, net, way, options):
    """A Task of peer_cases.py with everything on the device and channels-last."""
    import torch

    import peer_cases
    import peer_nets

    class DeviceTask(peer_cases.Task):
        def vector(self, j=0):
            return [t.to(args.device) for t in super().vector(j)]

    peer_nets.NETS[net].batch = args.batch or BATCH[net]
    task = DeviceTask(net, way + "-cl", options)
    task.params = {k: p.detach().to(args.device).requires_grad_() for k, p in task.params.items()}
    task.list = list(task.params.values())
    task.buffers = {k: t.to(args.device) for k, t in task.buffers.items()}
    task.x, task.y = task.x.to(args.device), task.y.to(args.device)
    if way in ("forward", "compile", "graph", "vmap"):
        task.ops = peer_nets.Ops("native", "affine")
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    torch.backends.cudnn.benchmark = True
    return task


def captured(f):
    """f as a CUDA graph: its results are the same tensors after every replay."""
    import torch
    side = torch.cuda.Stream()
    side.wait_stream(torch.cuda.current_stream())
    with torch.cuda.stream(side):
        for _ in range(3):
            f()
    torch.cuda.current_stream().wait_stream(side)
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        out = f()

    def replay():
        graph.replay()
        return out

    return replay


def functional(task, way):
    """(gradient of p, H v of (p, v)) by torch.func, over tuples of tensors."""
    import torch
    from torch.func import grad, jvp
    keys = list(task.params)
    gradient_of = grad(lambda p: task.loss(dict(zip(keys, p))))

    def hv(p, v):
        return jvp(gradient_of, (p,), (v,))[1]

    if way == "compile":
        return torch.compile(gradient_of), torch.compile(hv)
    return gradient_of, hv


def gradient(task, way):
    import peer_cases
    if way != "graph":
        return peer_cases.gradient(task)
    fixed = tuple(p.detach() for p in task.list)
    run = captured(lambda: functional(task, way)[0](fixed))
    return lambda: (peer_cases.dot(*[run()] * 2) ** 0.5,)


def hvp(task, way):
    import peer_cases
    if way in ("native", "fast", "vmap"):
        return peer_cases.hvp(task)
    fixed, vs = tuple(p.detach() for p in task.list), [tuple(task.vector(j)) for j in range(task.options["k"])]
    apply = functional(task, way)[1]
    run = {}
    if way == "graph":
        static = tuple(t.clone() for t in vs[0])
        replay = captured(lambda: apply(fixed, static))

        def run_graph(v):
            for s, t in zip(static, v):
                s.copy_(t)
            return replay()

        run["f"] = run_graph
    else:
        run["f"] = lambda v: apply(fixed, v)

    def step():
        checks = [peer_cases.dot(run["f"](v), v) for v in vs]
        return checks[0], checks[-1]

    return step


def measure(args, case, way):
    import torch

    import peer_cases
    net, function, options, _ = rows()[case]
    task = make_task(args, net, way, options)
    wait = torch.cuda.synchronize if args.device == "cuda" else (lambda: None)
    if args.device == "cuda":
        torch.cuda.reset_peak_memory_stats()
    step = {"gradient": gradient, "hvp": hvp}.get(function)
    step = step(task, way) if step else getattr(peer_cases, function)(task)
    begin = time.perf_counter()
    check = step()
    wait()
    first, times = time.perf_counter() - begin, []
    for _ in range(args.repeat):
        begin = time.perf_counter()
        check = step()
        wait()
        times.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() / 2 ** 20 if args.device == "cuda" else 0
    name = torch.cuda.get_device_name() if args.device == "cuda" else "cpu"
    return {"case": case, "way": way, "device": name, "math": "tf32" if args.tf32 else "float32",
            "batch": args.batch or BATCH[net], "seconds_median": round(statistics.median(times), 6),
            "seconds_min": round(min(times), 6), "seconds_max": round(max(times), 6), "repeat": args.repeat,
            "first_s": round(first, 4), "peak_device_mib": round(peak, 1), "check": list(check),
            "versions": {"torch": torch.__version__}}


def machine(device):
    """Rates of the device, each the best of ten."""
    import torch

    def best(f):
        f()
        least = float("inf")
        for _ in range(10):
            if device == "cuda":
                torch.cuda.synchronize()
            begin = time.perf_counter()
            f()
            if device == "cuda":
                torch.cuda.synchronize()
            least = min(least, time.perf_counter() - begin)
        return least

    n, size = (8192, 1 << 28) if device == "cuda" else (512, 1 << 20)
    x = torch.empty(size, device=device)
    y = torch.empty_like(x)
    out = {"gbytes_per_s": round(8 * size / best(lambda: y.copy_(x)) / 1e9, 1)}
    for name, dtype, tf32 in (("float32", torch.float32, False), ("tf32", torch.float32, True),
                              ("bf16", torch.bfloat16, False)):
        torch.backends.cuda.matmul.allow_tf32 = tf32
        a = torch.randn(n, n, device=device).to(dtype)
        b = torch.randn(n, n, device=device).to(dtype)
        out["gmacs_per_s_" + name] = round(n ** 3 / best(lambda: a @ b) / 1e9, 1)
    return out


def main(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--case", default="")
    ap.add_argument("--way", default="")
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--tf32", action="store_true")
    ap.add_argument("--machine", action="store_true")
    args = ap.parse_args(argv)
    if args.machine:
        print(json.dumps(machine(args.device)))
        return 0
    status = 0
    for case, (_, _, _, ways) in rows().items():
        if args.case and case not in args.case.split(","):
            continue
        for way in ways:
            if args.way and way not in args.way.split(",") or (way == "graph" and args.device == "cpu"):
                continue
            try:
                line = measure(args, case, way)
            except Exception as e:      # a way that this version cannot do: the others still count
                status = 1
                line = {"case": case, "way": way, "failed": f"{type(e).__name__}: {e}"[:300]}
            print(json.dumps(line), flush=True)
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

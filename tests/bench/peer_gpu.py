#!/usr/bin/env python3
"""PyTorch on a GPU, on the benchmark cases of a GPU: the other side of `bench CASE device=cuda`.

usage: peer_gpu.py [--list] [--case NAME,...] [--way NAME,...] [--repeat N] [--device cuda|cpu]
                   [--batch N] [--smoke] [--tf32] [--machine]

One JSON line a (case, way), in the manner of peer_torch.py; networks, weights, inputs and check
values are those of peer_spec.py and peer_cases.py; what computes the check values is not timed.
train-step, gradient, hvp, hvp-4, hvp-16 and block-eigs of each network; block-eigs, which is
many products, runs once after its warm-up.  Ways:

  native         op by op, channels-last; second order by double backward, gradient graph kept
  fast           the same with convolutions whose double backward is convolutions
  forward        torch.func's jvp of grad, op by op
  vmap           all K vectors at once by is_grads_batched
  compile        torch.compile: of the loss for first order, of jvp of grad for products
  graph          native (first order) or the kept double backward recorded as a CUDA graph;
                 in block-eigs one graph a layer, normalisation included
  compile-graph  the compiled function recorded as a CUDA graph

block-eigs has no compiled ways: each layer would be a program of its own, minutes of compiling.
float32 is exact unless --tf32.  --smoke: two samples, small images or few tokens, one
iteration, as `bench CASE smoke=1`.  --machine prints what the card gives: bytes a second of a
large copy (read and written), and multiply-adds a second of a large product.

With --device cpu nothing is recorded: the ways with "graph" run op by op what they would
record.  On a GPU nothing of this has run yet.
"""
import argparse
import gc
import json
import statistics
import sys
import time

sys.dont_write_bytecode = True

BATCH = {"resnet20": 128, "resnet50": 64, "bert": 4}
ITERATIONS = {"resnet20": 10, "resnet50": 2, "bert": 2}


def rows():
    """case -> (network, function name, options, ways); the names are those of bench_cases.c"""
    out, first = {}, ("native", "compile", "graph", "compile-graph")
    for net, at in (("resnet20", ""), ("resnet50", "resnet50-"), ("bert", "bert-")):
        kept = ("native",) if net == "bert" else ("native", "fast")
        out[at + "train-step"] = (net, "train_step", {}, first)
        out[at + "gradient"] = (net, "gradient", {}, first)
        out[at + "hvp"] = (net, "hvp", {"k": 1}, (*kept, "forward", "compile", "graph", "compile-graph"))
        for k in (4, 16):
            out[f"{at}hvp-{k}"] = (net, "hvp", {"k": k}, (kept[-1], "vmap", "compile", "graph", "compile-graph"))
        out[at + "block-eigs"] = (net, "block_eigs", {"iterations": ITERATIONS[net]}, (*kept, "graph"))
    return out


class Network:
    """A Task of peer_cases.py on the device, channels-last, for all cases of one network."""

    def __init__(self, net, args):
        import torch

        import peer_cases
        import peer_nets
        spec = peer_nets.NETS[net]
        spec.batch = 2 if args.smoke else args.batch or BATCH[net]
        if args.smoke:
            spec.side = spec.small_side
        task = self.task = peer_cases.Task(net, "native-cl", {})
        self.device, self.smoke, self.name = args.device, args.smoke, net
        self.first = {k: task.lay(t).to(self.device) for k, t in task.values.items()}
        task.params = {k: t.clone().requires_grad_() for k, t in self.first.items()}
        task.list = list(task.params.values())
        self.params, self.keys = task.list, list(task.params)
        self.first_buffers = task.buffers
        task.buffers = {k: t.to(self.device, copy=True) for k, t in task.buffers.items()}
        task.x, task.y = task.x.to(self.device), task.y.to(self.device)
        self.vectors, self.compiled = {}, {}
        self.stream = torch.cuda.Stream() if self.device == "cuda" else None

    def use(self, way):
        """Weights and statistics as at first, operations as the way wants them."""
        import torch

        import peer_nets
        task = self.task
        with torch.no_grad():
            for p, t in zip(self.params, self.first.values()):
                p.copy_(t)
                p.grad = None
            for k, t in self.first_buffers.items():
                task.buffers[k].copy_(t)
        kept_graph = way == "graph" and self.name != "bert"
        task.ops = peer_nets.Ops("fast" if way == "fast" or kept_graph else "native",
                                 "native" if way == "native" else "affine")

    def vector(self, j):
        if j not in self.vectors:
            self.vectors[j] = [t.to(self.device) for t in self.task.vector(j)]
        return self.vectors[j]

    def once(self, name, make):
        """Compiled functions serve several cases and ways."""
        if name not in self.compiled:
            self.compiled[name] = make()
        return self.compiled[name]

    def recorded(self, make, pool=None):
        """make() builds what is kept and returns a function; that function as a CUDA graph, whose
        results are the same tensors after every replay.  All on one stream: a backward pass runs
        on the stream of its forward pass."""
        import torch
        if not self.stream:
            return make()
        self.stream.wait_stream(torch.cuda.current_stream())
        with torch.cuda.stream(self.stream):
            f = make()
            for _ in range(3):
                f()
        torch.cuda.synchronize()
        graph = torch.cuda.CUDAGraph()
        with torch.cuda.graph(graph, pool=pool, stream=self.stream):
            out = f()

        def replay():
            graph.replay()
            return out

        replay.pool = graph.pool()
        return replay


# --- first order ----------------------------------------------------------------------

def loss_of(network, way):
    """The loss as a function of nothing, compiled where the way says so."""
    import torch
    task, ops = network.task, network.task.ops

    def make():
        def loss():
            return torch.nn.functional.cross_entropy(task.net(ops, task.params, task.buffers, task.x), task.y)

        return torch.compile(loss) if way.startswith("compile") else loss

    return network.once(("loss", ops.bn_way), make) if way.startswith("compile") else make()


def train_step(network, way, _):
    import torch
    network.task.ops.bn_way = "train"
    optimizer = torch.optim.SGD(network.params, lr=network.task.net.lr, momentum=0.9, weight_decay=1e-4)
    loss_now = loss_of(network, way)

    def step():
        optimizer.zero_grad(set_to_none=True)
        loss = loss_now()
        loss.backward()
        optimizer.step()
        return loss.detach()

    run = network.recorded(lambda: step) if "graph" in way else step
    if "graph" in way and network.stream:     # recording took steps: back to the beginning
        with torch.no_grad():
            for p, t in zip(network.params, network.first.values()):
                p.copy_(t)
                optimizer.state[p]["momentum_buffer"].zero_()

    def timed():
        loss = run()
        return lambda: (float(loss),)

    return timed


def gradient(network, way, _):
    import torch

    import peer_cases
    loss_now = loss_of(network, way)

    def step():
        return torch.autograd.grad(loss_now(), network.params)

    run = network.recorded(lambda: step) if "graph" in way else step

    def timed():
        g = run()
        return lambda: (peer_cases.dot(g, g) ** 0.5,)

    return timed


# --- products -----------------------------------------------------------------------------

def kept(network):
    """H v by double backward, the graph of the gradient kept; idx: positions of parameters, None = all."""
    import torch
    grads = torch.autograd.grad(network.task.loss(), network.params, create_graph=True)

    def apply(v, idx=None):
        if idx is None:
            return torch.autograd.grad(grads, network.params, v, retain_graph=True, allow_unused=True,
                                       materialize_grads=True)
        return torch.autograd.grad([grads[i] for i in idx], [network.params[i] for i in idx], v, retain_graph=True)

    return apply


def forward_over_reverse(network, way):
    import torch
    from torch.func import grad, jvp
    task, ops, keys = network.task, network.task.ops, network.keys

    def make():
        def loss(p):
            z = task.net(ops, dict(zip(keys, p)), task.buffers, task.x)
            return torch.nn.functional.cross_entropy(z, task.y)

        def hv(p, v):
            return jvp(grad(loss), (p,), (v,))[1]

        return torch.compile(hv) if way.startswith("compile") else hv

    hv = network.once("hv", make) if way.startswith("compile") else make()
    fixed = tuple(p.detach() for p in network.params)
    return lambda v: hv(fixed, tuple(v))


def hvp(network, way, options):
    import torch

    import peer_cases
    vs = [network.vector(j) for j in range(options["k"])]
    if way == "vmap":
        apply_all = kept_batched(network)
        many = [torch.stack(t) for t in zip(*vs)]

        def at_once():
            hv = apply_all(many)
            return lambda: tuple(peer_cases.dot([t[j] for t in hv], vs[j]) for j in (0, -1))

        return at_once
    if "graph" in way:
        static = [t.clone() for t in vs[0]]

        def make():
            apply = kept(network) if way == "graph" else forward_over_reverse(network, way)
            return lambda: apply(static)

        replay = network.recorded(make)

        def run(v):
            torch._foreach_copy_(static, v)
            return replay()
    else:
        run = kept(network) if way in ("native", "fast") else forward_over_reverse(network, way)

    def one_by_one():
        for v in vs:
            run(v)
        return lambda: tuple(peer_cases.dot(run(vs[j]), vs[j]) for j in (0, -1))

    return one_by_one


def kept_batched(network):
    import torch
    grads = torch.autograd.grad(network.task.loss(), network.params, create_graph=True)
    return lambda many: torch.autograd.grad(grads, network.params, many, retain_graph=True, is_grads_batched=True,
                                            allow_unused=True, materialize_grads=True)


# --- blocks ----------------------------------------------------------------------------------

def inner(a, b):
    return sum((s * t).sum() for s, t in zip(a, b))


def block_eigs(network, way, options):
    """Power iteration on every layer's block; numbers stay on the device until the end of the sweep."""
    import torch

    import peer_cases
    start, blocks = network.vector(0), [idx for _, idx in peer_cases.layer_indices(network.task)]

    def iterate(apply, v, idx):
        size = inner(v, v).rsqrt()
        v = [t * size for t in v]
        hv = apply(v, idx)
        return hv, inner(hv, v)

    def recorded_block(apply, idx, pool):
        v, value = [start[i].clone() for i in idx], torch.zeros((), device=network.device)

        def f():
            hv, found = iterate(apply, v, idx)
            torch._foreach_copy_(v, list(hv))
            value.copy_(found)

        return v, value, network.recorded(lambda: f, pool)

    if way == "graph":
        if network.stream:
            network.stream.wait_stream(torch.cuda.current_stream())
            with torch.cuda.stream(network.stream):
                apply = kept(network)
        else:
            apply = kept(network)
        made, pool = [], None
        for idx in blocks:
            made.append(recorded_block(apply, idx, pool))
            pool = getattr(made[0][2], "pool", None)
    else:
        apply = kept(network)

    def top(at):
        if way == "graph":
            v, value, replay = made[at]
            torch._foreach_copy_(v, [start[i] for i in blocks[at]])
            for _ in range(options["iterations"]):
                replay()
            return value
        v = [start[i] for i in blocks[at]]
        for _ in range(options["iterations"]):
            v, value = iterate(apply, v, blocks[at])
        return value

    def sweep():
        values = [top(at) for at in range(len(blocks))]
        return lambda: (sum(map(float, values)), sum(abs(float(x)) for x in values))

    return sweep


# --- measuring -----------------------------------------------------------------------------------

def small(network, options):
    """The options of a case as `bench CASE smoke=1` has them."""
    out = dict(options)
    if "iterations" in out:
        out["iterations"] = 1
    if network.name == "bert" and "k" in out:
        out["k"] = min(out["k"], 2)
    return out


def measure(args, case, way, network):
    import torch
    net, function, options, _ = rows()[case]
    network.use(way)
    on_gpu = args.device == "cuda"
    wait = torch.cuda.synchronize if on_gpu else (lambda: None)
    if on_gpu:
        torch.cuda.reset_peak_memory_stats()
    step = globals()[function](network, way, small(network, options) if args.smoke else options)
    begin = time.perf_counter()
    check = step()
    wait()
    first, times = time.perf_counter() - begin, []
    repeat = 1 if step.__name__ == "sweep" else args.repeat
    for _ in range(repeat):
        begin = time.perf_counter()
        check = step()
        wait()
        times.append(time.perf_counter() - begin)
    peak = torch.cuda.max_memory_allocated() / 2 ** 20 if on_gpu else 0
    return {"case": case, "way": way, "device": torch.cuda.get_device_name() if on_gpu else "cpu",
            "math": "tf32" if args.tf32 else "float32", "batch": int(network.task.x.shape[0]),
            "seconds_median": round(statistics.median(times), 6), "seconds_min": round(min(times), 6),
            "seconds_max": round(max(times), 6), "repeat": repeat, "first_s": round(first, 4),
            "peak_device_mib": round(peak, 1), "check": list(check()), "versions": {"torch": torch.__version__}}


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


def parse(argv):
    ap = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    ap.add_argument("--list", action="store_true")
    ap.add_argument("--case", default="", help="in this order")
    ap.add_argument("--way", default="")
    ap.add_argument("--repeat", type=int, default=5)
    ap.add_argument("--device", default="cuda", choices=("cuda", "cpu"))
    ap.add_argument("--batch", type=int, default=0)
    ap.add_argument("--smoke", action="store_true")
    ap.add_argument("--tf32", action="store_true")
    ap.add_argument("--machine", action="store_true")
    args = ap.parse_args(argv)
    args.cases = args.case.split(",") if args.case else list(rows())
    for case in args.cases:
        if case not in rows():
            ap.error(f"no case {case}; there are {', '.join(rows())}")
    args.repeat = 1 if args.smoke else max(args.repeat, 1)
    return args


def main(argv):
    args = parse(argv)
    if args.list:
        for case, (net, _, _, ways) in rows().items():
            print(f"{case:22} {net:9} {' '.join(ways)}")
        return 0
    if args.machine:
        print(json.dumps(machine(args.device)))
        return 0
    import torch
    torch.backends.cuda.matmul.allow_tf32 = torch.backends.cudnn.allow_tf32 = args.tf32
    torch.backends.cudnn.benchmark = True
    status, network = 0, None
    for case in args.cases:
        net, _, _, ways = rows()[case]
        for way in (w for w in ways if not args.way or w in args.way.split(",")):
            try:
                if not network or network.name != net:
                    network = None
                    gc.collect()
                    network = Network(net, args)
                line = measure(args, case, way, network)
            except Exception as e:      # a way that this version cannot do: the others still count
                status = 1
                line = {"case": case, "way": way, "failed": f"{type(e).__name__}: {e}"[:300]}
            print(json.dumps(line), flush=True)
            gc.collect()
            if args.device == "cuda":
                torch.cuda.empty_cache()
    return status


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

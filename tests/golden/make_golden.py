#!/usr/bin/env python3
"""Makes or checks the golden files of this folder with PyTorch (float64, CPU).

usage: make_golden.py [--only NAME,...] [--check] [--quick] [--threads N] OUT [DATA CIFAR]

OUT     folder of the JSON files (this folder)
DATA    folder holding weights/resnet20-12fca82f.th and weights/pyhessian-resnet20.pkl
CIFAR   folder holding data_batch_1..5.bin and test_batch.bin
Without DATA and CIFAR only "small" is made.  Names: small resnet20_a
resnet20_b jpeg200.  --check compares with what is stored instead of writing;
--quick computes only the products (minutes to seconds) and checks those.
"""
import argparse
import json
import os
import sys

import numpy
import torch

sys.dont_write_bytecode = True
import cifar
import formula
import small

RTOL = 1e-10


def computed_by():
    return {"torch": torch.__version__, "numpy": numpy.__version__, "dtype": "float64", "script": "make_golden.py"}


def make(name, args):
    if name == "small":
        return {k: f() for k, f in small.CASES.items()}
    if name == "jpeg200":
        return cifar.jpeg200(args.data, args.cifar)
    return cifar.network_case(name, args.data, args.cifar, args.quick)


def restrict(stored, fresh):
    """The part of `stored` that a quick run made again."""
    if isinstance(stored, dict) and isinstance(fresh, dict):
        return {k: restrict(stored[k], fresh[k]) for k in stored if k in fresh}
    return stored


def main():
    ap = argparse.ArgumentParser(usage=__doc__.split("\n\n")[1][len("usage: "):])
    ap.add_argument("--only", default="")
    ap.add_argument("--check", action="store_true")
    ap.add_argument("--quick", action="store_true")
    ap.add_argument("--threads", type=int, default=2)
    ap.add_argument("out")
    ap.add_argument("data", nargs="?")
    ap.add_argument("cifar", nargs="?")
    args = ap.parse_args()
    if args.quick and not args.check:
        ap.error("--quick needs --check")
    torch.set_num_threads(args.threads)
    torch.set_default_dtype(torch.float64)
    names = ["small"] + (["resnet20_a", "resnet20_b", "jpeg200"] if args.cifar else [])
    bad = 0
    for name in args.only.split(",") if args.only else names:
        fresh = {"computed_by": computed_by(), **make(name, args)}
        path = os.path.join(args.out, name + ".json")
        if not args.check:
            formula.dump(path, fresh)
            continue
        with open(path) as f:
            stored = json.load(f)
        fresh = json.loads(json.dumps(fresh))
        diff = formula.compare(restrict(stored, fresh) if args.quick else stored, fresh, RTOL)
        bad += len(diff)
        print(f"{name}: " + (f"{len(diff)} differences" if diff else "agrees"), *diff[:20], sep="\n  ")
    return 1 if bad else 0


if __name__ == "__main__":
    sys.exit(main())

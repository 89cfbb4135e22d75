"""Every comparison, one after the other: `make bench`, or `python -m benchmarks`. Each runs alone too, with options.

    python -m benchmarks.start         from nothing to the first answer
    python -m benchmarks.overhead      what the server adds to its engine
    python -m benchmarks.host_ceiling  what one server could feed to a GPU
    python -m benchmarks.http_load     this server and its peers over HTTP
    python -m benchmarks.fairness      a short request while a long one runs
    python -m benchmarks.key_fairness  a key that asks now and then next to one that floods the server
    python -m benchmarks.int8          precisions, and ONNX Runtime
    python -m benchmarks.qwen3         Qwen3-Reranker's size against the model card's procedure
    python -m benchmarks.families      each kind of model against its floor, encoders against sentence-transformers
    python -m benchmarks.quality DATA  what a lower precision costs in ranking (with --data)
    python -m benchmarks.gpu           against sentence-transformers and the model card on a GPU (where there is one)
    python -m benchmarks.gpu_steps     each step of a layer on a GPU, and other ways to take it (by hand only)

Peers that `make bench-peers` has not installed are left out, and named.
"""

from __future__ import annotations

import argparse
import subprocess
import sys
import time

import torch

from benchmarks.contestants import NATIVE

# with the minutes each takes on two cores of 2.8 GHz
PLAN: tuple[tuple[int, tuple[str, ...]], ...] = (
    (2, ("start",)),
    (5, ("overhead",)),
    (3, ("host_ceiling",)),
    (28, ("http_load", "--model", "minilm")),
    (25, ("http_load", "--model", "bge-base", "--documents", "100", "--requests", "3", "--clients", "1")),
    (1, ("fairness",)),
    (3, ("key_fairness", "--seconds", "60")),
    (4, ("int8", "--model", "minilm")),
    (12, ("int8", "--model", "bge-base")),
    (10, ("qwen3",)),
    (20, ("families",)),
)
_QUALITY_MINUTES = 15
_GPU_MINUTES = 60


def main() -> int:
    """Run all; the exit status is 1 if one failed."""
    parser = argparse.ArgumentParser(
        prog="python -m benchmarks", description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--data", help="folder of a judged set: also measure what precisions cost in ranking")
    options = parser.parse_args()
    plan = [*PLAN]
    if options.data:
        precisions = dict.fromkeys(("fp32", NATIVE, "int8"))
        plan.append((_QUALITY_MINUTES, ("quality", options.data, "--precisions", *precisions)))
    if torch.cuda.is_available():
        plan.append((_GPU_MINUTES, ("gpu",)))
    minutes = sum(one for one, _ in plan)
    print(f"this takes about {minutes} minutes on two cores; leave the machine alone meanwhile", flush=True)
    failed = False
    for expected, (name, *rest) in plan:
        print(f"\n== python -m benchmarks.{' '.join((name, *rest))}   (about {expected} minutes)", flush=True)
        started = time.monotonic()
        done = subprocess.run([sys.executable, "-m", f"benchmarks.{name}", *rest])  # noqa: S603
        print(f"   {(time.monotonic() - started) / 60:.1f} minutes", flush=True)
        failed = failed or done.returncode != 0
    return int(failed)


if __name__ == "__main__":
    sys.exit(main())

"""The engine alone, against sentence-transformers: one query, mixed documents, no HTTP.

    python -m benchmarks.engine --models bge-base ettin-32m --documents 100 --repeat 3

Prints seconds (median), pairs and tokens a second, the ratio to sentence-transformers' default in the same run, and
the floor: the model's matrix products alone, at the rate measured for its own shapes just before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Iterator, Sequence
from pathlib import Path

import torch

from benchmarks.alone import engine_alone
from benchmarks.floor import floor_seconds, products_rate
from benchmarks.workload import QUERY, SIZES, Score, checkpoint, documents, token_count
from rerank.core import Pair
from rerank.scheduling.batching import BatchBudget


def median_seconds(run: Score, pairs: list[Pair], repeat: int) -> float:
    """The median of ``repeat`` runs after one that warms up."""
    run(pairs)
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        run(pairs)
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


def sentence_transformers(folder: Path, dtype: torch.dtype) -> Score:
    """CrossEncoder.predict with its default batch size."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": dtype})

    def run(pairs: Sequence[Pair]) -> list[float]:
        logits: list[float] = model.predict([(pair.query, pair.document) for pair in pairs]).tolist()
        return logits

    return run


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--models", choices=SIZES, nargs="+", default=["bge-base"])
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[8], help="pairs a batch, for ours")
    parser.add_argument("--only", help="run only the entries whose name holds this")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    arguments = parser.parse_args()
    for model in arguments.models:
        compare(model, arguments)


def compare(model: str, arguments: argparse.Namespace) -> None:
    """Print a model's floors and every contestant."""
    folder = checkpoint(model, arguments.folder)
    pairs = [Pair(QUERY, document) for document in documents(arguments.documents)]
    tokens = token_count(model, [pair.document for pair in pairs])
    print(f"{model}: {len(pairs)} pairs, {tokens} tokens, {torch.get_num_threads()} threads")
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        rate = products_rate(folder, dtype)
        floor = floor_seconds(folder, tokens, rate)
        print(f"floor {name:<36} {floor:8.2f} s   ({rate / 1e12:.2f} TFLOP/s)")
    base: float | None = None
    for name, seconds in measure(arguments, folder, pairs):
        base = base or seconds
        print(f"{name:<42} {seconds:8.2f} s   {tokens / seconds:9.0f} tokens/s   x {seconds / base:.3f}", flush=True)


def measure(arguments: argparse.Namespace, folder: Path, pairs: list[Pair]) -> Iterator[tuple[str, float]]:
    """Name and seconds of each contestant, one after another."""
    wanted = arguments.only or ""
    for name, dtype in (("fp32", torch.float32), ("bf16", torch.bfloat16)):
        title = f"sentence-transformers {name}"
        if wanted in title:
            yield title, median_seconds(sentence_transformers(folder, dtype), pairs, arguments.repeat)
    for runtime, precision in (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
        for batch in arguments.batch:
            title = f"ours {runtime} {precision}, batches of {batch}"
            if wanted in title:
                budget = BatchBudget(batch, 16384)
                with engine_alone(folder, precision, arguments.folder, budget=budget, runtime=runtime) as run:
                    yield title, median_seconds(run, pairs, arguments.repeat)


if __name__ == "__main__":
    main()

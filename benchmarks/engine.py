"""The engine alone, against sentence-transformers: one query, mixed documents, no HTTP.

    python -m benchmarks.engine --model bge-base --documents 100 --repeat 3

Prints seconds (median), pairs and tokens a second, the ratio to sentence-transformers' default in the same run, and
the floor: the model's matrix products alone, at the rate measured for its own shapes just before.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import torch

from benchmarks.floor import floor_seconds, products_rate
from benchmarks.workload import QUERY, SIZES, checkpoint, documents
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair, Truncation
from rerank.devices import choose_device
from rerank.scheduling.packing import BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Placement
from rerank.scorers.load import load_scorer

Run = Callable[[], None]


def median_seconds(run: Run, repeat: int) -> float:
    """The median of ``repeat`` runs after one that warms up."""
    run()
    seconds = []
    for _ in range(repeat):
        started = time.perf_counter()
        run()
        seconds.append(time.perf_counter() - started)
    return statistics.median(seconds)


@contextmanager
def ours(folder: Path, cache: Path, precision: str, runtime: str, pairs: list[Pair], batch: int) -> Iterator[Run]:
    """The server's scorer and scheduler, without the server."""
    placement = Placement(choose_device("cpu", precision, runtime), cache)
    scorer = load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)
    scheduler = Scheduler(Lane("benchmark", BatchBudget(batch, 16384)))

    def run() -> None:
        scheduler.submit((scorer,), scorer.encode(pairs, Truncation(), None)).future.result()

    yield run
    scheduler.stop()


def sentence_transformers(folder: Path, dtype: torch.dtype, pairs: list[Pair]) -> Run:
    """CrossEncoder.predict with its default batch size."""
    from sentence_transformers import CrossEncoder

    model = CrossEncoder(str(folder), device="cpu", model_kwargs={"dtype": dtype})
    texts = [(pair.query, pair.document) for pair in pairs]

    def run() -> None:
        model.predict(texts)

    return run


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="bge-base")
    parser.add_argument("--documents", type=int, default=100)
    parser.add_argument("--repeat", type=int, default=3)
    parser.add_argument("--batch", type=int, nargs="+", default=[8], help="pairs a batch, for ours")
    parser.add_argument("--only", help="run only the entries whose name holds this")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    arguments = parser.parse_args()

    folder = checkpoint(arguments.model, arguments.folder)
    pairs = [Pair(QUERY, document) for document in documents(arguments.documents)]
    tokens = sum(len(pair.document.split()) + len(QUERY.split()) + 4 for pair in pairs)
    print(f"{arguments.model}: {len(pairs)} pairs, {tokens} tokens, {torch.get_num_threads()} threads")
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
            yield title, median_seconds(sentence_transformers(folder, dtype, pairs), arguments.repeat)
    for runtime, precision in (("torch", "fp32"), ("openvino", "fp32"), ("openvino", "bf16")):
        for batch in arguments.batch:
            title = f"ours {runtime} {precision}, batches of {batch}"
            if wanted in title:
                with ours(folder, arguments.folder / ".openvino", precision, runtime, pairs, batch) as run:
                    yield title, median_seconds(run, arguments.repeat)


if __name__ == "__main__":
    main()

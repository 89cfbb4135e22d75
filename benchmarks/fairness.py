"""A short request beside a long one: how much longer it takes than alone. The real engine, no HTTP.

    python -m benchmarks.fairness --model minilm --short 10 --long 1000

The short request arrives again and again while the long one runs, at random moments after the one before is answered.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from pathlib import Path

from benchmarks.workload import QUERY, SIZES, checkpoint, documents
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.scheduling.job import HasTokens
from rerank.scheduling.packing import CPU_BATCH, BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer


def seconds(scheduler: Scheduler, scorer: Scorer, pairs: list[HasTokens]) -> float:
    """From the request to its answer."""
    started = time.perf_counter()
    scheduler.submit((scorer,), pairs).future.result()
    return time.perf_counter() - started


def beside(
    scheduler: Scheduler, scorer: Scorer, short: list[HasTokens], long: list[HasTokens], pause: float
) -> list[float]:
    """Seconds of each short request that was answered while the long one ran; ``pause`` is the longest between them."""
    moments = random.Random(0)  # noqa: S311
    job = scheduler.submit((scorer,), long)
    found: list[float] = []
    while not job.future.done():
        time.sleep(moments.uniform(0, pause))
        taken = seconds(scheduler, scorer, short)
        if not job.future.done():
            found.append(taken)
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="minilm")
    parser.add_argument("--short", type=int, default=10, help="documents of the short request")
    parser.add_argument("--long", type=int, default=1000, help="documents of the long one")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int, default=CPU_BATCH.pairs, help="pairs a batch")
    parser.add_argument("--batch-tokens", type=int, default=CPU_BATCH.tokens, help="tokens a batch")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    arguments = parser.parse_args()

    placement = Placement(choose_device(arguments.device, arguments.precision), arguments.folder / ".openvino")
    folder = checkpoint(arguments.model, arguments.folder)
    scorer = load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)
    scheduler = Scheduler(Lane(arguments.device, BatchBudget(arguments.batch, arguments.batch_tokens)))
    short, long = (
        scorer.encode([Pair(QUERY, document) for document in documents(count, seed=count)])
        for count in (arguments.short, arguments.long)
    )
    seconds(scheduler, scorer, short)
    alone = statistics.median(seconds(scheduler, scorer, short) for _ in range(9))
    found = sorted(beside(scheduler, scorer, short, long, pause=4 * alone))
    scheduler.stop()
    print(f"{arguments.model}, {scorer.runtime}: {arguments.short} documents beside {arguments.long}")
    print(f"alone  {alone:8.3f} s   median of 9")
    for name, value in (("median", statistics.median(found)), ("p90", found[len(found) * 9 // 10])):
        print(f"beside {value:8.3f} s   {name} of {len(found)}   x {value / alone:.2f}")


if __name__ == "__main__":
    main()

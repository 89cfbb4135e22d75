"""A short request next to a long one: how much longer it takes than alone. The real engine, no HTTP.

    python -m benchmarks.fairness --model minilm --short 10 --long 1000

The short request arrives again and again while the long one runs, at random moments after the one before is answered.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from benchmarks.alone import engine_alone
from benchmarks.workload import QUERY, SIZES, Score, checkpoint, documents
from rerank.core import Pair
from rerank.scheduling.batching import CPU_BATCH, BatchBudget


def seconds(score: Score, pairs: list[Pair]) -> float:
    """From the request to its answer."""
    started = time.perf_counter()
    score(pairs)
    return time.perf_counter() - started


def while_scoring(score: Score, short: list[Pair], long: list[Pair], pause: float) -> list[float]:
    """Seconds of each short request that was answered while the long one ran; ``pause`` is the longest between them."""
    moments = random.Random(0)  # noqa: S311
    found: list[float] = []
    with ThreadPoolExecutor(1) as threads:
        running = threads.submit(score, long)
        while not running.done():
            time.sleep(moments.uniform(0, pause))
            taken = seconds(score, short)
            if not running.done():
                found.append(taken)
    return found


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--model", choices=SIZES, default="minilm")
    parser.add_argument("--short", type=int, default=10, help="documents of the short request")
    parser.add_argument("--long", type=int, default=1000, help="documents of the long one")
    parser.add_argument("--precision", default="fp32")
    parser.add_argument("--batch", type=int, default=CPU_BATCH.pairs, help="pairs a batch")
    parser.add_argument("--batch-tokens", type=int, default=CPU_BATCH.tokens, help="tokens a batch")
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    arguments = parser.parse_args()

    folder = checkpoint(arguments.model, arguments.folder)
    budget = BatchBudget(arguments.batch, arguments.batch_tokens)
    short, long = (
        [Pair(QUERY, document) for document in documents(count, seed=count)]
        for count in (arguments.short, arguments.long)
    )
    with engine_alone(folder, arguments.precision, arguments.folder, budget=budget) as score:
        seconds(score, short)
        alone = statistics.median(seconds(score, short) for _ in range(9))
        found = sorted(while_scoring(score, short, long, pause=4 * alone))
    print(f"{arguments.model} {arguments.precision}: {arguments.short} documents next to {arguments.long}")
    print(f"alone  {alone:8.3f} s   median of 9")
    for name, value in (("median", statistics.median(found)), ("p90", found[len(found) * 9 // 10])):
        print(f"next to {value:8.3f} s   {name} of {len(found)}   x {value / alone:.2f}")


if __name__ == "__main__":
    main()

"""What a batch of a small model costs on top of its products: CPU time a pair, by the pairs of a batch.

    taskset -c 0 python -m benchmarks.batches --repeat 12

Two layers of 128 hidden (the size of ms-marco-TinyBERT-L-2), 400 pairs of about 38 tokens, through the scheduler.
Contestants take turns; on one core, so that no thread spins while another computes. "measured" is the default: a batch
has at most 8 pairs, or as many as take 50 ms.
"""

from __future__ import annotations

import argparse
import random
import statistics
import tempfile
import time
from contextlib import ExitStack
from pathlib import Path

from benchmarks.scheduled import scheduled
from benchmarks.workload import checkpoint, documents
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.scheduling.batching import CPU_BATCH, BatchBudget
from rerank.scorers.base import Placement
from rerank.scorers.load import load_scorer

BUDGETS = {f"{pairs} pairs": BatchBudget(pairs, CPU_BATCH.tokens) for pairs in (4, 8, 16, 32)} | {"measured": CPU_BATCH}
CHARACTERS = 150
_WARM_UP = 2


def main() -> None:
    """See the module's docstring."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeat", type=int, default=12)
    parser.add_argument("--folder", type=Path, default=Path(tempfile.gettempdir()) / "rerank-benchmarks")
    options = parser.parse_args()
    folder = checkpoint("tinybert", options.folder)
    placement = Placement(choose_device("cpu"), options.folder / ".openvino")
    scorer = load_scorer(read_checkpoint(folder), ModelCard(id=folder.name), placement)
    pairs = [Pair("what is a batch", document[:CHARACTERS]) for document in 2 * documents(200)]
    spent: dict[str, list[float]] = {name: [] for name in BUDGETS}
    with ExitStack() as stack:
        engines = {name: stack.enter_context(scheduled(scorer, budget)) for name, budget in BUDGETS.items()}
        for _ in range(options.repeat + _WARM_UP):
            for name in random.sample(list(engines), len(engines)):
                begun = time.process_time()
                engines[name](pairs)
                spent[name].append((time.process_time() - begun) / len(pairs))
    print(f"{scorer.runtime}, {len(pairs)} pairs")
    former = statistics.median(spent["8 pairs"][_WARM_UP:])
    for name, seconds in spent.items():
        median = statistics.median(seconds[_WARM_UP:])
        print(f"{name:<10} {1e3 * median:6.3f} ms of CPU a pair   {median / former:5.2f}")


if __name__ == "__main__":
    main()

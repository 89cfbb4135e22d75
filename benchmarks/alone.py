"""This engine without the server: scorer and scheduler, as MODEL_PRECISION would set them on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from benchmarks.processes import NotAvailableError
from benchmarks.workload import Score
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.core import Pair, Truncation
from rerank.devices import choose_device
from rerank.errors import RerankError, SettingsError
from rerank.scheduling.packing import BatchBudget
from rerank.scheduling.scheduler import Lane, Scheduler
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer
from rerank.settings import Settings

BUDGET = BatchBudget(8, 2048)
"""What the server takes on a CPU."""


@contextmanager
def engine_alone(
    folder: Path, precision: str, cache: Path, card: ModelCard | None = None, budget: BatchBudget = BUDGET
) -> Iterator[Score]:
    """A checkpoint in this engine; ``cache`` keeps what is converted. Raises NotAvailableError."""
    if precision not in get_args(Settings.model_fields["precision"].annotation):
        raise NotAvailableError("MODEL_PRECISION does not take it")
    try:
        placement = Placement(choose_device("cpu", precision), cache)
        scorer = load_scorer(read_checkpoint(folder), card or ModelCard(id=folder.name), placement)
    except (RerankError, SettingsError) as error:
        raise NotAvailableError(str(error)) from error
    with scheduled(scorer, budget) as score:
        yield score


@contextmanager
def scheduled(scorer: Scorer, budget: BatchBudget = BUDGET) -> Iterator[Score]:
    """Any scorer behind the scheduler."""
    scheduler = Scheduler(Lane("benchmark", budget))

    def score(pairs: Sequence[Pair]) -> list[float]:
        return scheduler.submit((scorer,), scorer.encode(pairs, Truncation(), None)).future.result()

    yield score
    scheduler.stop()

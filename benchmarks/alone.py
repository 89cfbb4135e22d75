"""This engine without the server: scorer and scheduler, as MODEL_PRECISION would set them on a CPU."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import get_args

from benchmarks.processes import NotAvailableError
from benchmarks.scheduled import scheduled
from benchmarks.workload import Score
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import read_checkpoint
from rerank.devices import choose_device
from rerank.errors import RerankError, SettingsError
from rerank.scheduling.packing import CPU_BATCH, BatchBudget
from rerank.scorers.base import Placement
from rerank.scorers.load import load_scorer
from rerank.settings import Settings


@contextmanager
def engine_alone(
    folder: Path,
    precision: str,
    cache: Path,
    card: ModelCard | None = None,
    budget: BatchBudget = CPU_BATCH,
    runtime: str = "auto",
) -> Iterator[Score]:
    """A checkpoint in this engine; ``cache`` keeps what is converted. Raises NotAvailableError."""
    if precision not in get_args(Settings.model_fields["precision"].annotation):
        raise NotAvailableError("MODEL_PRECISION does not take it")
    try:
        placement = Placement(choose_device("cpu", precision, runtime), cache)
        scorer = load_scorer(read_checkpoint(folder), card or ModelCard(id=folder.name), placement)
    except (RerankError, SettingsError) as error:
        raise NotAvailableError(str(error)) from error
    with scheduled(scorer, budget) as score:
        yield score

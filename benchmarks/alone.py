"""This engine without the server, set as the server would be on a CPU."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from pathlib import Path
from typing import Any

from anyio.from_thread import start_blocking_portal
from pydantic import ValidationError

from benchmarks.processes import NotAvailableError
from benchmarks.workload import Score
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.core import Pair, ScoringOptions
from rerank.engine import Engine
from rerank.errors import RerankError, SettingsError
from rerank.scheduling.batching import CPU_BATCH, BatchBudget
from rerank.settings import Settings


@contextmanager
def engine_alone(
    folder: Path,
    precision: str,
    models_dir: Path,
    card: ModelCard | None = None,
    budget: BatchBudget = CPU_BATCH,
) -> Iterator[Score]:
    """A checkpoint in this engine; ``models_dir`` keeps what is converted. Raises NotAvailableError."""
    card = replace(card or ModelCard(id=folder.name), path=folder)
    choices: dict[str, Any] = {
        "rerank_models_dir": models_dir,
        "rerank_model_device": "cpu",
        "rerank_model_precision": precision,
        "rerank_model_runtime": "auto",
        "rerank_batch_size": budget.pairs,
        "rerank_batch_tokens": budget.tokens,
    }
    with ExitStack() as stack:
        try:
            engine = Engine.open(Settings(_env_file=None, **choices), Catalog(models_dir, (card,)))
            score = stack.enter_context(running(engine, card))
        except ValidationError as error:
            raise NotAvailableError("MODEL_PRECISION does not take it") from error
        except (RerankError, SettingsError) as error:
            raise NotAvailableError(str(error)) from error
        yield score


@contextmanager
def running(engine: Engine, card: ModelCard) -> Iterator[Score]:
    """The logits of one request after another, from any thread."""
    with (
        start_blocking_portal() as portal,
        portal.wrap_async_context_manager(engine),
        portal.wrap_async_context_manager(engine.registry.lease(card)) as model,
    ):

        def score(pairs: Sequence[Pair]) -> list[float]:
            return [raw.logit for raw in portal.call(model.backend.score, pairs, ScoringOptions(cached=False))]

        yield score

"""`rerank verify MODEL`: the model's scores on this machine next to known scores."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.golden import GOLDEN, GoldenPair, known_scores
from rerank.cli.terminal import CommandFailed, verbatim
from rerank.core import DEFAULT_OPTIONS, Pair
from rerank.engine import Engine
from rerank.errors import ModelNotFound, RerankError
from rerank.settings import Settings, read_settings
from rerank.telemetry import configure_logging

_NEWLINE = "\n  "
_EPILOG = f"""
examples:
  rerank verify BAAI/bge-reranker-base
  MODEL_PRECISION=fp32 rerank verify bge-reranker-v2-m3

models with known scores:
  {_NEWLINE.join(GOLDEN)}

exit status:
  0  every score is within its tolerance
  1  a score is not
  2  wrong usage, or a model without known scores
  3  the model cannot be loaded
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@dataclass(frozen=True, slots=True)
class Comparison:
    """A known score and the one this machine gave."""

    golden: GoldenPair
    logit: float
    tolerance: float

    @property
    def holds(self) -> bool:
        """True if the difference is within the tolerance."""
        return abs(self.logit - self.golden.logit) <= self.tolerance


@app.command(epilog=verbatim(_EPILOG))
def verify(
    model: Annotated[str, typer.Argument(help="Name of the model, as in a request.")],
) -> None:
    """Compare a model's scores on this machine with known scores.

    The model runs as the server would run it: MODEL_DEVICE, MODEL_PRECISION and MODEL_RUNTIME apply.
    """
    settings = read_settings()
    configure_logging("warning", settings.log_format)
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    card, goldens = _known(catalog, model)
    try:
        status = asyncio.run(_verify(settings, catalog, card, goldens))
    except RerankError as error:
        raise CommandFailed(error.message, 3) from error
    raise typer.Exit(status)


def _known(catalog: Catalog, name: str) -> tuple[ModelCard, Sequence[GoldenPair]]:
    """The model and its known scores. Raises CommandFailed if there are none, and SettingsError."""
    unknown = _complaint(catalog, name)
    card = catalog.operator_choice(name)
    if goldens := known_scores(card.id):
        return card, goldens
    if unknown and catalog.folder(card) is None:
        raise CommandFailed(unknown, 2)
    raise CommandFailed(f"no scores are known of {card.id}", 2)


def _complaint(catalog: Catalog, name: str) -> str | None:
    """Why no card has this name; None if one has."""
    try:
        catalog.resolve(name)
    except ModelNotFound as error:
        return error.message
    return None


async def _verify(settings: Settings, catalog: Catalog, card: ModelCard, goldens: Sequence[GoldenPair]) -> int:
    if catalog.folder(card) is None:
        raise RerankError(f"{card.id} is not on disk; fetch it first: {download_command(card.id)}")
    async with Engine.open(settings, catalog) as engine, engine.registry.lease(card) as model:
        return _report(model, await compare(model, goldens))


async def compare(model: LoadedModel, goldens: Sequence[GoldenPair]) -> list[Comparison]:
    """Score the pairs in one request; precisions below fp32 have a larger tolerance."""
    scores = await model.backend.score([Pair(golden.query, golden.document) for golden in goldens], DEFAULT_OPTIONS)
    exact = model.local is not None and model.local.precision == "fp32"
    return [
        Comparison(golden, score.logit, golden.tolerance if exact else golden.half_tolerance)
        for golden, score in zip(goldens, scores, strict=True)
    ]


def _report(model: LoadedModel, compared: Sequence[Comparison]) -> int:
    print(f"{model.card.id}: {model.local.runtime if model.local else 'on another machine'}")
    print(f"{'known':>10}  {'here':>10}  {'off by':>9}  {'allowed':>8}  pair")
    for row in compared:
        off = abs(row.logit - row.golden.logit)
        print(
            f"{row.golden.logit:>10.5f}  {row.logit:>10.5f}  {off:>9.6f}  {row.tolerance:>8.4f}  "
            f"{row.golden.query[:40]} | {row.golden.document[:60]}{'' if row.holds else '   <- differs'}"
        )
    failed = sum(not row.holds for row in compared)
    print("all scores are as known" if not failed else f"{failed} of {len(compared)} scores are not as known")
    return 1 if failed else 0

"""`rerank verify MODEL`: the model's scores on this machine next to known scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Annotated

import typer

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.checkpoint import read_checkpoint
from rerank.catalog.golden import GOLDEN, GoldenPair, known_scores
from rerank.cli.terminal import CommandFailed, verbatim
from rerank.core import Pair
from rerank.devices import choose_device
from rerank.errors import RerankError
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.load import load_scorer
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
    card = catalog.operator_choice(model)
    goldens = known_scores(card.id)
    if not goldens:
        raise CommandFailed(f"no scores are known of {card.id}", 2)
    try:
        status = _report(_load(catalog, card, settings), card, goldens)
    except RerankError as error:
        raise CommandFailed(error.message, 3) from error
    raise typer.Exit(status)


def compare(scorer: Scorer, goldens: Sequence[GoldenPair]) -> list[Comparison]:
    """Score the pairs in one batch; a scorer of less than fp32 is given more room."""
    pairs = [Pair(golden.query, golden.document) for golden in goldens]
    logits = score(scorer, scorer.encode(pairs))
    return [
        Comparison(golden, logit, golden.tolerance if scorer.precision == "fp32" else golden.half_tolerance)
        for golden, logit in zip(goldens, logits, strict=True)
    ]


def _load(catalog: Catalog, card: ModelCard, settings: Settings) -> Scorer:
    folder = catalog.folder(card)
    if folder is None:
        raise RerankError(f"{card.id} is not on disk; fetch it first: {download_command(card.id)}")
    device = choose_device(settings.device, card.precision or settings.precision, settings.runtime)
    placement = Placement(device, settings.models_dir / ".openvino", settings.max_seq_length)
    return load_scorer(read_checkpoint(folder), card, placement)


def _report(scorer: Scorer, card: ModelCard, goldens: Sequence[GoldenPair]) -> int:
    compared = compare(scorer, goldens)
    print(f"{card.id}: {scorer.runtime}")
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

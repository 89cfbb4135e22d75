"""Warm-up of a model before it counts as loaded."""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.core import Pair, ScoringOptions, Truncation
from rerank.errors import InvalidRequest
from rerank.garbage import paused, spare_libraries
from rerank.scorers.base import Placement, Scorer, score
from rerank.scorers.libraries import import_transformers
from rerank.scorers.load import family_module
from rerank.scorers.networks import needs_torch

logger = logging.getLogger(__name__)

LENGTHS = (16, 64, 256, 512)
"""Tokens of the pairs to warm up with: kernels are chosen, and compiled, by length."""


def warm_up(scorer: Scorer) -> None:
    """Score a pair of each length that the model reads. The device must not know the scorer yet."""
    started = time.monotonic()
    for length in sorted({min(length, scorer.max_length) for length in LENGTHS}):
        try:
            batch = scorer.encode([Pair("warm", "up " * length)], ScoringOptions(Truncation(max_tokens=length)))
        except InvalidRequest:
            # the model's own prompt is longer than that
            continue
        score(scorer, batch)
    logger.info("warmed up in %.1f s", time.monotonic() - started)


def import_libraries(checkpoint: Checkpoint, card: ModelCard, placements: Sequence[Placement]) -> None:
    """Import the libraries that a model needs on these devices, so that it is not measured with their size."""
    with paused():
        family_module(checkpoint, card)
        if any(needs_torch(checkpoint, placement) for placement in placements):
            import_transformers()
    spare_libraries()

"""Truncated documents: a metric, and a warning once per model and hour."""

from __future__ import annotations

import logging
from collections.abc import Sequence

from rerank.gateway.rarely import Rarely
from rerank.results import DocumentScore
from rerank.telemetry.events import DocumentsTruncated, Observe, ignore

logger = logging.getLogger(__name__)

_WARNING = (
    "%s read %d of %d documents in part: they are longer than its %d tokens or a limit of the request; "
    "max_chunks_per_doc reads more"
)


class Truncations:
    """Truncated documents of all models. Belongs to the event loop's thread."""

    def __init__(self, observe: Observe = ignore, rarely: Rarely | None = None) -> None:
        self._observe = observe
        self._rarely = rarely or Rarely()

    def note(self, model: str, max_length: int, scores: Sequence[DocumentScore]) -> None:
        """Count the truncated documents that a model scored for a request, and warn of the first in an hour."""
        truncated = sum(score.truncated is True for score in scores)
        if not truncated:
            return
        self._observe(DocumentsTruncated(model, truncated))
        if self._rarely.warns(model):
            logger.warning(_WARNING, model, truncated, len(scores), max_length)

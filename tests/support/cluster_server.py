"""Servers without models, as replicas of a cluster."""

from __future__ import annotations

import time
from collections.abc import Sequence
from pathlib import Path

from fastapi import FastAPI

from rerank.access.keys_file import read_keys_file
from rerank.core import PendingLogits
from rerank.scheduling.batching import CPU_BATCH
from rerank.scorers.base import Scorer
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from rerank.settings import Settings
from tests.support.app import AppUnderTest

GATE = "closed"
"""File in the models folder; while it is there, no batch is scored."""


class FileGatedScorer(WordOverlapScorer):
    """Waits before each batch for as long as the file is there."""

    def __init__(self, gate: Path) -> None:
        super().__init__()
        self._gate = gate

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        while self._gate.exists():
            time.sleep(0.02)
        return super().start(batch)


def words(settings: Settings) -> FastAPI:
    """The application around a scorer without a model."""
    return _app(settings, WordOverlapScorer())


def gated(settings: Settings) -> FastAPI:
    """The same, with a gate."""
    return _app(settings, FileGatedScorer(settings.models_dir / GATE))


def _app(settings: Settings, scorer: Scorer) -> FastAPI:
    app = AppUnderTest(
        settings.models_dir,
        scorer,
        keys=settings.api_keys,
        admin_keys=settings.admin_keys,
        named_keys=read_keys_file(settings.keys_file),
        batch=CPU_BATCH,
        state_url=settings.state_url,
    )
    return app.asgi

"""From a model card to a backend: find the weights, or fetch them, check them, load them."""

from __future__ import annotations

import logging
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Executor
from dataclasses import dataclass
from pathlib import Path

from rerank.backends.local import Backend, LocalBackend
from rerank.catalog import hub
from rerank.catalog.cards import Family, ModelCard, Precision
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import WEIGHTS_FILE, Checkpoint, check_sha256, read_checkpoint
from rerank.catalog.progress import Downloads
from rerank.errors import FetchFailure, ModelUnavailable, SettingsError, WeightsBroken, WeightsMissing
from rerank.scheduling.scheduler import Scheduler
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class LoadedModel:
    """A model in memory."""

    card: ModelCard
    backend: Backend
    family: Family
    device: str
    """Where it runs; names separated by commas where there are several."""
    runtime: str
    """What runs the network there: library, precision, kernel."""
    load_seconds: float


LoadModel = Callable[[ModelCard], LoadedModel]
PlacementsIn = Callable[[Precision], Sequence[Placement]]
"""The devices, and how a model runs on them in another precision than the server's. Raises SettingsError."""


class LocalLoader:
    """Loads models, onto each device. Blocking: to be called on a thread of its own, by several at once if need be."""

    def __init__(
        self,
        catalog: Catalog,
        placements: Sequence[Placement],
        scheduler: Scheduler,
        tokenisers: Executor,
        *,
        endpoint: str | None = None,
        placements_in: PlacementsIn | None = None,
        downloads: Downloads | None = None,
    ) -> None:
        """Without ``placements_in`` every model runs as ``placements`` say, whatever precision its card names."""
        self._catalog = catalog
        self._placements = placements
        self._scheduler = scheduler
        self._tokenisers = tokenisers
        self._endpoint = endpoint
        self._placements_in = placements_in
        self._downloads = downloads or Downloads()
        # two loads at once would need the memory of both copies; downloads may overlap
        self._one_at_a_time = threading.Lock()

    def __call__(self, card: ModelCard) -> LoadedModel:
        """Load a model. Raises ModelUnavailable saying what to do about it."""
        folder = self._catalog.folder(card) or self._fetch(card)
        try:
            return self._load(card, folder)
        except WeightsBroken as error:
            raise WeightsBroken(f"{card.id} cannot be used: {error.message}. {self._repair(card)}") from error

    def _load(self, card: ModelCard, folder: Path) -> LoadedModel:
        checkpoint = read_checkpoint(folder)
        self._catalog.check_revision(card, folder)
        if card.sha256:
            check_sha256(folder / WEIGHTS_FILE, card.sha256)
        placements = self._placements_of(card)
        with self._one_at_a_time:
            started = time.monotonic()
            replicas = [self._replica(card, checkpoint, placement) for placement in placements]
            seconds = time.monotonic() - started
        runtime = ", ".join(dict.fromkeys(scorer.runtime for scorer in replicas))
        length = replicas[0].max_length
        logger.info("%s is ready after %.1f s: %s, %d tokens a pair", card.id, seconds, runtime, length)
        return LoadedModel(
            card=card,
            backend=LocalBackend(replicas, self._scheduler, self._tokenisers),
            family=card.family or checkpoint.family,
            device=", ".join(placement.device.name for placement in placements),
            runtime=runtime,
            load_seconds=seconds,
        )

    def _placements_of(self, card: ModelCard) -> Sequence[Placement]:
        if card.precision is None or self._placements_in is None:
            return self._placements
        try:
            return self._placements_in(card.precision)
        except SettingsError as error:
            raise ModelUnavailable(
                f"{card.id} cannot be used: its card asks for precision {card.precision}. {error}"
            ) from error

    def _replica(self, card: ModelCard, checkpoint: Checkpoint, placement: Placement) -> Scorer:
        logger.info("loading %s (%.0f MB) on %s", card.id, checkpoint.weight_bytes / 1e6, placement.device)
        return load_scorer(checkpoint, card, placement)

    def _fetch(self, card: ModelCard) -> Path:
        if card.repo is None:
            raise WeightsMissing(
                f"{card.id} has no weights on disk and names no Hub repository. Put them into "
                f"{self._shown(self._catalog.own_folder(card))}.",
                FetchFailure.NOT_FOUND,
            )
        logger.info("%s is not on disk; fetching it from the Hub", card.id)
        destination = self._catalog.own_folder(card)
        log = _log_each_tenth(card.id)
        with self._downloads.watched(card.id) as show:

            def report(done: int, total: int) -> None:
                show(done, total)
                log(done, total)

            return hub.fetch(card, destination, endpoint=self._endpoint, progress=report)

    @staticmethod
    def _shown(folder: Path) -> str:
        return f"{folder.parent.name}/{folder.name}"

    @staticmethod
    def _repair(card: ModelCard) -> str:
        if card.repo is None:
            return "Mend the folder; the next request tries again."
        return f"Mend the folder, or fetch it anew: python download_model.py {card.id} --force"


def _log_each_tenth(model_id: str) -> Callable[[int, int], None]:
    """A progress callback that writes a log line for each further tenth of a download."""
    told = 0

    def report(done: int, total: int) -> None:
        nonlocal told
        tenths = 10 * done // max(total, 1)
        if tenths > told:
            told = tenths
            logger.info("fetching %s: %d %% of %s", model_id, tenths * 10, hub.human_size(total))

    return report

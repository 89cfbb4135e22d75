"""Loader of local models: locate or fetch the weights, check them, load them."""

from __future__ import annotations

import logging
import time
import traceback
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from rerank.backends.base import FoundModel, LoadedModel, Local, too_large
from rerank.backends.fingerprints import Stamps, contents_of, fingerprint, stamps_of, weights_fingerprint
from rerank.backends.local import LocalBackend
from rerank.backends.sizes import estimate, weights_on
from rerank.backends.tokenisers import Tokenisers
from rerank.backends.warming import import_libraries, warm_up
from rerank.catalog.cards import ModelCard, Precision
from rerank.catalog.catalog import Catalog, download_command
from rerank.catalog.checkpoint import Checkpoint, check_sha256, read_checkpoint
from rerank.catalog.downloads import DownloadRules, Downloads
from rerank.catalog.folder_files import shown
from rerank.catalog.weight_files import WEIGHTS_FILE, parameters
from rerank.devices import Device, is_out_of_memory, memory_in_use, release_memory
from rerank.errors import (
    FetchFailure,
    ModelUnavailable,
    ModelUnsupported,
    OutOfOrder,
    SettingsError,
    WeightsBroken,
    WeightsMissing,
)
from rerank.garbage import times_spared
from rerank.scheduling.scheduler import Scheduler
from rerank.scorers.base import Placement, Scorer
from rerank.scorers.load import load_scorer
from rerank.units import human_size

if TYPE_CHECKING:
    from rerank.catalog.repository import Repository

logger = logging.getLogger(__name__)


PlacementsIn = Callable[[Precision], Sequence[Placement]]
"""The devices in another precision than the server's. Raises SettingsError."""


class LocalLoader:
    """Finds models, and loads them onto each device. Blocks: to be called on threads of its own."""

    def __init__(
        self,
        catalog: Catalog,
        placements: Sequence[Placement],
        scheduler: Scheduler,
        tokenisers: Tokenisers,
        *,
        endpoint: str | None = None,
        placements_in: PlacementsIn | None = None,
        downloads: Downloads | None = None,
        budget: Mapping[str, int] | None = None,
        rules: DownloadRules = DownloadRules(),  # noqa: B008
    ) -> None:
        """Without ``placements_in`` every model runs in the precision of ``placements``, whatever its card names.

        A model that cannot fit into the ``budget`` (bytes for all models on each device) is not fetched.
        """
        self._catalog = catalog
        self._placements = placements
        self._scheduler = scheduler
        self._tokenisers = tokenisers
        self._endpoint = endpoint
        self._placements_in = placements_in
        self._downloads = downloads or Downloads()
        self._budget = budget or {}
        self._rules = rules

    def find(self, card: ModelCard) -> FoundModel:
        """The model on disk, fetched if necessary, and checked. May be called for several models at once.

        Raises ModelUnavailable with what to do about it.
        """
        folder = self._catalog.folder(card) or self._fetch(card)
        with self._explained(card):
            checkpoint = read_checkpoint(folder, card)
            self._catalog.check_revision(card, folder)
            if card.sha256:
                check_sha256(folder / WEIGHTS_FILE, card.sha256)
            return FoundModel(card, self.estimate(card, checkpoint), checkpoint)

    def estimate(self, card: ModelCard, checkpoint: Checkpoint) -> dict[str, int]:
        """See ``Loader.estimate``."""
        return self._estimate(card, parameters(checkpoint.weight_files))

    def load(self, found: FoundModel) -> LoadedModel:
        """Load a model and warm it up.

        For one model at a time: two at once would be measured as one. Raises ModelUnavailable, or OutOfOrder if the
        device failed; the memory of a failed load is freed.
        """
        try:
            return self._load(found)
        except BaseException as error:
            # a device without models is checked by no batch
            self._scheduler.check_all()
            _let_go(error)
            if trouble := self._scheduler.trouble:
                raise OutOfOrder(trouble) from error
            raise

    def _load(self, found: FoundModel) -> LoadedModel:
        card, checkpoint = found.card, found.checkpoint
        if checkpoint is None:
            raise ValueError(f"{card.id} was found, but not on this machine")
        placements = self._placements_of(card)
        with self._explained(card):
            import_libraries(checkpoint, card, placements)
        made = times_spared()
        devices = [placement.device for placement in placements]
        before = {device.name: memory_in_use(device.name) for device in devices}
        stamps = stamps_of(checkpoint)
        started = time.monotonic()
        with self._explained(card):
            replicas = [self._replica(card, checkpoint, placement) for placement in placements]
            for scorer in replicas:
                warm_up(scorer)
        local = Local(
            family=checkpoint.family,
            device=", ".join(device.name for device in devices),
            runtime=", ".join(dict.fromkeys(scorer.runtime for scorer in replicas)),
            precision=", ".join(dict.fromkeys(scorer.precision for scorer in replicas)),
            load_seconds=time.monotonic() - started,
            size=_measure(checkpoint, devices, before),
        )
        backend = LocalBackend(replicas, self._scheduler, self._tokenisers, made)
        _log_ready(card, backend, local)
        contents = _contents(card, checkpoint, stamps)
        return LoadedModel(
            card,
            backend,
            local,
            contents and fingerprint(card, contents, local.runtime, local.precision, backend.max_length),
            weights=contents and weights_fingerprint(card, backend.activation, contents, checkpoint.family),
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
                f"{shown(self._catalog.own_folder(card))}.",
                FetchFailure.NOT_FOUND,
            )
        self._rules.check(card, configured=self._catalog.is_configured(card))
        logger.info("%s is not on disk; fetching it from the Hub", card.id)
        destination = self._catalog.own_folder(card)
        log = _log_each_tenth(card.id)
        with self._downloads.watched(card.id) as show:

            def report(done: int, total: int) -> None:
                show(done, total)
                log(done, total)

            # the Hub's client is slow to import, and most servers fetch nothing
            from rerank.catalog import hub

            return hub.fetch(
                card,
                destination,
                endpoint=self._endpoint,
                progress=report,
                accept=partial(self._refuse_too_large, card),
                min_free=self._rules.min_free,
            )

    def _estimate(self, card: ModelCard, values: int) -> dict[str, int]:
        return estimate(values, [placement.device for placement in self._placements_of(card)])

    def _refuse_too_large(self, card: ModelCard, repository: Repository) -> None:
        """Refuse before gigabytes are fetched that could not be loaded. Not every Hub says the number of parameters."""
        if repository.parameters is None:
            return
        for device, needed in self._estimate(card, repository.parameters).items():
            available = self._budget.get(device, needed)
            if needed > available:
                raise too_large(card.id, needed, device, available)

    @contextmanager
    def _explained(self, card: ModelCard) -> Iterator[None]:
        """Add to an error about a broken folder which model it is, and how to repair it."""
        try:
            yield
        except ModelUnsupported as error:
            raise ModelUnsupported(f"{card.id} cannot be used: {error.message}") from error
        except WeightsBroken as error:
            raise WeightsBroken(f"{card.id} cannot be used: {error.message}. {self._repair(card)}") from error
        except Exception as error:
            if not is_out_of_memory(error):
                raise
            logger.warning("out of memory loading %s: %s", card.id, error)
            raise ModelUnavailable(
                f"{card.id} cannot be loaded now: memory ran out. Unload another model or give the server more memory; "
                "the next request will retry.",
            ) from error

    @staticmethod
    def _repair(card: ModelCard) -> str:
        if card.repo is None:
            return "Repair the folder; the next request will retry."
        return f"Repair the folder, or fetch it again: {download_command(card.id)} --force"


def _contents(card: ModelCard, checkpoint: Checkpoint, stamps: Stamps) -> str:
    """A digest of the model's files; empty if they are no longer those that it was loaded from."""
    try:
        contents = contents_of(checkpoint)
        if stamps_of(checkpoint) == stamps:
            return contents
        reason = "its files changed while it was loaded"
    except (OSError, WeightsBroken) as error:
        reason = str(error)
    logger.warning("scores of %s are neither cached nor calibrated: %s", card.id, reason)
    return ""


def _log_ready(card: ModelCard, backend: LocalBackend, local: Local) -> None:
    logger.info(
        "%s is ready after %.1f s: %s, at most %d tokens per pair, %s",
        card.id,
        local.load_seconds,
        local.runtime,
        backend.max_length,
        human_size(sum(local.size.values())),
    )


def _let_go(error: BaseException) -> None:
    """Free the memory of a failed load: the frames of its traceback hold the tensors it has read."""
    cause: BaseException | None = error
    while cause:
        traceback.clear_frames(cause.__traceback__)
        cause = cause.__cause__ or cause.__context__
    try:
        release_memory()
    except RuntimeError as failure:
        logger.warning("could not free memory: %s", failure)


def _log_each_tenth(model_id: str) -> Callable[[int, int], None]:
    """A progress callback that logs each further tenth of a download."""
    logged = 0

    def report(done: int, total: int) -> None:
        nonlocal logged
        tenths = 10 * done // max(total, 1)
        if tenths > logged:
            logged = tenths
            logger.info("fetching %s: %d %% of %s", model_id, tenths * 10, human_size(total))

    return report


def _measure(checkpoint: Checkpoint, devices: Sequence[Device], before: Mapping[str, int]) -> dict[str, int]:
    """Growth of the process, but at least the weights: they may reuse freed memory, or be mapped and not read yet."""
    # leftovers of the load, above all of a conversion, would be measured as well
    release_memory()
    values = parameters(checkpoint.weight_files)
    return {
        device.name: max(memory_in_use(device.name) - before[device.name], weights_on(values, device))
        for device in devices
    }

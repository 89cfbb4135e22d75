"""Downloads in progress: their state, their caller, and which are allowed."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from contextvars import ContextVar
from dataclasses import dataclass
from enum import StrEnum

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import download_command
from rerank.errors import DownloadForbidden, Overloaded

_AT_ONCE = 2
"""Maximum simultaneous downloads per caller, so that one key cannot fetch the whole catalog."""
_RETRY_SECONDS = 60

fetching_for: ContextVar[str | None] = ContextVar("fetching_for", default=None)
"""Name of the caller whose request may begin a download; None where the operator wants the model."""


class Allowed(StrEnum):
    """Models that may be fetched on request."""

    CATALOGUE = "catalogue"
    """Every model that has a card."""
    CONFIGURED = "configured"
    """Models that settings, models file or keys file name."""
    OFF = "off"


@dataclass(frozen=True, slots=True)
class DownloadRules:
    """Limits on downloads by request."""

    allowed: Allowed = Allowed.CATALOGUE
    min_free: int = 0
    """Bytes of the disk of the models folder that downloads leave free."""

    def check(self, card: ModelCard, *, configured: bool) -> None:
        """Raise DownloadForbidden for a model that is not fetched on demand."""
        if self.allowed is Allowed.CATALOGUE or (self.allowed is Allowed.CONFIGURED and configured):
            return
        which = "no models" if self.allowed is Allowed.OFF else "only models that it was configured with"
        raise DownloadForbidden(
            f"{card.id} is not on disk, and this server fetches {which} (RERANK_DOWNLOADS={self.allowed}). Its "
            f"operator can: `{download_command(card.id)}`.",
            param="model",
        )


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of a download on disk, and in all."""

    done: int
    total: int


class Downloads:
    """The downloads under way, by model id. Each is written by one thread; the dict's own operations are atomic."""

    def __init__(self) -> None:
        self._under_way: dict[str, Progress] = {}
        self._lock = threading.Lock()
        self._callers: list[str] = []

    @contextmanager
    def watched(self, model_id: str) -> Iterator[Callable[[int, int], None]]:
        """While the context is open the model is being fetched; it gives what to tell the progress to.

        Raises Overloaded if the caller that ``fetching_for`` names has enough downloads under way.
        """

        def tell(done: int, total: int) -> None:
            self._under_way[model_id] = Progress(done, total)

        with self._counted(fetching_for.get()):
            try:
                yield tell
            finally:
                self._under_way.pop(model_id, None)

    def of(self, model_id: str) -> Progress | None:
        """How far the model's download is; None if it is not under way or the Hub has not answered yet."""
        return self._under_way.get(model_id)

    @contextmanager
    def _counted(self, caller: str | None) -> Iterator[None]:
        if caller is None:
            yield
            return
        with self._lock:
            if self._callers.count(caller) >= _AT_ONCE:
                raise Overloaded(
                    f"{_AT_ONCE} models are being fetched for this key already. Ask again when one of them is there.",
                    param="model",
                    retry_after=_RETRY_SECONDS,
                )
            self._callers.append(caller)
        try:
            yield
        finally:
            with self._lock:
                self._callers.remove(caller)

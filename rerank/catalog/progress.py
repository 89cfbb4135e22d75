"""How far downloads are: written by the threads that fetch, read by whoever shows it."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Progress:
    """Bytes of a download on disk, and in all."""

    done: int
    total: int


class Downloads:
    """The downloads under way, by model id. Each is written by one thread; the dict's own operations are atomic."""

    def __init__(self) -> None:
        self._under_way: dict[str, Progress] = {}

    @contextmanager
    def watched(self, model_id: str) -> Iterator[Callable[[int, int], None]]:
        """While the context is open the model is being fetched; it gives what to tell the progress to."""

        def tell(done: int, total: int) -> None:
            self._under_way[model_id] = Progress(done, total)

        try:
            yield tell
        finally:
            self._under_way.pop(model_id, None)

    def of(self, model_id: str) -> Progress | None:
        """How far the model's download is; None if it is not under way or the Hub has not answered yet."""
        return self._under_way.get(model_id)

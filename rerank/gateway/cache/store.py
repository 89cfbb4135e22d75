"""The contract of whatever keeps scores."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol


class Store(Protocol):
    """Keeps scores by key, for a while. An entry may be gone at any time."""

    @property
    def name(self) -> str:
        """The kind of store, as metrics and the log show it."""
        ...

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """What is kept under each key, in order."""
        ...

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        """Keep scores by key, in place of those kept before."""
        ...

    async def close(self) -> None:
        """Finish what was begun, and let go of files and connections."""
        ...

"""A semaphore that serves callers by turns."""

from __future__ import annotations

import asyncio
from collections import deque


class FairSemaphore:
    """Places for concurrent calls: a caller with many of them keeps none out that has one.

    Belongs to the event loop's thread.
    """

    def __init__(self, places: int) -> None:
        self.free = places
        """Places that are not taken."""
        self._waiting: dict[str, deque[asyncio.Future[None]]] = {}
        """Callers in the order of their turns."""

    async def acquire(self, caller: str) -> None:
        """Wait for a place."""
        if self.free:
            self.free -= 1
            return
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(caller, deque()).append(turn)
        try:
            await turn
        except asyncio.CancelledError:
            if not turn.cancelled():
                # it was given the place, and does not take it any more
                self.release()
            raise

    def release(self) -> None:
        """Give the place to the next caller."""
        while self._waiting:
            caller = next(iter(self._waiting))
            turns = self._waiting.pop(caller)
            while turns and turns[0].done():
                turns.popleft()
            if turns:
                self._give(caller, turns)
                return
        self.free += 1

    def _give(self, caller: str, turns: deque[asyncio.Future[None]]) -> None:
        """Let its first call in; the others wait for all other callers' turns."""
        turns.popleft().set_result(None)
        if turns:
            self._waiting[caller] = turns

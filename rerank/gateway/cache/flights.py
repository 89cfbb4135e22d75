"""Single flight: a pair that is being scored for one request is not scored again for another."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass

from rerank.core import RawScore

_LARGER = 2

Compute = Callable[[Sequence[bytes]], Awaitable[Sequence[RawScore]]]
"""Scores the pairs of these keys, in order."""


@dataclass(frozen=True, slots=True)
class _Flight:
    """A call that is under way."""

    size: int
    landed: asyncio.Future[Mapping[bytes, RawScore]]
    """The scores by key; none if the call failed or was cancelled."""


class Flights:
    """Calls under way. Belongs to the event loop's thread.

    A request waits only for calls of its own caller, because callers share a device equally, and never for one that is
    much larger than itself: small requests overtake large ones.
    """

    def __init__(self) -> None:
        self._of: dict[tuple[str, bytes], _Flight] = {}

    async def score(
        self, caller: str, keys: Sequence[bytes], compute: Compute, until: float | None = None
    ) -> dict[bytes, RawScore]:
        """A score for each of these distinct keys: from a call under way, or by ``compute``.

        Pairs whose call fails, is cancelled or lasts beyond ``until`` are computed here after all.
        """
        flights = {key: flight for key in keys if (flight := self._flight(caller, key, len(keys)))}
        scores = await self._fly(caller, [key for key in keys if key not in flights], compute)
        scores |= await _landed(flights, until)
        if left := [key for key in keys if key not in scores]:
            scores |= zip(left, await compute(left), strict=True)
        return scores

    def _flight(self, caller: str, key: bytes, size: int) -> _Flight | None:
        flight = self._of.get((caller, key))
        return flight if flight and flight.size <= _LARGER * size else None

    async def _fly(self, caller: str, keys: Sequence[bytes], compute: Compute) -> dict[bytes, RawScore]:
        if not keys:
            return {}
        flight = _Flight(len(keys), asyncio.get_running_loop().create_future())
        for key in keys:
            self._of[caller, key] = flight
        scores: dict[bytes, RawScore] = {}
        try:
            scores.update(zip(keys, await compute(keys), strict=True))
        finally:
            flight.landed.set_result({key: score for key, score in scores.items() if score.scored})
            for key in keys:
                if self._of.get((caller, key)) is flight:
                    del self._of[caller, key]
        return scores


async def _landed(flights: Mapping[bytes, _Flight], until: float | None) -> dict[bytes, RawScore]:
    """The scores of the calls that have ended by then."""
    if not flights:
        return {}
    waiting = {flight.landed for flight in flights.values()}
    # cancelling a wait leaves what it waits for alone
    await asyncio.wait(waiting, timeout=None if until is None else max(0.0, until - time.monotonic()))
    return {
        key: flight.landed.result()[key]
        for key, flight in flights.items()
        if flight.landed.done() and key in flight.landed.result()
    }

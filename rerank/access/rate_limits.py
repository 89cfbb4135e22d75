"""Rate limits per key: requests and tokens per minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import NamedTuple

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from rerank.core import Caller
from rerank.errors import InvalidRequest, RateLimited


@dataclass(slots=True)
class Spending:
    """Usage of one request."""

    tokens: int = 0
    """Scored by the model; 0 until there is an answer."""


class Allowance(NamedTuple):
    """What is left of a key's minute; None where it has no limit."""

    requests: int | None
    tokens: int | None


class RateLimits:
    """Requests and tokens of each key over the last minute. Belongs to the event loop's thread.

    A request counts when it comes in, its tokens when it has been answered; until then an estimate of them is held
    back, so that requests at the same time cannot use one allowance twice.
    """

    def __init__(self) -> None:
        counts = MemoryStorage()
        # each request is remembered; of tokens, which are many, only a count by the minute, so these are spread evenly
        self._requests = MovingWindowRateLimiter(counts)
        self._tokens = SlidingWindowCounterRateLimiter(counts)
        self._held: Counter[str] = Counter()

    @asynccontextmanager
    async def spend(self, caller: Caller, tokens: int) -> AsyncIterator[Spending]:
        """Let a request of an estimated number of tokens through; afterwards its actual tokens count.

        Raises RateLimited, or InvalidRequest where no minute would ever have enough tokens for it.
        """
        self._held[caller.name] += tokens
        spending = Spending()
        try:
            await self._check_tokens(caller, tokens)
            await self._count_request(caller)
            yield spending
        except asyncio.CancelledError:
            # who leaves before the answer may have been worked for
            spending.tokens = tokens
            raise
        finally:
            self._held[caller.name] -= tokens
            await self._count_tokens(caller, spending.tokens)

    async def left(self, caller: Caller) -> Allowance:
        """What is left of a caller's minute."""
        requests = tokens = None
        if caller.requests_per_minute is not None:
            minute = RateLimitItemPerMinute(caller.requests_per_minute)
            requests = (await self._requests.get_window_stats(minute, "requests", caller.name)).remaining
        if caller.tokens_per_minute is not None:
            left = await self._tokens_left(RateLimitItemPerMinute(caller.tokens_per_minute), caller)
            tokens = max(0, left - self._held[caller.name])
        return Allowance(requests, tokens)

    async def _check_tokens(self, caller: Caller, tokens: int) -> None:
        most = caller.tokens_per_minute
        if most is None:
            return
        if tokens > most:
            raise InvalidRequest(
                f"The request holds about {tokens} tokens; the key {caller.name} may use {most} a minute. "
                "Send the documents in parts.",
                param="documents",
            )
        missing = self._held[caller.name] - await self._tokens_left(RateLimitItemPerMinute(most), caller)
        if missing > 0:
            raise _refusal(caller, f"{most} tokens", 60 * missing / most)

    async def _count_request(self, caller: Caller) -> None:
        most = caller.requests_per_minute
        if most is None:
            return
        minute = RateLimitItemPerMinute(most)
        if not await self._requests.hit(minute, "requests", caller.name):
            oldest_leaves, _ = await self._requests.get_window_stats(minute, "requests", caller.name)
            raise _refusal(caller, f"{most} requests", oldest_leaves - time.time())

    async def _count_tokens(self, caller: Caller, tokens: int) -> None:
        if caller.tokens_per_minute is not None and tokens:
            minute = RateLimitItemPerMinute(caller.tokens_per_minute)
            # more than the estimate said: what is left is gone, the rest is forgiven
            cost = min(tokens, await self._tokens_left(minute, caller))
            await self._tokens.hit(minute, "tokens", caller.name, cost=cost)

    async def _tokens_left(self, minute: RateLimitItem, caller: Caller) -> int:
        return (await self._tokens.get_window_stats(minute, "tokens", caller.name)).remaining


def _refusal(caller: Caller, allowance: str, seconds: float) -> RateLimited:
    """``seconds``: estimated time until the allowance suffices again."""
    return RateLimited(
        f"The key {caller.name} has used up its {allowance} a minute. Try again later.",
        retry_after=min(max(seconds, 1.0), 60.0),
    )

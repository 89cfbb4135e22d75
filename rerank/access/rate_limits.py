"""Rate limits per key: requests and tokens per minute."""

from __future__ import annotations

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass

from limits import RateLimitItem, RateLimitItemPerMinute
from limits.aio.storage import MemoryStorage
from limits.aio.strategies import MovingWindowRateLimiter, SlidingWindowCounterRateLimiter

from rerank.access.allowance import Allowance, requests_used_up, tokens_used_up
from rerank.access.shared_limits import SharedLimits, Taken
from rerank.core import Caller
from rerank.errors import DeadlineExceeded, InvalidRequest, RateLimited


@dataclass(slots=True)
class Spending:
    """Usage of one request."""

    tokens: int = 0
    """Scored by the model; 0 until there is an answer."""


class RateLimits:
    """Requests and tokens of each key over the last minute. Belongs to the event loop's thread.

    A request counts when it is let in, its tokens when it has been answered; until then an estimate of them is held
    back, so that requests at the same time cannot use one allowance twice.

    With ``shared``, what all servers have counted together is the limit as well; while that is away, this server's own.
    """

    def __init__(self, shared: SharedLimits | None = None) -> None:
        self._shared = shared
        counts = MemoryStorage()
        # each request is remembered; of tokens, which are many, only a count by the minute, so these are spread evenly
        self._requests = MovingWindowRateLimiter(counts)
        self._tokens = SlidingWindowCounterRateLimiter(counts)
        self._held: Counter[str] = Counter()

    async def check(self, caller: Caller, tokens: int) -> None:
        """Raise what ``spend`` would raise by this server's own count. Nothing is counted."""
        await self._check_tokens(caller, tokens, self._held[caller.name] + tokens)
        await self._check_requests(caller)

    @asynccontextmanager
    async def spend(self, caller: Caller, tokens: int) -> AsyncIterator[Spending]:
        """Let a request of an estimated number of tokens through; afterwards its actual tokens count.

        Raises RateLimited, or InvalidRequest where no minute would ever have enough tokens for it.
        """
        self._held[caller.name] += tokens
        spending = Spending()
        taken: Taken | None = None
        try:
            await self._check_tokens(caller, tokens, self._held[caller.name])
            taken = await self._take(caller, tokens)
            await self._count_request(caller, binding=taken is None)
            yield spending
        except (asyncio.CancelledError, DeadlineExceeded):
            # devices worked until then
            spending.tokens = tokens
            raise
        finally:
            self._held[caller.name] -= tokens
            await self._count_tokens(caller, spending.tokens)
            if self._shared and taken:
                await self._shared.settle(caller, taken, spending.tokens)

    async def left(self, caller: Caller) -> Allowance:
        """What is left of a caller's minute."""
        shared = await self._shared.left(caller) if self._shared and _is_limited(caller) else None
        return shared or await self._left_here(caller)

    async def _take(self, caller: Caller, tokens: int) -> Taken | None:
        """Count a request on all servers; None if only this one counts. Raises RateLimited."""
        if not self._shared or not _is_limited(caller):
            return None
        # what is used up here alone need not be asked for
        await self._check_requests(caller)
        return await self._shared.take(caller, tokens)

    async def _left_here(self, caller: Caller) -> Allowance:
        requests = tokens = None
        if caller.requests_per_minute is not None:
            minute = RateLimitItemPerMinute(caller.requests_per_minute)
            requests = (await self._requests.get_window_stats(minute, "requests", caller.name)).remaining
        if caller.tokens_per_minute is not None:
            left = await self._tokens_left(RateLimitItemPerMinute(caller.tokens_per_minute), caller)
            tokens = max(0, left - self._held[caller.name])
        return Allowance(requests, tokens)

    async def _check_tokens(self, caller: Caller, tokens: int, held: int) -> None:
        """``held``: of all the caller's requests, this one included."""
        most = caller.tokens_per_minute
        if most is None:
            return
        if tokens > most:
            raise InvalidRequest(
                f"The request holds about {tokens} tokens; the key {caller.name} may use {most} a minute. "
                "Send it in parts."
            )
        missing = held - await self._tokens_left(RateLimitItemPerMinute(most), caller)
        if missing > 0:
            raise tokens_used_up(caller, missing)

    async def _check_requests(self, caller: Caller) -> None:
        most = caller.requests_per_minute
        if most is not None and not await self._requests.test(RateLimitItemPerMinute(most), "requests", caller.name):
            raise await self._requests_used_up(caller, most)

    async def _count_request(self, caller: Caller, *, binding: bool) -> None:
        """Count a request; unless ``binding``, also one that is too many here."""
        most = caller.requests_per_minute
        if most is None:
            return
        counted = await self._requests.hit(RateLimitItemPerMinute(most), "requests", caller.name)
        if binding and not counted:
            raise await self._requests_used_up(caller, most)

    async def _requests_used_up(self, caller: Caller, most: int) -> RateLimited:
        minute = RateLimitItemPerMinute(most)
        oldest_leaves, _ = await self._requests.get_window_stats(minute, "requests", caller.name)
        return requests_used_up(caller, oldest_leaves - time.time())

    async def _count_tokens(self, caller: Caller, tokens: int) -> None:
        if caller.tokens_per_minute is not None and tokens:
            minute = RateLimitItemPerMinute(caller.tokens_per_minute)
            # more than the estimate said: what is left is gone, the rest is forgiven
            cost = min(tokens, await self._tokens_left(minute, caller))
            await self._tokens.hit(minute, "tokens", caller.name, cost=cost)

    async def _tokens_left(self, minute: RateLimitItem, caller: Caller) -> int:
        return (await self._tokens.get_window_stats(minute, "tokens", caller.name)).remaining


def _is_limited(caller: Caller) -> bool:
    return caller.requests_per_minute is not None or caller.tokens_per_minute is not None

"""What keys use per minute on all servers that share a Redis, by its clock: those of the servers may differ."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, NamedTuple

from rerank.access.allowance import Allowance, requests_used_up, tokens_used_up
from rerank.core import Caller
from rerank.shared_state.names import hashed
from rerank.shared_state.state import OWN_KEY, SharedState

_MICROSECONDS = 1_000_000
_LARGEST = 10**15
"""Lua counts exactly up to here; no key uses so much in a minute."""
# requests: the time of each, the latest first. tokens: of this minute and of the one before, which counts in part
_WINDOWS = (
    OWN_KEY
    + """
own(KEYS[1], 'list')
own(KEYS[2], 'hash')
local MINUTE = 60000000
local clock = redis.call('TIME')
local now = clock[1] * 1000000 + clock[2]
local minute = math.floor(now / MINUTE)

local function count(text)
    local number = tonumber(text)
    return number and number >= 0 and number < 9e15 and math.floor(number) or 0
end

local function tokens()
    local kept = redis.call('HMGET', KEYS[2], 'minute', 'now', 'before')
    local behind = minute - count(kept[1])
    if behind == 0 then return count(kept[2]), count(kept[3]) end
    return 0, behind == 1 and count(kept[2]) or 0
end

local function left(most, current, before)
    return most - current - math.floor(before * (MINUTE - now % MINUTE) / MINUTE)
end

local function keep(current, before)
    redis.call('HSET', KEYS[2], 'minute', minute, 'now', current, 'before', before)
    redis.call('PEXPIRE', KEYS[2], 2 * MINUTE / 1000)
end
"""
)
_TAKE = (
    _WINDOWS
    + """
local most_requests, most_tokens, wanted = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
local current, before = tokens()
if most_tokens > 0 then
    local missing = wanted - left(most_tokens, current, before)
    if missing > 0 then return {'tokens', missing} end
end
if most_requests > 0 then
    local oldest = count(redis.call('LINDEX', KEYS[1], most_requests - 1))
    if oldest > now - MINUTE and oldest <= now then return {'requests', oldest + MINUTE - now} end
    redis.call('LPUSH', KEYS[1], string.format('%.0f', now))
    redis.call('LTRIM', KEYS[1], 0, most_requests - 1)
    redis.call('PEXPIRE', KEYS[1], MINUTE / 1000)
end
if most_tokens > 0 then keep(current + wanted, before) end
return {'taken', minute}
"""
)
_SETTLE = (
    _WINDOWS
    + """
local taken_in, taken, used, most = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3]), tonumber(ARGV[4])
local current, before = tokens()
if used > taken then
    current = current + math.min(used - taken, math.max(0, left(most, current, before)))
elseif taken_in == minute then
    current = math.max(0, current - (taken - used))
elseif taken_in == minute - 1 then
    before = math.max(0, before - (taken - used))
end
keep(current, before)
return {}
"""
)
_LEFT = (
    _WINDOWS
    + """
local low, high = 0, redis.call('LLEN', KEYS[1])
while low < high do
    local middle = math.floor((low + high) / 2)
    if count(redis.call('LINDEX', KEYS[1], middle)) > now - MINUTE then low = middle + 1 else high = middle end
end
return {math.max(0, ARGV[1] - low), math.max(0, left(tonumber(ARGV[2]), tokens()))}
"""
)


class Taken(NamedTuple):
    """Tokens that were set aside for a request."""

    tokens: int
    minute: int
    """When, by the clock of Redis."""


class SharedLimits:
    """Requests and tokens of each key over the last minute, in Redis.

    Estimated tokens count from the beginning of a request, those it really used from its end. If its server is killed
    in between, the estimate stays until its minute is over.
    """

    def __init__(self, state: SharedState) -> None:
        self._state = state

    async def take(self, caller: Caller, tokens: int) -> Taken | None:
        """Count a request of an estimated number of tokens; None if Redis is away. Raises RateLimited."""
        limits = (caller.requests_per_minute or 0, caller.tokens_per_minute or 0)
        match await self._run(_TAKE, caller, *limits, tokens):
            case [b"requests", int(microseconds)]:
                raise requests_used_up(caller, microseconds / _MICROSECONDS)
            case [b"tokens", int(missing)]:
                raise tokens_used_up(caller, missing)
            case [b"taken", int(minute)]:
                return Taken(tokens, minute)
        return None

    async def settle(self, caller: Caller, taken: Taken, tokens: int) -> None:
        """Count the tokens that a request really used."""
        if caller.tokens_per_minute is not None and tokens != taken.tokens:
            await self._run(_SETTLE, caller, taken.minute, taken.tokens, tokens, caller.tokens_per_minute)

    async def left(self, caller: Caller) -> Allowance | None:
        """What is left of a caller's minute; None if Redis is away."""
        most_requests, most_tokens = caller.requests_per_minute, caller.tokens_per_minute
        match await self._run(_LEFT, caller, most_requests or 0, most_tokens or 0):
            case [int(requests), int(tokens)]:
                return Allowance(None if most_requests is None else requests, None if most_tokens is None else tokens)
        return None

    async def _run(self, script: str, caller: Caller, *arguments: int) -> Sequence[Any] | None:
        # the braces keep both on one node of a cluster
        keys = [f"rerank:limits:{{{hashed(caller.name)}}}:{each}" for each in ("requests", "tokens")]
        return await self._state.run(script, keys, [min(argument, _LARGEST) for argument in arguments])

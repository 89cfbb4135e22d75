from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import AsyncExitStack

import pytest
from redis.asyncio import Redis

from rerank.access.allowance import Allowance
from rerank.access.rate_limits import RateLimits
from rerank.access.shared_limits import SharedLimits
from rerank.core import Caller
from rerank.errors import RateLimited
from rerank.shared_state.names import hashed
from rerank.shared_state.state import SharedState
from tests.support.redis_server import RedisServer

PATIENCE = 60.0
MINUTE = 60_000_000
REQUESTS = f"rerank:limits:{{{hashed('chat')}}}:requests"
TOKENS = f"rerank:limits:{{{hashed('chat')}}}:tokens"


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=redis_server.port, decode_responses=True) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def servers(redis_server: RedisServer, redis: Redis) -> AsyncIterator[tuple[RateLimits, RateLimits]]:
    """Two servers' limits."""
    states = [SharedState(redis_server.url, PATIENCE), SharedState(redis_server.url, PATIENCE)]
    yield RateLimits(SharedLimits(states[0])), RateLimits(SharedLimits(states[1]))
    for state in states:
        await state.close()


async def spend(limits: RateLimits, caller: Caller, tokens: int = 10, estimate: int | None = None) -> None:
    async with limits.spend(caller, tokens if estimate is None else estimate) as spending:
        spending.tokens = tokens


async def pass_minutes(redis: Redis, minutes: int) -> None:
    """As if so much time had passed since everything was counted."""
    times = await redis.lrange(REQUESTS, 0, -1)
    for place, time in enumerate(times):
        await redis.lset(REQUESTS, place, str(int(time) - minutes * MINUTE))
    if await redis.exists(TOKENS):
        await redis.hincrby(TOKENS, "minute", -minutes)


async def test_requests_are_counted_on_all_servers_together(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    caller = Caller("chat", requests_per_minute=3)
    one, other = servers
    await spend(one, caller)
    await spend(other, caller)
    await spend(other, caller)
    assert await one.left(caller) == await other.left(caller) == Allowance(0, None)
    for limits in servers:
        with pytest.raises(RateLimited) as refusal:
            await spend(limits, caller)
        assert refusal.value.message == "The key chat has used up its 3 requests a minute. Try again later."
        assert 1 <= (refusal.value.retry_after or 0) <= 60
    await pass_minutes(redis, 1)
    assert await one.left(caller) == Allowance(3, None)
    await spend(one, caller)


async def test_tokens_are_counted_on_all_servers_together(servers: tuple[RateLimits, RateLimits], redis: Redis) -> None:
    caller = Caller("chat", tokens_per_minute=100)
    one, other = servers
    await spend(one, caller, 40, estimate=90)
    await spend(other, caller, 50, estimate=60)
    with pytest.raises(RateLimited) as refusal:
        await spend(one, caller, 1, estimate=100)
    assert refusal.value.message == "The key chat has used up its 100 tokens a minute. Try again later."
    await pass_minutes(redis, 2)
    assert await one.left(caller) == Allowance(None, 100)


async def test_two_servers_cannot_use_the_same_tokens(servers: tuple[RateLimits, RateLimits], redis: Redis) -> None:
    caller = Caller("chat", tokens_per_minute=100)
    one, other = servers
    async with one.spend(caller, 90):
        with pytest.raises(RateLimited):
            await spend(other, caller, 100)
    # it failed: nothing of it counts
    assert await other.left(caller) == Allowance(None, 100)
    await spend(other, caller, 100)


async def test_more_tokens_than_estimated_take_what_is_left_and_no_more(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    caller = Caller("chat", tokens_per_minute=100)
    await spend(servers[0], caller, 5000, estimate=10)
    assert int(await redis.hget(TOKENS, "now") or 0) <= 100
    await pass_minutes(redis, 2)
    assert await servers[1].left(caller) == Allowance(None, 100)


@pytest.mark.parametrize(("minutes", "left"), [(0, 100), (1, 100), (2, 100), (-1, 10)])
async def test_tokens_are_returned_to_the_minute_of_which_they_were_taken(
    redis_server: RedisServer, redis: Redis, minutes: int, left: int
) -> None:
    caller, state = Caller("chat", tokens_per_minute=100), SharedState(redis_server.url, PATIENCE)
    limits = SharedLimits(state)
    taken = await limits.take(caller, 90)
    assert taken
    if minutes > 0:
        await pass_minutes(redis, minutes)
    await limits.settle(caller, taken._replace(minute=taken.minute - abs(minutes) * (1 if minutes > 0 else 9)), 0)
    found = await limits.left(caller)
    assert found
    assert left <= (found.tokens or 0) <= left + 1
    await state.close()


async def test_the_estimate_of_a_killed_server_goes_with_its_minutes(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    caller = Caller("chat", requests_per_minute=5, tokens_per_minute=100)
    async with AsyncExitStack() as killed:
        await killed.enter_async_context(servers[0].spend(caller, 90))
        assert 0 < await redis.pttl(REQUESTS) <= 60_000
        assert 0 < await redis.pttl(TOKENS) <= 120_000
        await pass_minutes(redis, 2)
        assert await servers[1].left(caller) == Allowance(5, 100)
        await spend(servers[1], caller, 100)


async def test_keys_without_limits_ask_for_nothing(servers: tuple[RateLimits, RateLimits], redis: Redis) -> None:
    await redis.config_resetstat()
    await spend(servers[0], Caller("chat"), 10**9)
    assert await servers[0].left(Caller("chat")) == Allowance(None, None)
    assert "cmdstat_evalsha" not in await redis.info("commandstats")


async def test_a_request_costs_two_calls_and_one_that_is_refused_here_none(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    caller = Caller("chat", requests_per_minute=2, tokens_per_minute=100)
    await spend(servers[0], caller, 5, estimate=10)
    await redis.config_resetstat()
    await spend(servers[0], caller, 5, estimate=10)
    for _ in range(5):
        with pytest.raises(RateLimited):
            await spend(servers[0], caller, 5, estimate=10)
    assert (await redis.info("commandstats"))["cmdstat_evalsha"]["calls"] == 2


async def test_names_of_keys_are_hashed_and_everything_expires(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    await spend(servers[0], Caller("a name", requests_per_minute=5, tokens_per_minute=100))
    keys = [str(key) for key in await redis.keys()]
    assert len(keys) == 2
    assert all(key.startswith("rerank:limits:{") and "name" not in key for key in keys)
    assert all([await redis.pttl(key) > 0 for key in keys])


@pytest.mark.parametrize("garbage", ["", "-1", "nan", "inf", "1e400", "9" * 400, "\x00\xff", "0x10"])
async def test_garbage_counts_as_nothing(servers: tuple[RateLimits, RateLimits], redis: Redis, garbage: str) -> None:
    caller = Caller("chat", requests_per_minute=1, tokens_per_minute=100)
    await redis.lpush(REQUESTS, garbage)
    await redis.hset(TOKENS, mapping={"minute": garbage, "now": garbage, "before": garbage})
    assert await servers[0].left(caller) == Allowance(1, 100)
    await spend(servers[0], caller, 60)
    with pytest.raises(RateLimited):
        await spend(servers[1], caller, 60)


async def test_keys_of_another_type_are_deleted(servers: tuple[RateLimits, RateLimits], redis: Redis) -> None:
    caller = Caller("chat", requests_per_minute=1, tokens_per_minute=100)
    await redis.set(REQUESTS, "text")
    await redis.sadd(TOKENS, "text")
    await spend(servers[0], caller, 60)
    # of a minute that is just over, a little less counts
    assert await servers[1].left(caller) in (Allowance(0, 40), Allowance(0, 41))


async def test_times_that_are_yet_to_come_do_not_count(servers: tuple[RateLimits, RateLimits], redis: Redis) -> None:
    caller = Caller("chat", requests_per_minute=1, tokens_per_minute=100)
    await spend(servers[0], caller, 60)
    await pass_minutes(redis, -60)
    await spend(servers[1], caller, 100)


async def test_limits_beyond_all_counting_are_limits_all_the_same(
    servers: tuple[RateLimits, RateLimits], redis: Redis
) -> None:
    caller = Caller("chat", requests_per_minute=10**30, tokens_per_minute=10**30)
    await spend(servers[0], caller, 60)
    assert await redis.llen(REQUESTS) == 1


async def test_while_redis_is_away_a_server_counts_for_itself() -> None:
    caller = Caller("chat", requests_per_minute=3)
    with RedisServer() as server:
        state = SharedState(server.url, PATIENCE)
        limits = RateLimits(SharedLimits(state))
        await spend(limits, caller)
        server.kill()
        # what was let through before counts, too
        await spend(limits, caller)
        await spend(limits, caller)
        with pytest.raises(RateLimited):
            await spend(limits, caller)
        assert await limits.left(caller) == Allowance(0, None)
        assert not state.up
        await state.close()

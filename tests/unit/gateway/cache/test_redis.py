from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis
from redis.exceptions import RedisError

from rerank.gateway.cache.guarded import GuardedStore
from rerank.gateway.cache.opening import open_store
from rerank.gateway.cache.redis import RedisStore
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer

PATIENCE = 60.0
"""Seconds; a loaded machine may need many times the 50 ms that a request waits."""


@pytest.fixture
async def store(redis_server: RedisServer) -> AsyncIterator[RedisStore]:
    store = RedisStore(redis_server.url, ttl=60)
    yield store
    await store.close()


async def test_scores_are_kept_with_their_time_under_a_prefix(store: RedisStore, redis_server: RedisServer) -> None:
    await store.put({b"\x01\xff": b"1"})
    async with Redis(port=redis_server.port) as redis:
        assert await redis.get("rerank:01ff") == b"1"
        assert 0 < await redis.pttl("rerank:01ff") <= 60_000


async def test_several_servers_share_scores(store: RedisStore, redis_server: RedisServer) -> None:
    await store.put({b"a": b"1", b"b": b"2"})
    other = RedisStore(redis_server.url, ttl=60)
    assert await other.get([b"b", b"missing", b"a"]) == [b"2", None, b"1"]
    await other.close()


async def test_thousands_are_kept_and_found_in_order(store: RedisStore) -> None:
    scores = {number.to_bytes(16): number.to_bytes(2) for number in range(5000)}
    await store.put(scores)
    assert await store.get(list(scores)) == list(scores.values())


async def test_what_another_program_put_there_is_no_score(store: RedisStore, redis_server: RedisServer) -> None:
    async with Redis(port=redis_server.port) as redis:
        await redis.lpush("rerank:6c", "a list")
    assert await store.get([b"l"]) == [None]


async def test_lookups_at_the_same_time_get_their_own_answers(store: RedisStore) -> None:
    await store.put({bytes([number]): bytes([number]) for number in range(200)})
    found = await asyncio.gather(*[store.get([bytes([number])]) for number in range(200)])
    assert found == [[bytes([number])] for number in range(200)]


async def test_killed_and_started_again_it_is_used_again(own_redis: RedisServer) -> None:
    clock, plain = Clock(), RedisStore(own_redis.url, ttl=60)
    store = GuardedStore(plain, "redis", PATIENCE, clock=clock)
    await plain.put({b"a": b"1"})
    assert await store.get([b"a"]) == [b"1"]
    own_redis.kill()
    assert await store.get([b"a"]) == [None]
    own_redis.start()
    clock.now = 100
    assert await store.get([b"a"]) == [None]
    await plain.put({b"a": b"2"})
    assert await store.get([b"a"]) == [b"2"]
    await store.close()


async def test_one_that_hung_answers_no_lookup_with_the_answer_of_another(own_redis: RedisServer) -> None:
    store = RedisStore(own_redis.url, ttl=60)
    await store.put({b"a": b"1", b"b": b"2"})
    own_redis.freeze()
    for _ in range(3):
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.05):
                await store.get([b"a"])
    own_redis.thaw()
    assert await store.get([b"b"]) == [b"2"]
    await store.close()


async def test_a_password_is_sent_and_never_logged(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(password="a-secret-of-redis") as server:
        store = RedisStore(server.url, ttl=60)
        await store.put({b"a": b"1"})
        assert await store.get([b"a"]) == [b"1"]
        await store.close()
        wrong = server.url.replace("a-secret", "another-secret")
        with pytest.raises(RedisError):
            await RedisStore(wrong, ttl=60).get([b"a"])
        async with open_store(wrong, 100, 60) as opened:
            assert opened
            assert await opened.get([b"a"]) == [None]
    assert f"the cache redis://***@127.0.0.1:{server.port}/0 cannot be read" in caplog.text
    assert "secret" not in caplog.text

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from rerank.shared_state.names import hashed
from rerank.shared_state.state import SharedState, open_state
from rerank.telemetry.events import Event, StateFailed
from tests.support.clock import Clock
from tests.support.redis_server import RedisServer
from tests.support.skipping_loop import seconds_of

PATIENCE = 60.0
SET = "redis.call('SET', KEYS[1], ARGV[1]) return {1}"


class Watched:
    """A state with a clock, and what it reported."""

    def __init__(self, url: str) -> None:
        self.clock = Clock()
        self.events: list[Event] = []
        self.state = SharedState(url, PATIENCE, self.events.append, self.clock)

    async def works(self) -> bool:
        return await self.state.run(SET, ["key"], ["value"]) == [1]


@pytest.fixture
async def watched(redis_server: RedisServer) -> AsyncIterator[Watched]:
    watched = Watched(redis_server.url)
    yield watched
    await watched.state.close()


async def test_a_script_runs_and_its_result_is_given(watched: Watched) -> None:
    assert await watched.state.run("return {KEYS[1], ARGV[1] + 1}", ["key"], [41]) == [b"key", 42]
    assert (watched.state.up, watched.events) == (True, [])


async def test_a_script_that_redis_forgot_is_sent_again(watched: Watched, redis_server: RedisServer) -> None:
    assert await watched.works()
    async with Redis(port=redis_server.port) as redis:
        await redis.script_flush()
    assert await watched.works()
    assert watched.events == []


async def test_after_a_failure_it_is_left_alone_for_a_while(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    caplog.set_level("INFO")
    assert await watched.state.run("no Lua", [], []) is None
    assert (watched.state.up, watched.events) == (False, [StateFailed()])
    assert not await watched.works()
    watched.clock.now = 1.5
    assert await watched.works()
    assert (watched.state.up, watched.events) == (True, [StateFailed()])
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"]


async def test_one_that_fails_and_works_in_turns_is_logged_once_a_minute(
    watched: Watched, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level("INFO")
    for moment in range(0, 118, 2):
        watched.clock.now = moment
        assert await watched.state.run("no Lua", [], []) is None
        watched.clock.now = moment + 1
        assert await watched.works()
    assert [record.levelname for record in caplog.records] == ["WARNING", "INFO"] * 2


async def test_an_outage_soon_after_another_is_logged_later(watched: Watched, caplog: pytest.LogCaptureFixture) -> None:
    for moment, script in ((0, "no Lua"), (10, SET), (20, "no Lua"), (40, "no Lua"), (70, "no Lua"), (200, "no Lua")):
        watched.clock.now = moment
        await watched.state.run(script, ["key"], ["value"])
    assert len(caplog.records) == 2


@pytest.mark.parametrize(
    ("settings", "reason"),
    [
        (
            [("CONFIG", "SET", "maxmemory", "1"), ("CONFIG", "SET", "maxmemory-policy", "noeviction")],
            "used memory > 'maxmemory'",
        ),
        ([("REPLICAOF", "127.0.0.1", "1")], "read only replica"),
        ([("CONFIG", "SET", "requirepass", "a-secret")], "already authenticated"),
        ([("CLIENT", "KILL", "TYPE", "normal"), ("CONFIG", "SET", "maxclients", "1")], "max number of clients"),
    ],
)
async def test_a_server_that_refuses_is_named_with_its_reason_and_without_a_password(
    settings: list[tuple[str, ...]], reason: str, caplog: pytest.LogCaptureFixture
) -> None:
    with RedisServer() as server:
        async with Redis(port=server.port) as redis:
            for command in settings:
                await redis.execute_command(*command)  # type: ignore[no-untyped-call]
            watched = Watched(server.url)
            assert not await watched.works()
            await watched.state.close()
    assert f"RERANK_STATE_URL: redis://127.0.0.1:{server.port}/0 cannot be used" in caplog.text
    assert reason in caplog.text


async def test_a_wrong_password_is_not_logged(caplog: pytest.LogCaptureFixture) -> None:
    with RedisServer(password="a-secret-of-redis") as server:
        right, wrong = Watched(server.url), Watched(server.url.replace("a-secret", "another-secret"))
        assert await right.works()
        assert not await wrong.works()
        await right.state.close()
        await wrong.state.close()
    assert f"redis://***@127.0.0.1:{server.port}/0 cannot be used" in caplog.text
    assert "secret" not in caplog.text


def test_one_that_never_answers_delays_a_call_by_its_patience_at_most(redis_server: RedisServer) -> None:
    async def two_calls() -> list[object]:
        state = SharedState(redis_server.url, 0.05)
        waiting = asyncio.get_running_loop().create_future()

        async def never(*, keys: object, args: object) -> object:
            return await waiting

        state._scripts["script"] = never  # type: ignore[assignment]
        return [await state.run("script", [], []), await state.run("script", [], [])]

    assert seconds_of(two_calls) == ([None, None], 0.05)


async def test_without_an_address_there_is_none() -> None:
    async with open_state(None) as state:
        assert state is None


def test_names_are_of_equal_length_whatever_callers_are_called() -> None:
    names = ["", "chat", "x" * 10_000, "\ud800", "{a}:b\r\nFLUSHALL"]
    assert {len(hashed(name)) for name in names} == {32}
    assert len({hashed(name) for name in names}) == len(names)

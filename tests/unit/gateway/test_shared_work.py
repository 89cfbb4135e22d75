from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import ExitStack

import pytest
from hypothesis import given
from hypothesis import strategies as st
from redis.asyncio import Redis

from rerank.errors import Overloaded
from rerank.gateway.admission import Admission, Elsewhere, Work
from rerank.gateway.shared_work import SharedWork, elsewhere_of, row_of
from rerank.shared_state.names import hashed
from rerank.shared_state.state import SharedState
from tests.support.redis_server import RedisServer

PATIENCE = 60.0
KEY = "rerank:work"


@pytest.fixture
async def redis(redis_server: RedisServer) -> AsyncIterator[Redis]:
    async with Redis(port=redis_server.port) as redis:
        await redis.flushall()
        yield redis


@pytest.fixture
async def state(redis_server: RedisServer) -> AsyncIterator[SharedState]:
    state = SharedState(redis_server.url, PATIENCE)
    yield state
    await state.close()


def ten() -> Admission:
    """Room for ten documents."""
    return Admission(Work(10))


async def test_what_a_caller_has_in_flight_elsewhere_counts_for_its_share(redis: Redis, state: SharedState) -> None:
    here, there = ten(), ten()
    with there.admit(Work(10), caller="greedy"), here.admit(Work(8), caller="other"):
        await SharedWork(state, there).exchange()
        await SharedWork(state, here).exchange()
        assert here.elsewhere == Elsewhere(1, {hashed("greedy"): Work(10)})
        with pytest.raises(Overloaded), here.admit(Work(3), caller="greedy"):
            pass
        # as many here, but none elsewhere
        with here.admit(Work(3), caller="modest"):
            pass


async def test_a_server_with_room_learns_nothing(redis: Redis, state: SharedState) -> None:
    here, there = ten(), ten()
    with there.admit(Work(10), caller="greedy"):
        await SharedWork(state, there).exchange()
        await SharedWork(state, here).exchange()
    assert here.elsewhere == Elsewhere()


async def test_without_redis_nothing_is_elsewhere(state: SharedState) -> None:
    with RedisServer() as server:
        gone = SharedState(server.url, PATIENCE)
    here = ten()
    here.elsewhere = Elsewhere(1, {hashed("greedy"): Work(10)})
    with here.admit(Work(10)):
        await SharedWork(gone, here).exchange()
    assert here.elsewhere == Elsewhere()
    await gone.close()


async def test_one_that_leaves_takes_its_work_along(redis: Redis, state: SharedState) -> None:
    admission = ten()
    shared = SharedWork(state, admission)
    with admission.admit(Work(10)):
        await shared.exchange()
        assert await redis.hlen(KEY) == 1
        assert 0 < await redis.pttl(KEY) <= 5000
    await shared.leave()
    assert await redis.hlen(KEY) == 0


@pytest.mark.parametrize("row", [b"1000 {}", b"99999999999999999 {}", b"no time", b"", b"\xff" * 100, b"1e400 {}"])
async def test_rows_of_dead_servers_and_garbage_are_deleted(redis: Redis, state: SharedState, row: bytes) -> None:
    await redis.hset(KEY, "dead", row)
    admission = ten()
    with admission.admit(Work(10)):
        await SharedWork(state, admission).exchange()
    assert admission.elsewhere == Elsewhere()
    assert not await redis.hexists(KEY, "dead")


async def test_a_key_of_another_type_is_deleted(redis: Redis, state: SharedState) -> None:
    await redis.set(KEY, "text")
    await SharedWork(state, ten()).exchange()
    assert await redis.hlen(KEY) == 1


def test_a_row_names_no_caller_and_at_most_a_hundred() -> None:
    admission = Admission(Work())
    with ExitStack() as places:
        for number in range(300):
            places.enter_context(admission.admit(Work(1, number, 5), caller=f"caller-{number}"))
        row = row_of(admission)
    assert "caller" not in row
    assert elsewhere_of([row.encode()]) == Elsewhere(
        1, {hashed(f"caller-{number}"): Work(1, number, 5) for number in range(200, 300)}
    )


def test_rows_of_several_servers_are_added_up() -> None:
    rows = [b'{"a": [1, 2, 3], "b": [1, 1, 1]}', b"{}", b'{"a": [10, 20, 30]}']
    assert elsewhere_of(rows) == Elsewhere(3, {"a": Work(11, 22, 33), "b": Work(1, 1, 1)})


@pytest.mark.parametrize(
    "row",
    [
        *(b"[]", b"null", b'{"a": [1, 2]}', b'{"a": [-1, 2, 3]}', b'{"a": [1e999, 2, 3]}', b'{"a": "1"}', b"\xff"),
        *(b"[" * 100_000, b'{"' + b"x" * 100 + b'": [1, 2, 3]}', b'{"a": [10000000000000000000000, 2, 3]}'),
        *(b"{" + b" " * 20_000 + b"}",),
    ],
)
def test_what_is_no_row_is_left_out(row: bytes) -> None:
    assert elsewhere_of([row, b'{"a": [1, 2, 3]}']) == Elsewhere(1, {"a": Work(1, 2, 3)})


@given(st.lists(st.binary(max_size=200)))
def test_whatever_redis_holds_is_read_without_an_error(rows: list[bytes]) -> None:
    assert 0 <= elsewhere_of(rows).servers <= len(rows)


WORK = st.builds(Work, st.integers(1, 20))


@given(
    st.lists(st.tuples(st.sampled_from("abc"), WORK), max_size=6),
    st.integers(1, 3),
    st.dictionaries(st.sampled_from("abcd"), WORK),
)
def test_what_is_elsewhere_lets_nothing_in_that_a_server_on_its_own_refuses(
    requests: list[tuple[str, Work]], servers: int, elsewhere: dict[str, Work]
) -> None:
    admission, alone = ten(), Elsewhere()
    among = Elsewhere(servers, {hashed(name): work for name, work in elsewhere.items()})
    with ExitStack() as places:
        for caller, work in requests:
            let_in = {other.servers: lets_in(admission, other, caller, work) for other in (alone, among)}
            assert let_in[0] or not let_in[among.servers]
            if let_in[0]:
                admission.elsewhere = alone
                places.enter_context(admission.admit(work, caller=caller))


def lets_in(admission: Admission, elsewhere: Elsewhere, caller: str, work: Work) -> bool:
    admission.elsewhere = elsewhere
    try:
        with admission.admit(work, caller=caller):
            return True
    except Overloaded:
        return False

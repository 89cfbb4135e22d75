"""The run: order, what is in flight, and what ends it."""

from __future__ import annotations

import asyncio
import gc
import threading
from collections.abc import Iterator, Sequence
from contextlib import suppress

import pytest

from rerank.errors import InvalidRequest, ModelUnavailable, RerankError, ScoringFailed
from rerank.evaluation.bulk.items import Item, Outcome
from rerank.evaluation.bulk.running import rank_items
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked
from rerank_client import BadRequestError, ConnectionFailedError


class FakeRankers:
    """Answers the last that are asked first; notes how many are asked at once."""

    def __init__(self, errors: dict[str, Exception] | None = None) -> None:
        self.errors = errors or {}
        self.now = self.most = 0

    async def identity(self, name: str) -> str:
        return name

    async def version(self, name: str) -> str:
        return name

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        self.now += 1
        self.most = max(self.most, self.now)
        for _ in range(10 - int(query) % 10):
            await asyncio.sleep(0)
        self.now -= 1
        if query in self.errors:
            raise self.errors[query]
        return Ranked((1.0,) * len(documents), tuple(range(len(documents))), 3, 0.0)


def numbered(count: int) -> Iterator[Item]:
    return (Item(str(number), None, str(number), ("a", "b")) for number in range(count))


async def test_outcomes_are_written_in_order_with_a_bounded_number_in_flight() -> None:
    rankers, written = FakeRankers(), list[str]()
    tally = await rank_items(rankers, "m", numbered(50), lambda item, _: written.append(item.key), in_flight=4)
    assert written == [str(number) for number in range(50)]
    assert 1 < rankers.most <= 4
    assert (tally.items, tally.pairs, tally.tokens, tally.errors) == (50, 100, 150, 0)


async def test_no_more_is_read_than_is_in_flight() -> None:
    read = 0
    written: list[int] = []

    def items() -> Iterator[Item]:
        nonlocal read
        for item in numbered(100):
            read += 1
            yield item

    await rank_items(FakeRankers(), "m", items(), lambda *_: written.append(read - len(written)), in_flight=4)
    # and one that waits for its turn
    assert max(written) <= 6


def caused(error: Exception) -> RerankError:
    failed = RerankError(f"the server: {error}")
    failed.__cause__ = error
    return failed


@pytest.mark.parametrize(
    "error", [InvalidRequest("wrong"), ScoringFailed("NaN"), caused(BadRequestError("wrong", 400))], ids=str
)
async def test_an_error_that_a_request_causes_is_its_outcome(error: RerankError) -> None:
    outcomes: list[Outcome] = []
    tally = await rank_items(FakeRankers({"1": error}), "m", numbered(3), lambda _, out: outcomes.append(out), 2)
    assert [outcome if isinstance(outcome, str) else "" for outcome in outcomes] == ["", error.message, ""]
    assert (tally.items, tally.errors, tally.first_error) == (3, 1, error.message)


@pytest.mark.parametrize("error", [ModelUnavailable("gone"), caused(ConnectionFailedError("refused"))], ids=str)
async def test_an_error_that_any_request_would_meet_ends_the_run(error: RerankError) -> None:
    written: list[str] = []
    with pytest.raises(RerankError, match=error.message):
        await rank_items(FakeRankers({"5": error}), "m", numbered(20), lambda item, _: written.append(item.key), 4)
    assert written == ["0", "1", "2", "3", "4"]


class FailingRankers(FakeRankers):
    """Fails every request, the first one last."""

    def __init__(self, requests: int) -> None:
        super().__init__()
        self.left = requests
        self.last = asyncio.Event()

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        self.left -= 1
        if not self.left:
            self.last.set()
        if query == "0":
            await self.last.wait()
        raise ModelUnavailable("gone")


async def test_the_other_requests_that_fail_are_not_reported_again() -> None:
    reported: list[object] = []
    asyncio.get_running_loop().set_exception_handler(lambda _, context: reported.append(context))
    # pytest.raises would keep the tasks
    with suppress(ModelUnavailable):
        await rank_items(FailingRankers(8), "m", numbered(8), lambda *_: None, in_flight=8)
    # so would the thread that reads
    for thread in (thread for thread in threading.enumerate() if thread.name == "read-items"):
        thread.join()
    await asyncio.sleep(0)
    gc.collect()
    assert reported == []


async def test_an_answer_is_written_while_the_input_waits() -> None:
    answered = threading.Event()

    def items() -> Iterator[Item]:
        yield from numbered(1)
        # the input goes on when the first answer is there
        assert answered.wait(60)
        yield from numbered(1)

    tally = await rank_items(FakeRankers(), "m", items(), lambda *_: answered.set(), in_flight=4)
    assert tally.items == 2


async def test_an_input_that_breaks_off_raises_after_what_was_before() -> None:
    written: list[str] = []

    def items() -> Iterator[Item]:
        yield from numbered(3)
        raise OSError("gone")

    with pytest.raises(OSError, match="gone"):
        await rank_items(FakeRankers(), "m", items(), lambda item, _: written.append(item.key), in_flight=4)
    assert written == ["0", "1", "2"]

from __future__ import annotations

import asyncio
import threading
import time
import weakref
from collections.abc import Callable, Iterator, Sequence

import pytest

from rerank.activations import SIGMOID
from rerank.backends.local import LocalBackend
from rerank.backends.tokenisers import Tokenisers
from rerank.core import (
    DEFAULT_OPTIONS,
    UNSCORED,
    Chunking,
    Pair,
    PendingLogits,
    RawScore,
    ScoringOptions,
    Span,
    Truncation,
)
from rerank.errors import InvalidRequest, ModelUnavailable, PairTooLarge, PairTooLong, ServerStopping
from rerank.gateway.chunks import chunk_pairs
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.job import HasTokens, Job, Replicas
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Part, Reading
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from tests.support.clock import Clock
from tests.support.waiting import wait_until

WAIT = 10.0


class NoticingScheduler(Scheduler):
    """Lets a test wait until a request is in line."""

    def __init__(self) -> None:
        super().__init__(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000)))
        self.submitted: asyncio.Queue[Job] = asyncio.Queue()

    def submit(
        self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "", until: float | None = None
    ) -> Job:
        job = super().submit(replicas, pairs, caller, until)
        self.submitted.put_nowait(job)
        return job

    async def next_job(self) -> Job:
        return await asyncio.wait_for(self.submitted.get(), WAIT)


class BlockedScorer(WordOverlapScorer):
    """Scores nothing until it is released."""

    def __init__(self) -> None:
        super().__init__()
        self.release = threading.Event()

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        running = super().start(batch)
        if not self.release.wait(WAIT):
            raise TimeoutError("nobody released the scorer")
        return running


@pytest.fixture
def scorer() -> WordOverlapScorer:
    return WordOverlapScorer(max_length=64)


@pytest.fixture
def blocked() -> Iterator[BlockedScorer]:
    scorer = BlockedScorer()
    yield scorer
    scorer.release.set()


@pytest.fixture
def scheduler(blocked: BlockedScorer) -> Iterator[NoticingScheduler]:
    scheduler = NoticingScheduler()
    yield scheduler
    blocked.release.set()
    scheduler.stop(WAIT)


@pytest.fixture
def tokenisers() -> Iterator[Tokenisers]:
    with Tokenisers(2) as pool:
        yield pool


@pytest.fixture
def backend(scorer: WordOverlapScorer, scheduler: NoticingScheduler, tokenisers: Tokenisers) -> LocalBackend:
    return LocalBackend([scorer], scheduler, tokenisers)


def asked(query: str, *documents: str) -> list[Pair]:
    return [Pair(query, document) for document in documents]


class TestScores:
    async def test_keep_request_order_and_count_tokens(self, backend: LocalBackend) -> None:
        pairs = asked("red fox", "red fox", "red hen in a pen", "blue", "", "fox red fox")
        assert await backend.score(pairs, DEFAULT_OPTIONS) == [
            RawScore(2.0, 7),
            RawScore(0.0, 10),
            RawScore(-2.0, 6),
            RawScore(-2.0, 5),
            RawScore(2.0, 8),
        ]

    async def test_of_many_requests_at_once_do_not_mix(self, backend: LocalBackend, scorer: WordOverlapScorer) -> None:
        words = [f"word{number}" for number in range(50)]
        requests = [asked(word, *words) for word in words]
        results = await asyncio.gather(*(backend.score(request, DEFAULT_OPTIONS) for request in requests))
        for number, result in enumerate(results):
            assert [score.logit for score in result] == [2.0 if place == number else -2.0 for place in range(50)]
        assert sum(scorer.batches) == 2500

    async def test_tokens_are_those_that_were_read_after_cutting(self, backend: LocalBackend) -> None:
        (score,) = await backend.score(asked("q", "a b c d e f"), ScoringOptions(Truncation(max_tokens=6)))
        assert score.tokens == 6

    async def test_say_which_documents_were_cut(self, backend: LocalBackend) -> None:
        # the first two are the same tokens
        pairs = asked("q", "a b c d", "a b", "a", "a b c")
        scores = await backend.score(pairs, ScoringOptions(Truncation(max_tokens=6)))
        assert [score.truncated for score in scores] == [True, False, False, True]
        scores = await backend.score(pairs, ScoringOptions(Truncation(max_tokens_per_document=3)))
        assert [score.truncated for score in scores] == [True, False, False, False]

    async def test_of_nothing_are_nothing(self, backend: LocalBackend) -> None:
        assert await backend.score([], DEFAULT_OPTIONS) == []

    def test_length_and_activation_are_the_scorers(self, backend: LocalBackend) -> None:
        assert backend.max_length == 64
        assert backend.activation is SIGMOID


class TestChunks:
    async def test_are_read_whole_next_to_the_query(self, backend: LocalBackend) -> None:
        text = " ".join(f"w{number}" for number in range(200))
        pairs = asked("w150", "w150", text)
        spans = await backend.chunks(pairs, DEFAULT_OPTIONS, Chunking(10, overlap=8), caller="reader")
        assert spans[0] == [Span(0, 4)]
        scores = await backend.score(chunk_pairs(pairs, spans), DEFAULT_OPTIONS)
        assert not any(score.truncated for score in scores)
        assert [score.logit for score in scores].count(2.0) == 2

    async def test_stop_being_read_when_the_request_is_cancelled(
        self, scorer: WordOverlapScorer, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        backend = LocalBackend([scorer], scheduler, tokenisers)
        reading = asyncio.create_task(backend.chunks(asked("q", "a " * 500_000), DEFAULT_OPTIONS, Chunking(10**6)))
        await asyncio.sleep(0)
        reading.cancel()
        with pytest.raises(asyncio.CancelledError):
            await reading
        assert await backend.score(asked("q", "q"), DEFAULT_OPTIONS) == [RawScore(2.0, 5)]


class TestFailures:
    async def test_a_pair_that_cannot_be_encoded_reaches_no_device(
        self, backend: LocalBackend, scorer: WordOverlapScorer
    ) -> None:
        with pytest.raises(InvalidRequest, match=r"documents\.1"):
            await backend.score(asked("q", "a", "b " * 100), ScoringOptions(Truncation(allowed=False)))
        assert scorer.batches == []

    async def test_a_stopped_scheduler_takes_nothing(self, backend: LocalBackend, scheduler: NoticingScheduler) -> None:
        scheduler.stop(WAIT)
        with pytest.raises(ServerStopping):
            await backend.score(asked("q", "a"), DEFAULT_OPTIONS)


class TestCancelling:
    async def test_takes_the_waiting_pairs_out_of_the_line(
        self, blocked: BlockedScorer, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        backend = LocalBackend([blocked], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(asked("a", "a"), DEFAULT_OPTIONS))
        await scheduler.next_job()
        leaving = asyncio.create_task(backend.score(asked("a", *["a"] * 100), DEFAULT_OPTIONS))
        job = await scheduler.next_job()
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert job.future.cancelled()

        blocked.release.set()
        assert await running == [RawScore(2.0, 5)]
        assert await backend.score(asked("a", "b"), DEFAULT_OPTIONS) == [RawScore(-2.0, 5)]
        assert sum(blocked.batches) < 100


LONG = "word " * 4000
"""A document that is tokenised on its own."""


class SlowReader(WordOverlapScorer):
    """Reads no further than the parts that it may; says when it scored."""

    def __init__(self, parts: int) -> None:
        super().__init__(max_length=64)
        self.scored = threading.Event()
        self.release = threading.Event()
        self._parts = parts

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedWords]]:
        yield Part(0, quick=False)
        self._parts -= 1
        if self._parts < 0 and not self.release.wait(WAIT):
            raise TimeoutError("nobody released the reader")
        return (yield from super().reading(pairs, options))

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        running = super().start(batch)
        self.scored.set()
        return running


@pytest.fixture
async def pass_by(monkeypatch: pytest.MonkeyPatch) -> Callable[[float], None]:
    """Lets seconds pass for the event loop's timers."""
    loop, passed = asyncio.get_running_loop(), Clock()
    now = loop.time
    monkeypatch.setattr(loop, "time", lambda: now() + passed())

    def pass_by(seconds: float) -> None:
        passed.now += seconds

    return pass_by


def later() -> float:
    """A moment that comes only if the test lets time pass."""
    return time.monotonic() + 1000


class TestLargeRequests:
    """To a device that pads nothing."""

    PAIRS = asked("a", *[f"a {LONG * 6}{number}" for number in range(4)], "b", "a", "a")

    async def test_the_first_pairs_are_scored_while_the_others_are_tokenised(
        self, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        scorer = SlowReader(parts=1)
        scorer.padded = False
        backend = LocalBackend([scorer], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(self.PAIRS, DEFAULT_OPTIONS))
        assert await asyncio.to_thread(scorer.scored.wait, WAIT)
        assert not running.done()
        scorer.release.set()
        assert [score.logit for score in await running] == [2.0] * 4 + [-2.0, 2.0, 2.0]
        # the last two are equal, and cut so are the first four
        assert sum(scorer.batches) == 3

    async def test_are_read_at_once_where_lengths_decide_which_pairs_share_a_batch(
        self, backend: LocalBackend, scorer: WordOverlapScorer, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        read = []
        encode = scorer.encode

        def noted(pairs: Sequence[Pair], options: ScoringOptions) -> list[EncodedWords]:
            read.append(len(pairs))
            return encode(pairs, options)

        monkeypatch.setattr(scorer, "encode", noted)
        await backend.score(self.PAIRS, DEFAULT_OPTIONS)
        assert read == [len(self.PAIRS)]


class TestUntilAMoment:
    async def test_everything_is_scored_if_there_is_time(self, backend: LocalBackend) -> None:
        pairs = asked("red fox", "red fox", "blue", LONG, "red fox", "red hen", LONG, "fox")
        assert await backend.score(pairs, DEFAULT_OPTIONS, until=later()) == await backend.score(pairs, DEFAULT_OPTIONS)

    async def test_equal_pairs_are_scored_once(self, backend: LocalBackend, scorer: WordOverlapScorer) -> None:
        await backend.score(asked("a", "a", LONG, "a", LONG, "b"), DEFAULT_OPTIONS, until=later())
        assert sum(scorer.batches) == 3

    async def test_of_nothing_are_nothing(self, backend: LocalBackend) -> None:
        assert await backend.score([], DEFAULT_OPTIONS, until=later()) == []

    async def test_a_moment_that_has_passed_leaves_everything_unscored(
        self, backend: LocalBackend, scorer: WordOverlapScorer
    ) -> None:
        until = time.monotonic() - 1
        assert await backend.score(asked("a", "a", "b"), DEFAULT_OPTIONS, until=until) == [UNSCORED] * 2
        assert scorer.batches == []

    async def test_a_batch_that_was_begun_counts(
        self,
        blocked: BlockedScorer,
        scheduler: NoticingScheduler,
        tokenisers: Tokenisers,
        pass_by: Callable[[float], None],
    ) -> None:
        backend = LocalBackend([blocked], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(asked("a", *"abcdef"), DEFAULT_OPTIONS, until=later()))
        await asyncio.to_thread(wait_until, lambda: blocked.batches == [4])
        pass_by(2000)
        await asyncio.to_thread(wait_until, lambda: scheduler.waiting_pairs == 0)
        assert not running.done()
        blocked.release.set()
        assert [score.scored for score in await running] == [True] * 4 + [False] * 2
        assert blocked.batches == [4]

    async def test_a_request_that_is_behind_others_is_answered_unscored(
        self,
        blocked: BlockedScorer,
        scheduler: NoticingScheduler,
        tokenisers: Tokenisers,
        pass_by: Callable[[float], None],
    ) -> None:
        backend = LocalBackend([blocked], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(asked("a", "a"), DEFAULT_OPTIONS))
        await asyncio.to_thread(wait_until, lambda: blocked.batches == [1])
        waiting = asyncio.create_task(backend.score(asked("a", "b", "c"), DEFAULT_OPTIONS, until=later()))
        await asyncio.to_thread(wait_until, lambda: scheduler.waiting_pairs == 2)
        pass_by(2000)
        assert await waiting == [UNSCORED] * 2
        assert not running.done()
        blocked.release.set()
        assert len(await running) == 1

    async def test_the_first_pairs_are_scored_while_the_others_are_tokenised(
        self, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        scorer = SlowReader(parts=1)
        backend = LocalBackend([scorer], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(asked("a", LONG, "a"), DEFAULT_OPTIONS, until=later()))
        assert await asyncio.to_thread(scorer.scored.wait, WAIT)
        scorer.release.set()
        assert [score.logit for score in await running] == [-2.0, 2.0]
        assert scorer.batches == [1, 1]

    async def test_pairs_that_are_still_tokenised_are_left_unscored(
        self, scheduler: NoticingScheduler, tokenisers: Tokenisers, pass_by: Callable[[float], None]
    ) -> None:
        scorer = SlowReader(parts=1)
        backend = LocalBackend([scorer], scheduler, tokenisers)
        running = asyncio.create_task(backend.score(asked("a", LONG, "a", "b"), DEFAULT_OPTIONS, until=later()))
        assert await asyncio.to_thread(scorer.scored.wait, WAIT)
        pass_by(2000)
        assert [score.scored for score in await running] == [True, False, False]
        scorer.release.set()

    async def test_cancelling_takes_the_waiting_pairs_out_of_the_line(
        self, blocked: BlockedScorer, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        backend = LocalBackend([blocked], scheduler, tokenisers)
        leaving = asyncio.create_task(backend.score(asked("a", *"abcdef"), DEFAULT_OPTIONS, until=later()))
        await asyncio.to_thread(wait_until, lambda: blocked.batches == [4])
        leaving.cancel()
        with pytest.raises(asyncio.CancelledError):
            await leaving
        assert scheduler.waiting_pairs == 0

    async def test_a_failure_while_others_are_tokenised_is_told(
        self, scheduler: NoticingScheduler, tokenisers: Tokenisers
    ) -> None:
        backend = LocalBackend([NarrowScorer()], scheduler, tokenisers)
        pairs = asked("a", "a", LONG, "b " * 60, *[LONG] * 3)
        with pytest.raises(PairTooLarge, match=r"documents\.1"):
            await backend.score(pairs, DEFAULT_OPTIONS, until=later())

    async def test_a_document_too_long_is_named_by_its_place(self, backend: LocalBackend) -> None:
        whole = ScoringOptions(Truncation(allowed=False))
        with pytest.raises(PairTooLong, match=r"documents\.2"):
            await backend.score(asked("a", "b" * 20000, "c", LONG), whole, until=later())


class NarrowScorer(WordOverlapScorer):
    """Has no memory for more than five tokens."""

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        if any(pair.tokens > 5 for pair in batch):
            raise MemoryError
        return super().start(batch)


async def test_a_pair_too_large_is_named_by_its_document(scheduler: NoticingScheduler, tokenisers: Tokenisers) -> None:
    backend = LocalBackend([NarrowScorer()], scheduler, tokenisers)

    with pytest.raises(PairTooLarge, match=r"documents\.3 with the query \(9 tokens\)") as caught:
        await backend.score(asked("a", "a", "a", "b", "one two three four five"), DEFAULT_OPTIONS)
    assert caught.value.param == "documents.3"


class TestClosing:
    async def test_lets_go_of_the_scorer(self, scheduler: NoticingScheduler, tokenisers: Tokenisers) -> None:
        scorer = WordOverlapScorer()
        watched = weakref.ref(scorer)
        backend = LocalBackend([scorer], scheduler, tokenisers)
        await backend.score(asked("q", "a"), DEFAULT_OPTIONS)
        await scheduler.next_job()
        del scorer
        # the device's thread may still be about to let go of the batch
        scheduler.stop(WAIT)
        backend.close()
        assert watched() is None
        assert backend.max_length == 512

    async def test_ends_its_use(self, backend: LocalBackend) -> None:
        backend.close()
        with pytest.raises(ModelUnavailable, match="has been unloaded"):
            await backend.score(asked("q", "a"), DEFAULT_OPTIONS)

from __future__ import annotations

import asyncio
import threading
import weakref
from collections.abc import Iterator, Sequence

import pytest

from rerank.activations import SIGMOID
from rerank.backends.local import LocalBackend
from rerank.backends.tokenisers import Tokenisers
from rerank.core import DEFAULT_OPTIONS, Pair, PendingLogits, RawScore, ScoringOptions, Truncation
from rerank.errors import InvalidRequest, ModelUnavailable, PairTooLarge, ServerStopping
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.job import HasTokens, Job, Replicas
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.fake import EncodedWords, WordOverlapScorer

WAIT = 10.0


class NoticingScheduler(Scheduler):
    """Lets a test wait until a request is in line."""

    def __init__(self) -> None:
        super().__init__(DeviceSpec("test", BatchBudget(pairs=4, tokens=1000)))
        self.submitted: asyncio.Queue[Job] = asyncio.Queue()

    def submit(self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "") -> Job:
        job = super().submit(replicas, pairs, caller)
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

    async def test_of_nothing_are_nothing(self, backend: LocalBackend) -> None:
        assert await backend.score([], DEFAULT_OPTIONS) == []

    def test_length_and_activation_are_the_scorers(self, backend: LocalBackend) -> None:
        assert backend.max_length == 64
        assert backend.activation is SIGMOID


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

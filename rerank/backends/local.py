"""Backend of a model in this process: tokeniser threads, then the scheduler."""

from __future__ import annotations

import asyncio
import math
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from itertools import islice
from typing import Any, Generic, TypeVar

from rerank import garbage
from rerank.backends.tokenisers import Tokenisers
from rerank.core import (
    UNSCORED,
    Chunking,
    Embedding,
    EmbeddingOptions,
    Pair,
    RawScore,
    ScoringOptions,
    Span,
    TextTokenizer,
)
from rerank.devices import release_memory
from rerank.errors import ModelUnavailable, placed_by
from rerank.scheduling.job import Job, Replicas
from rerank.scheduling.scheduler import Scheduler
from rerank.scorers.base import TURN_CHARACTERS, Encoded, EncodedPair, Part, Reading, Scorer
from rerank.scorers.chunks import read_chunks
from rerank.telemetry import note_stage, timed

T = TypeVar("T")
E = TypeVar("E", bound=Encoded)

_PART_CHARACTERS = TURN_CHARACTERS // 4
_PART_PAIRS = 256
"""What is tokenised of a request with a time budget before its first pairs are scored: either, approximately."""
_LARGE_PART = 2 * TURN_CHARACTERS
"""The same of a large request to a device that pads nothing: about a batch of its tokens."""


class LocalBackend:
    """A model on this machine, fed through the queue of its devices."""

    gives_logits = True
    cacheable = True

    def __init__(
        self, replicas: Sequence[Scorer], scheduler: Scheduler, tokenisers: Tokenisers, made: int | None = None
    ) -> None:
        """``replicas`` are the same model once on each device, in the scheduler's order of devices.

        ``made``: when their loading began, see ``garbage.times_spared``; None: now.
        """
        self._made = garbage.times_spared() if made is None else made
        self._replicas = tuple(replicas)
        # the same whatever the device
        self.max_length = replicas[0].max_length
        self.activation = replicas[0].activation
        self.takes_instruction = replicas[0].takes_instruction
        self._embedders = tuple(scorer.embedder for scorer in replicas if scorer.embedder)
        self.gives_vectors = bool(self._embedders)
        self._scheduler = scheduler
        self._tokenisers = tokenisers

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        """See ``Backend.score``."""
        replicas = self._loaded(self._replicas)
        characters = sum([len(pair.document) for pair in pairs])
        if until is None and characters > 2 * _LARGE_PART and not replicas[0].padded:
            # it need not wait until all is read, as where lengths decide which pairs share a batch
            until = math.inf
        if until is not None:
            return await self._score_until(until, replicas, pairs, options, caller)
        reading = replicas[0].reading(pairs, options)
        computed = await self._compute(replicas, reading, len(pairs), characters, caller)
        return [_score(logit, pair) for logit, pair in computed]

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        """See ``Backend.chunks``."""
        scorer = self._loaded(self._replicas)[0]
        characters = sum([len(pair.document) for pair in pairs])
        reading = read_chunks(scorer, pairs, options, chunking)
        with timed("tokenise"):
            return await self._tokenisers.run(reading, len(pairs), characters, caller)

    async def embed(self, texts: Sequence[str], options: EmbeddingOptions, *, caller: str = "") -> list[Embedding]:
        """See ``Backend.embed``."""
        embedders = self._loaded(self._embedders)
        characters = sum(map(len, texts))
        reading = embedders[0].reading(texts, options)
        computed = await self._compute(embedders, reading, len(texts), characters, caller)
        return [Embedding(vector, text.tokens) for vector, text in computed]

    async def _compute(
        self, replicas: Replicas, reading: Reading[list[E]], texts: int, characters: int, caller: str
    ) -> list[tuple[Any, E]]:
        """The model's result for each pair or text, and its tokens."""
        with timed("tokenise"):
            distinct = await self._tokenisers.run(_distinct(reading), texts, characters, caller)
        job = self._scheduler.submit(replicas, list(distinct.items), caller)
        with placed_by(distinct.places.index):
            results = await asyncio.wrap_future(job.future)
            _note_times(job)
        return distinct.with_all(results)

    async def _score_until(
        self, until: float, replicas: tuple[Scorer, ...], pairs: Sequence[Pair], options: ScoringOptions, caller: str
    ) -> list[RawScore]:
        """The scores of the pairs that are begun until then."""
        distinct: Distinct[EncodedPair] = Distinct()
        job = self._scheduler.submit(replicas, (), caller, until)
        ended = asyncio.wrap_future(job.future)
        try:
            with suppress(TimeoutError):
                async with asyncio.timeout(until - time.monotonic()):
                    await self._feed(job, distinct, replicas[0], pairs, options)
                    await asyncio.wait([ended])
            self._scheduler.expire(job)
            job.complete()
            with placed_by(distinct.places.index):
                results = await ended
        finally:
            ended.cancel()
        _note_times(job)
        read = [_score(logit, pair) for logit, pair in distinct.with_all(results)]
        return read + [UNSCORED] * (len(pairs) - len(read))

    async def _feed(
        self, job: Job, distinct: Distinct[EncodedPair], scorer: Scorer, pairs: Sequence[Pair], options: ScoringOptions
    ) -> None:
        """Tokenise and queue pairs part by part, so that the first are scored meanwhile."""
        with timed("tokenise"):
            for part in _parts(pairs, _LARGE_PART if job.until == math.inf else _PART_CHARACTERS):
                reading = scorer.reading(pairs[part.start : part.stop], options)
                characters = sum([len(pairs[place].document) for place in part])
                with placed_by(part.__getitem__):
                    encoded = await self._tokenisers.run(reading, len(part), characters, job.caller)
                if job.future.done():
                    return
                self._scheduler.extend(job, distinct.add(encoded))
        job.complete()

    @staticmethod
    def _loaded(replicas: tuple[T, ...]) -> tuple[T, ...]:
        if not replicas:
            raise ModelUnavailable("The model has been unloaded.")
        return replicas

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        """See ``Backend.use_tokenizer``."""
        tokenizer = self._loaded(self._replicas)[0].tokenizer
        with timed("tokenise"):
            return await self._tokenisers.run(_in_one_part(use, tokenizer), 1, TURN_CHARACTERS, caller)

    def close(self) -> None:
        """See ``Backend.close``."""
        self._replicas = self._embedders = ()
        release_memory(self._made)


def _note_times(job: Job) -> None:
    begun = time.perf_counter() if job.begun is None else job.begun
    note_stage("queue", job.submitted, begun)
    note_stage("device", begun)


def _in_one_part(use: Callable[[TextTokenizer], T], tokenizer: TextTokenizer) -> Reading[T]:
    yield Part(TURN_CHARACTERS, quick=False)
    return use(tokenizer)


def _score(logit: float | None, pair: EncodedPair) -> RawScore:
    return UNSCORED if logit is None else RawScore(logit, pair.tokens, pair.cut is not None)


class Distinct(Generic[E]):
    """The pairs or texts of a request as tokens, and the distinct ones among them.

    Equal ones are computed once: it saves work, and in one batch two equal rows may differ in the last bit, which would
    break a tie the wrong way.
    """

    def __init__(self) -> None:
        self.items: dict[E, int] = {}
        """The distinct ones, with their places among themselves."""
        self.places: list[int] = []
        """For each pair or text, the place of its equal among the distinct ones."""
        self._all: list[E] = []

    def add(self, encoded: Sequence[E]) -> list[E]:
        """Add the next pairs or texts; those that are new."""
        known = len(self.items)
        self.places += [self.items.setdefault(each, len(self.items)) for each in encoded]
        self._all += encoded
        return list(islice(self.items, known, None))

    def with_all(self, results: Sequence[Any]) -> list[tuple[Any, E]]:
        """All pairs or texts, each with the result of its equal."""
        return [(results[place], each) for place, each in zip(self.places, self._all, strict=True)]


def _distinct(reading: Reading[list[E]]) -> Reading[Distinct[E]]:
    distinct: Distinct[E] = Distinct()
    distinct.add((yield from reading))
    return distinct


def _parts(pairs: Sequence[Pair], size: int) -> Iterator[range]:
    """Places of the pairs to tokenise together, up to about ``size`` characters."""
    start = characters = 0
    for end, pair in enumerate(pairs, 1):
        characters += len(pair.document)
        if characters >= size or end - start == _PART_PAIRS or end == len(pairs):
            yield range(start, end)
            start, characters = end, 0

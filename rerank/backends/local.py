"""Backend of a model in this process: tokeniser threads, then the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import Any, TypeVar

from rerank.backends.tokenisers import Tokenisers
from rerank.core import (
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
from rerank.scorers.base import TURN_CHARACTERS, Encoded, Reading, Scorer
from rerank.scorers.chunks import read_chunks
from rerank.telemetry import note_stage, timed

T = TypeVar("T")
E = TypeVar("E", bound=Encoded)


class LocalBackend:
    """A model on this machine, fed through the queue of its devices."""

    gives_logits = True
    cacheable = True

    def __init__(self, replicas: Sequence[Scorer], scheduler: Scheduler, tokenisers: Tokenisers) -> None:
        """``replicas`` are the same model once on each device, in the scheduler's order of devices."""
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
        computed = await self._compute(replicas, replicas[0].reading(pairs, options), characters, caller)
        return [RawScore(logit, pair.tokens, pair.cut is not None) for logit, pair in computed]

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        """See ``Backend.chunks``."""
        scorer = self._loaded(self._replicas)[0]
        characters = sum([len(pair.document) for pair in pairs])
        with timed("tokenise"):
            return await self._tokenisers.run(read_chunks(scorer, pairs, options, chunking), characters, caller)

    async def embed(self, texts: Sequence[str], options: EmbeddingOptions, *, caller: str = "") -> list[Embedding]:
        """See ``Backend.embed``."""
        embedders = self._loaded(self._embedders)
        characters = sum(map(len, texts))
        computed = await self._compute(embedders, embedders[0].reading(texts, options), characters, caller)
        return [Embedding(vector, text.tokens) for vector, text in computed]

    async def _compute(
        self, replicas: Replicas, reading: Reading[list[E]], characters: int, caller: str
    ) -> list[tuple[Any, E]]:
        """The model's result for each pair or text, and its tokens."""
        with timed("tokenise"):
            encoded, distinct, places = await self._tokenisers.run(_distinct(reading), characters, caller)
        job = self._scheduler.submit(replicas, distinct, caller)
        with placed_by(places.index):
            results = await asyncio.wrap_future(job.future)
            _note_times(job)
        return [(results[place], item) for place, item in zip(places, encoded, strict=True)]

    @staticmethod
    def _loaded(replicas: tuple[T, ...]) -> tuple[T, ...]:
        if not replicas:
            raise ModelUnavailable("The model has been unloaded.")
        return replicas

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        """See ``Backend.use_tokenizer``."""
        tokenizer = self._loaded(self._replicas)[0].tokenizer
        with timed("tokenise"):
            return await self._tokenisers.run(_in_one_part(use, tokenizer), TURN_CHARACTERS, caller)

    def close(self) -> None:
        """See ``Backend.close``."""
        self._replicas = self._embedders = ()
        release_memory()


def _note_times(job: Job) -> None:
    begun = job.submitted if job.begun is None else job.begun
    note_stage("queue", job.submitted, begun)
    note_stage("device", begun)


def _in_one_part(use: Callable[[TextTokenizer], T], tokenizer: TextTokenizer) -> Reading[T]:
    result = use(tokenizer)
    yield TURN_CHARACTERS
    return result


def _distinct(reading: Reading[list[E]]) -> Reading[tuple[list[E], list[E], list[int]]]:
    """All pairs or texts as tokens, the distinct ones, and for each its place among those.

    Equal ones are computed once: it saves work, and in one batch two equal rows may differ in the last bit, which would
    break a tie the wrong way.
    """
    encoded = yield from reading
    place_of = {pair: place for place, pair in enumerate(dict.fromkeys(encoded))}
    return encoded, list(place_of), [place_of[pair] for pair in encoded]

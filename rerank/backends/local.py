"""Backend of a model in this process: tokeniser threads, then the scheduler."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from typing import TypeVar

from rerank.backends.tokenisers import Tokenisers
from rerank.core import Pair, RawScore, ScoringOptions, TextTokenizer
from rerank.devices import release_memory
from rerank.errors import ModelUnavailable, PairTooLarge
from rerank.scheduling.job import Job
from rerank.scheduling.scheduler import Scheduler
from rerank.scorers.base import TURN_CHARACTERS, Encoded, Reading, Scorer
from rerank.telemetry import note_stage, timed

T = TypeVar("T")


class LocalBackend:
    """A model on this machine, fed through the queue of its devices."""

    gives_logits = True

    def __init__(self, replicas: Sequence[Scorer], scheduler: Scheduler, tokenisers: Tokenisers) -> None:
        """``replicas`` are the same model once on each device, in the scheduler's order of devices."""
        self._replicas = tuple(replicas)
        # the same whatever the device
        self.max_length = replicas[0].max_length
        self.activation = replicas[0].activation
        self.takes_instruction = replicas[0].takes_instruction
        self._scheduler = scheduler
        self._tokenisers = tokenisers

    async def score(self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "") -> list[RawScore]:
        """See ``Backend.score``."""
        replicas = self._replicas
        if not replicas:
            raise ModelUnavailable("The model has been unloaded.")
        characters = sum([len(pair.document) for pair in pairs])
        with timed("tokenise"):
            distinct, places = await self._tokenisers.run(
                _distinct(replicas[0].reading(pairs, options)), characters, caller
            )
        job = self._scheduler.submit(replicas, distinct, caller)
        try:
            logits = await asyncio.wrap_future(job.future)
            _note_times(job)
        except PairTooLarge as error:
            raise PairTooLarge(places.index(error.index), error.tokens) from error
        return [RawScore(logits[place], distinct[place].tokens) for place in places]

    async def use_tokenizer(self, use: Callable[[TextTokenizer], T], *, caller: str = "") -> T:
        """See ``Backend.use_tokenizer``."""
        if not self._replicas:
            raise ModelUnavailable("The model has been unloaded.")
        with timed("tokenise"):
            return await self._tokenisers.run(_in_one_part(use, self._replicas[0].tokenizer), TURN_CHARACTERS, caller)

    def close(self) -> None:
        """See ``Backend.close``."""
        self._replicas = ()
        release_memory()


def _note_times(job: Job) -> None:
    begun = job.submitted if job.begun is None else job.begun
    note_stage("queue", job.submitted, begun)
    note_stage("device", begun)


def _in_one_part(use: Callable[[TextTokenizer], T], tokenizer: TextTokenizer) -> Reading[T]:
    result = use(tokenizer)
    yield TURN_CHARACTERS
    return result


def _distinct(reading: Reading[list[Encoded]]) -> Reading[tuple[list[Encoded], list[int]]]:
    """The distinct pairs as tokens, and for each pair its place among them.

    Equal pairs are scored once: it saves work, and in one batch two equal rows may differ in the last bit, which would
    break a tie the wrong way.
    """
    encoded = yield from reading
    place_of = {pair: place for place, pair in enumerate(dict.fromkeys(encoded))}
    return list(place_of), [place_of[pair] for pair in encoded]

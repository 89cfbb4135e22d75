"""A model in this process: tokenises on threads of its own, scores on the devices it is loaded on."""

from __future__ import annotations

import asyncio
import contextvars
from collections.abc import Sequence
from concurrent.futures import Executor
from functools import partial
from typing import Protocol

from rerank.core import Activation, Pair, RawScore, Truncation
from rerank.errors import PairTooLarge
from rerank.scheduling.scheduler import Scheduler
from rerank.scorers.base import Encoded, Scorer


class Backend(Protocol):
    """One model that can score, wherever it runs."""

    @property
    def max_length(self) -> int:
        """Tokens of the longest pair."""
        ...

    @property
    def activation(self) -> Activation:
        """How raw logits become relevance."""
        ...

    async def score(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[RawScore]:
        """A raw score for each pair, in order. Cancelling takes the pairs still waiting out of the line."""
        ...


class LocalBackend:
    """A model on this machine, fed through the line of its devices."""

    def __init__(self, replicas: Sequence[Scorer], scheduler: Scheduler, tokenisers: Executor) -> None:
        """``replicas`` are the same model once on each device, in the scheduler's order of devices."""
        self._replicas = tuple(replicas)
        # lengths, activation and tokens are the same whatever the device
        self._scorer = self._replicas[0]
        self._scheduler = scheduler
        self._tokenisers = tokenisers

    @property
    def max_length(self) -> int:
        """Tokens of the longest pair."""
        return self._scorer.max_length

    @property
    def activation(self) -> Activation:
        """How raw logits become relevance."""
        return self._scorer.activation

    async def score(self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None) -> list[RawScore]:
        """See ``Backend.score``."""
        loop = asyncio.get_running_loop()
        encode = partial(contextvars.copy_context().run, self._encode, pairs, truncation, instruction)
        distinct, places = await loop.run_in_executor(self._tokenisers, encode)
        job = self._scheduler.submit(self._replicas, distinct)
        try:
            logits = await asyncio.wrap_future(job.future)
        except PairTooLarge as error:
            raise PairTooLarge(places.index(error.index), error.tokens) from error
        return [RawScore(logits[place], distinct[place].tokens) for place in places]

    def _encode(
        self, pairs: Sequence[Pair], truncation: Truncation, instruction: str | None
    ) -> tuple[list[Encoded], list[int]]:
        """The distinct pairs as tokens, and for each pair its place among them.

        Equal pairs are scored once: it saves work, and in one batch two equal rows may differ in the last bit, which
        would break a tie the wrong way.
        """
        encoded = self._scorer.encode(pairs, truncation, instruction)
        place_of = {pair: place for place, pair in enumerate(dict.fromkeys(encoded))}
        return list(place_of), [place_of[pair] for pair in encoded]

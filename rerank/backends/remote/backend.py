"""Backend of a model behind another server's API."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Sequence
from dataclasses import replace

from rerank.activations import IDENTITY, SIGMOID
from rerank.backends.ranks_only import RanksOnly
from rerank.backends.remote.chunks import estimated_chunks
from rerank.backends.remote.client import Client
from rerank.backends.remote.codecs import CODECS, Question
from rerank.backends.remote.parts import Part, raw_scores, split
from rerank.catalog.cards import ModelCard
from rerank.catalog.families import UPSTREAM
from rerank.catalog.rerank_apis import APIS, model_of, tokens_of
from rerank.catalog.upstreams import Upstream
from rerank.core import UNSCORED, Chunking, Pair, RawScore, ScoringOptions, Span
from rerank.errors import DocumentRefused, InvalidRequest, NotOffered, placed_by
from rerank.normalising import UnfitText, normalised
from rerank.tasks import running
from rerank.telemetry import timed

_UNKNOWN_LENGTH = 512
"""Tokens that every model reads, for chunks where nothing says how many this one does."""
_IN_TIME = 100
"""Documents per call where time is short: what has come by then counts."""


class RemoteBackend(RanksOnly):
    """A model that is asked over HTTP."""

    cacheable = True

    def __init__(self, card: ModelCard, upstream: Upstream, client: Client) -> None:
        super().__init__(card, UPSTREAM)
        api = APIS[upstream.api]
        self._api = api
        self._client = client
        self._encode = CODECS[upstream.api]
        self._model = model_of(upstream, card.id)
        self._most = upstream.max_documents or api.documents
        self.activation = card.activation or (SIGMOID if api.gives_logits else IDENTITY)
        self.gives_logits = self.activation.name != IDENTITY.name
        self.takes_instruction = api.takes_instruction
        self.max_length = card.max_length or tokens_of(upstream) or _UNKNOWN_LENGTH

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        """See ``Backend.score``."""
        self._refuse_what_it_lacks(options)
        if self.takes_instruction and options.instruction is None:
            options = replace(options, instruction=self._card.instruction)
        if self._card.normalises:
            pairs = await asyncio.to_thread(_normalised, pairs)
        parts = split(pairs, self._most if until is None else min(self._most, _IN_TIME))
        scores = [UNSCORED] * len(pairs)
        with timed("upstream"):
            found = await self._all(parts, options, until, caller)
            for part, raw in zip(parts, found, strict=True):
                for places, score in zip(part.places, raw, strict=True):
                    for place in places:
                        scores[place] = score
        return scores

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        """See ``Backend.chunks``."""
        del caller
        asked = options.truncation.max_tokens or -1
        tokens = min(self.max_length, asked) if asked > 0 else self.max_length
        return await asyncio.to_thread(estimated_chunks, pairs, tokens, chunking)

    async def _all(
        self, parts: Sequence[Part], options: ScoringOptions, until: float | None, caller: str
    ) -> list[list[RawScore]]:
        """The raw scores of every part; ``UNSCORED`` for those that did not come until then."""
        seconds = None if until is None else max(until - time.monotonic(), 0)
        if not parts or seconds == 0:
            return [[UNSCORED] * len(part.documents) for part in parts]
        async with running(self._part(part, options, caller) for part in parts) as tasks:
            await asyncio.wait(tasks, timeout=seconds, return_when=asyncio.FIRST_EXCEPTION)
            for task in tasks:
                if task.done():
                    task.result()
            return [
                task.result() if task.done() else [UNSCORED] * len(part.documents)
                for task, part in zip(tasks, parts, strict=True)
            ]

    async def _part(self, part: Part, options: ScoringOptions, caller: str) -> list[RawScore]:
        body = self._encode(Question(part.query, part.documents, self._model, options))
        with placed_by(lambda index: part.places[index][0]):
            answer = await self._client.ask(body, len(part.documents), caller)
        return raw_scores(part, answer)

    def _refuse_what_it_lacks(self, options: ScoringOptions) -> None:
        """Refuse limits that the API has no field for: the answer would not be what was asked for."""
        cut = options.truncation
        asked = {
            "truncate_prompt_tokens": cut.max_tokens not in (None, -1),
            "max_tokens_per_doc": cut.max_tokens_per_document is not None,
            "truncate": not cut.allowed,
            "truncation_side": cut.side == "left",
        }
        for name, wanted in asked.items():
            if wanted and name not in self._api.passes:
                said = f"`{self._card.id}` is asked over an API that has no {name}. Leave it out."
                raise NotOffered(said, param=name)


def _normalised(pairs: Sequence[Pair]) -> list[Pair]:
    queries = {query: _normalised_query(query) for query in {pair.query for pair in pairs}}
    documents = (_normalised_document(place, pair.document) for place, pair in enumerate(pairs))
    return [Pair(queries[pair.query], document) for pair, document in zip(pairs, documents, strict=True)]


def _normalised_query(text: str) -> str:
    try:
        return normalised(text)
    except UnfitText as error:
        raise InvalidRequest(f"The query was refused here: it {error}", param="query") from error


def _normalised_document(place: int, text: str) -> str:
    try:
        return normalised(text)
    except UnfitText as error:
        raise DocumentRefused(place, f"here: it {error}") from error

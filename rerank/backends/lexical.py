"""BM25 over the documents of a request: no model, no weights, any language. The last resort of a fallback."""

from __future__ import annotations

import math
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass

from rerank.activations import IDENTITY
from rerank.backends.ranks_only import RanksOnly
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.cards import ModelCard
from rerank.catalog.families import LEXICAL
from rerank.core import Chunking, Pair, RawScore, ScoringOptions, Span
from rerank.errors import InvalidRequest
from rerank.normalising import nfkc
from rerank.scorers.base import TURN_CHARACTERS, Part, Reading
from rerank.spans import UNSPACED
from rerank.telemetry import timed

K1, B = 1.2, 0.75
"""The parameters that Lucene has by default, too."""
_MAX_QUERY = 64 * 1024
"""Characters of a query; a model would have no room for a document next to it."""
_WORDS = re.compile(rf"([{UNSPACED}]+)|([^\W_{UNSPACED}]+)")


def terms(text: str) -> Iterator[str]:
    """Words in lower case; of text without spaces every character and every two neighbours."""
    for together, word in _WORDS.findall(nfkc(text).casefold()):
        if word:
            yield word
        yield from together
        yield from (together[at : at + 2] for at in range(len(together) - 1))


@dataclass(frozen=True, slots=True)
class _Counted:
    """A document: its length in terms, and how often each term of the query stands in it."""

    length: int
    counts: Mapping[str, int]


def bm25(query: Mapping[str, int], documents: Sequence[_Counted]) -> list[float]:
    """Each document's share, 0..1, of the highest score that any document could have for this query."""
    number = len(documents)
    having = Counter(term for document in documents for term in document.counts)
    weights = {term: times * _rarity(having[term], number) for term, times in query.items()}
    best = sum(weights.values()) * (K1 + 1)
    mean = sum(document.length for document in documents) / number or 1.0
    return [_score(document, weights, mean) / best if best else 0.0 for document in documents]


def _rarity(having: int, number: int) -> float:
    return math.log(1 + (number - having + 0.5) / (having + 0.5))


def _score(document: _Counted, weights: Mapping[str, float], mean: float) -> float:
    damped = K1 * (1 - B + B * document.length / mean)
    return sum(weights[term] * count * (K1 + 1) / (count + damped) for term, count in document.counts.items())


class LexicalBackend(RanksOnly):
    """Scores documents by the words that they share with the query, the rarer among the documents the more."""

    max_length = 1_000_000
    activation = IDENTITY
    gives_logits = False
    takes_instruction = False
    cacheable = False

    def __init__(self, card: ModelCard, tokenisers: Tokenisers) -> None:
        super().__init__(card, LEXICAL)
        self._tokenisers = tokenisers

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        """See ``Backend.score``. Every pair is scored, whatever the time: each score needs all documents."""
        del options, until
        if any(len(pair.query) > _MAX_QUERY for pair in pairs):
            raise InvalidRequest(
                f"The query is too long for {self._card.id}, which takes {_MAX_QUERY} characters. Shorten it.",
                param="query",
            )
        characters = sum(len(pair.document) for pair in pairs)
        with timed("tokenise"):
            return await self._tokenisers.run(_reading(pairs), len(pairs), characters, caller)

    async def chunks(
        self, pairs: Sequence[Pair], options: ScoringOptions, chunking: Chunking, *, caller: str = ""
    ) -> list[list[Span]]:
        """See ``Backend.chunks``. Documents are read whole."""
        del options, chunking, caller
        return [[Span(0, len(pair.document))] for pair in pairs]


def _reading(pairs: Sequence[Pair]) -> Reading[list[RawScore]]:
    places: dict[str, list[int]] = {}
    for index, pair in enumerate(pairs):
        places.setdefault(pair.query, []).append(index)
    scores: dict[int, RawScore] = {}
    for query, indices in places.items():
        yield Part(len(query))
        wanted = Counter(terms(query))
        documents = []
        for index in indices:
            documents.append((yield from _count(pairs[index].document, wanted)))
        for index, document, score in zip(indices, documents, bm25(wanted, documents), strict=True):
            scores[index] = RawScore(score, document.length)
    return [scores[index] for index in range(len(pairs))]


def _count(text: str, wanted: Mapping[str, int]) -> Reading[_Counted]:
    """Count in pieces, between which other requests get a turn."""
    length, counts = 0, Counter[str]()
    for start in range(0, len(text), TURN_CHARACTERS):
        piece = text[start : start + TURN_CHARACTERS]
        yield Part(len(piece))
        found = list(terms(piece))
        length += len(found)
        counts.update(term for term in found if term in wanted)
    return _Counted(length, counts)

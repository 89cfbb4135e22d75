"""Parts of a request: what one call to an upstream asks. Pure."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import NamedTuple

from rerank.backends.remote.answers import Answer
from rerank.core import Pair, RawScore

_CHARACTERS_PER_TOKEN = 4
"""Rough, for upstreams that do not say what they read."""


class Part(NamedTuple):
    """Documents that one call asks about, each once."""

    query: str
    documents: list[str]
    places: list[list[int]]
    """For each document the indices of its pairs."""


def split(pairs: Sequence[Pair], most: int) -> list[Part]:
    """Parts of at most ``most`` documents and one query each, in the order of the pairs."""
    places_of: dict[str, dict[str, list[int]]] = {}
    for index, pair in enumerate(pairs):
        places_of.setdefault(pair.query, {}).setdefault(pair.document, []).append(index)
    return [part for query, documents in places_of.items() for part in _parts(query, documents, most)]


def _parts(query: str, documents: dict[str, list[int]], most: int) -> Iterator[Part]:
    texts = list(documents)
    for start in range(0, len(texts), most):
        some = texts[start : start + most]
        yield Part(query, some, [documents[text] for text in some])


def raw_scores(part: Part, answer: Answer) -> list[RawScore]:
    """A raw score for each document, with its share of the tokens that the upstream read for all."""
    counts = _estimates(part) if answer.tokens is None else _shares(part, answer.tokens)
    return [RawScore(score, count, cut) for (score, cut), count in zip(answer.scores, counts, strict=True)]


def _estimates(part: Part) -> list[int]:
    query = len(part.query)
    return [1 + (query + len(document)) // _CHARACTERS_PER_TOKEN for document in part.documents]


def _shares(part: Part, tokens: int) -> list[int]:
    """Equal shares whose sum is the whole."""
    each, rest = divmod(tokens, len(part.documents))
    return [each + (number < rest) for number in range(len(part.documents))]

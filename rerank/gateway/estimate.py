"""Estimated work of a request, before its texts are tokenised. Pure."""

from __future__ import annotations

import sys
from collections.abc import Sequence

from rerank.core import Pair

_BYTES_PER_TOKEN = 4
"""Of UTF-8. English has four to five letters per token, Chinese about one and a half characters of three bytes."""
_SAMPLE = 64 * 1024
"""Characters from which the bytes of a longer text are estimated."""


def estimated_tokens(pairs: Sequence[Pair], max_length: int | None) -> int:
    """Estimated tokens: per pair in proportion to its bytes, at most ``max_length``."""
    # most requests ask one query of all documents
    queries = {query: _bytes(query) for query in {pair.query for pair in pairs}}
    lengths = [1 + (queries[query] + _bytes(document)) // _BYTES_PER_TOKEN for query, document in pairs]
    return sum(lengths) if max_length is None else sum([min(length, max_length) for length in lengths])


def held_bytes(pairs: Sequence[Pair]) -> int:
    """Memory of a request's texts: one emoji in a text makes each of its characters four bytes."""
    texts = {id(text): text for pair in pairs for text in pair}
    return sum(map(sys.getsizeof, texts.values()))


def _bytes(text: str) -> int:
    # Python knows whether a text is ASCII without looking at it
    if text.isascii():
        return len(text)
    sample = len(text[:_SAMPLE].encode("utf-8", "surrogatepass"))
    return sample if len(text) <= _SAMPLE else sample * len(text) // _SAMPLE

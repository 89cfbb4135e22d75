"""Chunks of a long document for a model whose tokenizer is not at hand: tokens are estimated. Pure."""

from __future__ import annotations

import re
from collections.abc import Sequence

from rerank.core import Chunking, Pair, Span
from rerank.spans import UNSPACED, chunks_of_characters

_OF_WORDS = 4.0
"""Characters per token of texts in letters."""
_OF_IDEOGRAPHS = 1.5
"""Characters per token of Chinese, Japanese and Korean."""
_IDEOGRAPHS = re.compile(f"[{UNSPACED}]")
_SAMPLE = 16_384
"""Characters of a text that are looked at."""
_LEAST = 16
"""Tokens of a document that a chunk has, however long the query is."""


def estimated_chunks(pairs: Sequence[Pair], tokens: int, chunking: Chunking) -> list[list[Span]]:
    """See ``Backend.chunks``: each chunk has about ``tokens`` together with the query."""
    taken = {query: len(query) / characters_per_token(query) for query in {pair.query for pair in pairs}}
    return [_chunks(pair.document, max(tokens - taken[pair.query], _LEAST), chunking) for pair in pairs]


def characters_per_token(text: str) -> float:
    """Estimated by the share of ideographs."""
    sample = text[:_SAMPLE]
    ideographs = sum(1 for _ in _IDEOGRAPHS.finditer(sample))
    tokens = ideographs / _OF_IDEOGRAPHS + (len(sample) - ideographs) / _OF_WORDS
    return len(sample) / tokens if tokens else _OF_WORDS


def _chunks(document: str, room: float, chunking: Chunking) -> list[Span]:
    per_token = characters_per_token(document)
    return chunks_of_characters(document, int(room * per_token), int(chunking.overlap * per_token), chunking.most)

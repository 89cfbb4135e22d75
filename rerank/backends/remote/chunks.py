"""Chunks of a long document for a model whose tokenizer is not at hand: tokens are estimated. Pure."""

from __future__ import annotations

import re

from rerank.core import Chunking, Span
from rerank.spans import chunks_of_characters

_OF_WORDS = 4.0
"""Characters per token of texts in letters."""
_OF_IDEOGRAPHS = 1.5
"""Characters per token of Chinese, Japanese and Korean."""
_IDEOGRAPHS = re.compile("[\u1100-\u11ff\u2e80-\u9fff\uac00-\ud7ff\uf900-\ufaff\U00020000-\U0003ffff]")
_LEAST = 16
"""Tokens of a document that a chunk has, however long the query is."""


def characters_per_token(text: str) -> float:
    """Estimated by the share of ideographs."""
    ideographs = sum(1 for _ in _IDEOGRAPHS.finditer(text))
    tokens = ideographs / _OF_IDEOGRAPHS + (len(text) - ideographs) / _OF_WORDS
    return len(text) / tokens if tokens else _OF_WORDS


def estimated_chunks(document: str, query: str, tokens: int, chunking: Chunking) -> list[Span]:
    """See ``Backend.chunks``: each chunk has about so many tokens together with the query."""
    per_token = characters_per_token(document)
    room = max(tokens - len(query) / characters_per_token(query), _LEAST)
    return chunks_of_characters(document, int(room * per_token), int(chunking.overlap * per_token), chunking.most)

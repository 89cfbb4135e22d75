"""Vectors of documents that a model computed, kept for the next requests."""

from __future__ import annotations

import hashlib
import threading
from collections.abc import Sequence

import numpy

from rerank.core import ScoringOptions
from rerank.runtimes.base import TokenIds

_ENTRY_BYTES = 400
"""Approximate size of an entry without its numbers."""


class VectorCache:
    """The vectors that were used last, by the tokens they were computed from. Any thread may use it."""

    def __init__(self, max_bytes: int) -> None:
        # a model on a GPU does without
        from cachetools import LRUCache

        self._vectors: LRUCache[bytes, numpy.ndarray] = LRUCache(max_bytes, getsizeof=_size)
        self._lock = threading.Lock()

    def get(self, text: TokenIds) -> numpy.ndarray | None:
        """The text's vector, or its vectors; None if they are not kept."""
        key = _key(text)
        with self._lock:
            return self._vectors.get(key)

    def put(self, text: TokenIds, vector: numpy.ndarray) -> None:
        """Keep a copy, in place of those that were not used for longest; none of what is larger than all room."""
        if _size(vector) <= self._vectors.maxsize:
            key, kept = _key(text), vector.copy()
            kept.flags.writeable = False
            with self._lock:
                self._vectors[key] = kept


def known_vectors(
    cache: VectorCache | None, texts: Sequence[TokenIds], options: ScoringOptions
) -> list[numpy.ndarray | None]:
    """What is kept of each text, for a request with these options."""
    return [cache.get(text) for text in texts] if cache and options.cached else [None] * len(texts)


def _size(vector: numpy.ndarray) -> int:
    return vector.nbytes + _ENTRY_BYTES


def _key(text: TokenIds) -> bytes:
    """A digest, because the tokens take more memory than many a vector."""
    return hashlib.blake2b(text.input_ids.raw + text.type_ids.raw, digest_size=16).digest()

"""Cache of pair scores. Keeps hashes of texts, never the texts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from itertools import count
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from rerank.backends.base import Backend
from rerank.core import RawScore, ScoringRequest
from rerank.errors import PairTooLarge
from rerank.telemetry.events import CacheLookup, Observe, ignore

_DIGEST_BYTES = 16


class PairCache:
    """The most recently used scores of all models. Scores of an unloaded model are never found again.

    Belongs to the event loop's thread.
    """

    def __init__(self, pairs: int = 0, observe: Observe = ignore) -> None:
        """``pairs``: maximum number of scores; 0 disables the cache."""
        self._scores: LRUCache[tuple[int, bytes], RawScore] = LRUCache(maxsize=pairs)
        self._observe = observe
        self._loads = count()
        self._load_of: WeakKeyDictionary[Backend, int] = WeakKeyDictionary()

    async def score(self, backend: Backend, model: str, request: ScoringRequest) -> list[RawScore]:
        """A raw score for each pair, in order; the backend computes those that are not cached."""
        # if truncation is not allowed, the backend checks every text to name the one that is too long
        if not self._scores.maxsize or not request.options.truncation.allowed:
            return await _compute(backend, request, range(len(request.pairs)))
        load = self._load_of.setdefault(backend, next(self._loads))
        # on a thread, because up to 32 MB are hashed
        keys = [(load, digest) for digest in await asyncio.to_thread(list, _digests(request))]
        known = [self._scores.get(key) for key in keys]
        missing = [place for place, score in enumerate(known) if score is None]
        self._observe(CacheLookup(model, len(keys) - len(missing), len(missing)))
        computed = await _compute(backend, request, missing) if missing else []
        found = dict(zip(missing, computed, strict=True))
        self._scores.update({keys[place]: score for place, score in found.items()})
        return [found[place] if score is None else score for place, score in enumerate(known)]


async def _compute(backend: Backend, request: ScoringRequest, places: Sequence[int]) -> list[RawScore]:
    """Scores of the pairs at these indices of the request."""
    pairs = [request.pairs[place] for place in places]
    try:
        return await backend.score(pairs, request.options, caller=request.caller.name)
    except PairTooLarge as error:
        raise PairTooLarge(places[error.index], error.tokens) from error


def _digests(request: ScoringRequest) -> Iterator[bytes]:
    """A digest per pair of everything that its score depends on, except the model."""
    options = hashlib.blake2b(repr(asdict(request.options)).encode(), digest_size=_DIGEST_BYTES)
    queries = {query: _digest(query) for query in {pair.query for pair in request.pairs}}
    for pair in request.pairs:
        digest = options.copy()
        digest.update(queries[pair.query] + _digest(pair.document))
        yield digest.digest()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()

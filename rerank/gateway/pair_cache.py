"""Scores of pairs that were asked before. Keeps hashes of texts, never the texts."""

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
    """The scores that were asked for last, of all models; those of a model that was unloaded are never found again.

    Belongs to the event loop's thread.
    """

    def __init__(self, pairs: int = 0, observe: Observe = ignore) -> None:
        """``pairs``: how many are kept; 0 keeps none."""
        self._scores: LRUCache[tuple[int, bytes], RawScore] = LRUCache(maxsize=pairs)
        self._observe = observe
        self._loads = count()
        self._load_of: WeakKeyDictionary[Backend, int] = WeakKeyDictionary()

    async def score(self, backend: Backend, model: str, request: ScoringRequest) -> list[RawScore]:
        """A raw score for each pair, in order; the backend computes those that are not here."""
        # where nothing may be cut, the backend looks at every text to say which one is too long
        if not self._scores.maxsize or not request.options.truncation.allowed:
            return await _compute(backend, request, range(len(request.pairs)))
        load = self._load_of.setdefault(backend, next(self._loads))
        # on a thread: hashing lets the event loop go on, and there may be 32 MB of it
        keys = [(load, digest) for digest in await asyncio.to_thread(list, _digests(request))]
        known = [self._scores.get(key) for key in keys]
        missing = [place for place, score in enumerate(known) if score is None]
        self._observe(CacheLookup(model, len(keys) - len(missing), len(missing)))
        computed = await _compute(backend, request, missing) if missing else []
        found = dict(zip(missing, computed, strict=True))
        self._scores.update({keys[place]: score for place, score in found.items()})
        return [found[place] if score is None else score for place, score in enumerate(known)]


async def _compute(backend: Backend, request: ScoringRequest, places: Sequence[int]) -> list[RawScore]:
    """Scores of the pairs at these places of the request."""
    pairs = [request.pairs[place] for place in places]
    try:
        return await backend.score(pairs, request.options, caller=request.caller.name)
    except PairTooLarge as error:
        raise PairTooLarge(places[error.index], error.tokens) from error


def _digests(request: ScoringRequest) -> Iterator[bytes]:
    """What each pair's score depends on, besides the model."""
    options = hashlib.blake2b(repr(asdict(request.options)).encode(), digest_size=_DIGEST_BYTES)
    queries = {query: _digest(query) for query in {pair.query for pair in request.pairs}}
    for pair in request.pairs:
        digest = options.copy()
        digest.update(queries[pair.query] + _digest(pair.document))
        yield digest.digest()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()

"""Cache of pair scores. Keeps hashes of texts, never the texts."""

from __future__ import annotations

import asyncio
import hashlib
from collections.abc import Iterator, Sequence
from dataclasses import asdict
from functools import partial
from itertools import count
from typing import NamedTuple
from weakref import WeakKeyDictionary

from cachetools import LRUCache

from rerank.backends.base import Backend, LoadedModel
from rerank.core import Pair, RawScore, ScoringOptions
from rerank.errors import placed_by
from rerank.telemetry.events import CacheLookup, Observe, ignore

_DIGEST_BYTES = 16


class Scores(NamedTuple):
    """Raw scores, and how many of them were in the cache."""

    raw: list[RawScore]
    cached: int = 0


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

    async def score(
        self,
        model: LoadedModel,
        pairs: Sequence[Pair],
        options: ScoringOptions,
        *,
        caller: str = "",
        until: float | None = None,
        use: bool = True,
    ) -> Scores:
        """A raw score for each pair, in order; the backend computes those that are not cached, or all unless ``use``.

        ``until``: see ``Backend.score``.
        """
        backend, compute = model.backend, partial(_compute, model.backend, pairs, options, caller, until)
        # if truncation is not allowed, the backend checks every text to name the one that is too long
        if not (use and self._scores.maxsize and backend.cacheable and options.truncation.allowed):
            return Scores(await compute(range(len(pairs))))
        load = self._load_of.setdefault(backend, next(self._loads))
        # on a thread, because up to 32 MB are hashed
        keys = [(load, digest) for digest in await asyncio.to_thread(list, _digests(pairs, options))]
        known = [self._scores.get(key) for key in keys]
        missing = [place for place, score in enumerate(known) if score is None]
        self._observe(CacheLookup(model.card.id, len(keys) - len(missing), len(missing)))
        computed = await compute(missing) if missing else []
        found = dict(zip(missing, computed, strict=True))
        self._scores.update({keys[place]: score for place, score in found.items() if score.scored})
        raw = [found[place] if score is None else score for place, score in enumerate(known)]
        return Scores(raw, len(keys) - len(missing))


async def _compute(
    backend: Backend,
    pairs: Sequence[Pair],
    options: ScoringOptions,
    caller: str,
    until: float | None,
    places: Sequence[int],
) -> list[RawScore]:
    """Scores of the pairs at these indices."""
    with placed_by(places.__getitem__):
        return await backend.score([pairs[place] for place in places], options, caller=caller, until=until)


def _digests(pairs: Sequence[Pair], options: ScoringOptions) -> Iterator[bytes]:
    """A digest per pair of everything that its score depends on, except the model."""
    hashed = hashlib.blake2b(repr(asdict(options)).encode(), digest_size=_DIGEST_BYTES)
    queries = {query: _digest(query) for query in {pair.query for pair in pairs}}
    for pair in pairs:
        digest = hashed.copy()
        digest.update(queries[pair.query] + _digest(pair.document))
        yield digest.digest()


def _digest(text: str) -> bytes:
    return hashlib.blake2b(text.encode("utf-8", "surrogatepass"), digest_size=_DIGEST_BYTES).digest()

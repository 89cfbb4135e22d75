"""Cache of pair scores: looked up, computed once where missing, kept."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from typing import NamedTuple

from rerank.backends.base import Backend, LoadedModel
from rerank.catalog.upstreams import hops_var
from rerank.core import Pair, RawScore, ScoringOptions
from rerank.errors import placed_by
from rerank.gateway.cache.flights import Flights
from rerank.gateway.cache.keys import keys_of, pack, unpack
from rerank.gateway.cache.store import Store
from rerank.telemetry.events import CacheLookup, Observe, ignore

_FEW = 256
_SHORT = 256 * 1024
"""Pairs, and their characters, that are hashed within 2 ms."""


class Scores(NamedTuple):
    """Raw scores, and how many of them were in the cache."""

    raw: list[RawScore]
    cached: int = 0


class PairCache:
    """Scores of repeated pairs of all models. Belongs to the event loop's thread."""

    def __init__(self, store: Store | None = None, observe: Observe = ignore) -> None:
        """Without a ``store`` every score is computed."""
        self._store = store
        self._observe = observe
        self._flights = Flights()

    async def score(
        self,
        model: LoadedModel,
        pairs: Sequence[Pair],
        options: ScoringOptions,
        *,
        caller: str = "",
        until: float | None = None,
    ) -> Scores:
        """A raw score for each pair, in order; the backend computes those that are not cached.

        ``until``: see ``Backend.score``.
        """
        compute = partial(_compute, model.backend, pairs, options, caller, until)
        if not (self._store and _is_cacheable(model, options)):
            return Scores(await compute(range(len(pairs))))
        hashing = keys_of(model.fingerprint, pairs, options)
        # up to 32 MB: that would block the event loop
        keys = await asyncio.to_thread(list, hashing) if _takes_long(pairs) else list(hashing)
        known = await self._known(self._store, model.card.id, keys)
        place_of = {key: place for place, key in reversed(list(enumerate(keys)))}

        async def compute_and_keep(missing: Sequence[bytes]) -> list[RawScore]:
            scores = await compute([place_of[key] for key in missing])
            await self._keep(dict(zip(missing, scores, strict=True)))
            return scores

        missing = [key for key in dict.fromkeys(keys) if key not in known]
        # a request that upstreams lead back here must not wait for itself
        flyer = f"{caller} {hops_var.get()}"
        computed = await self._flights.score(flyer, missing, compute_and_keep, until) if missing else {}
        return Scores([(known.get(key) or computed[key]) for key in keys], sum(key in known for key in keys))

    async def _known(self, store: Store, model: str, keys: Sequence[bytes]) -> dict[bytes, RawScore]:
        kept = zip(keys, map(unpack, await store.get(keys)), strict=True)
        known = {key: score for key, score in kept if score}
        found = sum(key in known for key in keys)
        self._observe(CacheLookup(model, store.name, found, len(keys) - found))
        return known

    async def _keep(self, scores: dict[bytes, RawScore]) -> None:
        if self._store:
            await self._store.put({key: pack(score) for key, score in scores.items() if score.scored})


def _takes_long(pairs: Sequence[Pair]) -> bool:
    return len(pairs) > _FEW or sum([len(pair.query) + len(pair.document) for pair in pairs]) > _SHORT


def _is_cacheable(model: LoadedModel, options: ScoringOptions) -> bool:
    # if truncation is not allowed, the backend checks every text to name the one that is too long
    return options.cached and bool(model.fingerprint) and model.backend.cacheable and options.truncation.allowed


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

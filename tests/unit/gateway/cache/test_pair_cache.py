from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import field, make_dataclass, replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.backends.base import LoadedModel
from rerank.catalog.cards import ModelCard
from rerank.catalog.upstreams import MAX_HOPS, hops_var
from rerank.core import UNSCORED, Pair, RawScore, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import PairTooLarge, UpstreamLoop
from rerank.gateway.cache.memory import MemoryStore
from rerank.gateway.cache.pair_cache import PairCache
from rerank.telemetry.events import CacheLookup, Event, Observe, ignore
from tests.support.clock import Clock
from tests.support.fake_loader import NoBackend, loaded


class Backend(NoBackend):
    """Scores a pair by the texts' lengths; notes what it was asked."""

    def __init__(self) -> None:
        self.asked: list[list[str]] = []

    async def score(
        self, pairs: Sequence[Pair], options: ScoringOptions, *, caller: str = "", until: float | None = None
    ) -> list[RawScore]:
        self.asked.append([pair.document for pair in pairs])
        for place, pair in enumerate(pairs):
            if pair.document == "huge":
                raise PairTooLarge(place, 10**6)
        return [RawScore(100.0 * len(pair.query) + len(pair.document), 3) for pair in pairs]

    def close(self) -> None:
        raise AssertionError("nobody asked for it")


def ask(*documents: str, query: str = "q", **rest: object) -> ScoringRequest:
    return ScoringRequest(tuple(Pair(query, document) for document in documents), **rest)  # type: ignore[arg-type]


def model_of(backend: Backend, fingerprint: str = "weights") -> LoadedModel:
    return replace(loaded(ModelCard("model"), backend), fingerprint=fingerprint)


def cache_of(pairs: int, observe: Observe = ignore, ttl: float = 60, clock: Clock | None = None) -> PairCache:
    return PairCache(MemoryStore(pairs, ttl, clock or Clock()), observe)


async def logits(cache: PairCache, backend: Backend, request: ScoringRequest) -> list[float]:
    found = await cache.score(model_of(backend), request.pairs, request.options)
    return [score.logit for score in found.raw]


async def test_what_was_asked_before_is_not_computed_again() -> None:
    seen: list[Event] = []
    cache, backend = cache_of(10, seen.append), Backend()
    assert await logits(cache, backend, ask("a", "bb")) == [101.0, 102.0]
    assert await logits(cache, backend, ask("ccc", "bb", "a")) == [103.0, 102.0, 101.0]
    assert await logits(cache, backend, ask("a")) == [101.0]
    assert backend.asked == [["a", "bb"], ["ccc"]]
    assert seen == [
        CacheLookup("model", "memory", 0, 2),
        CacheLookup("model", "memory", 2, 1),
        CacheLookup("model", "memory", 1, 0),
    ]


@pytest.mark.parametrize(
    "other",
    [
        ask("a", query="Q"),
        ask("A"),
        ask("", query="qa"),
        ask("a", options=ScoringOptions(instruction="other")),
        ask("a", options=ScoringOptions(Truncation(max_tokens=5))),
        ask("a", options=ScoringOptions(Truncation(side="left"))),
    ],
)
async def test_whatever_a_score_depends_on_makes_another_pair(other: ScoringRequest) -> None:
    cache, backend = cache_of(10), Backend()
    await logits(cache, backend, ask("a"))
    await logits(cache, backend, other)
    assert len(backend.asked) == 2


async def test_a_new_option_is_part_of_the_cache_key() -> None:
    fields = [("style", str, field(default="plain", repr=False, compare=False))]
    wider = make_dataclass("WiderOptions", fields, bases=(ScoringOptions,), frozen=True)
    cache, backend = cache_of(10), Backend()
    for style in ("plain", "fancy", "plain"):
        await logits(cache, backend, ask("a", options=wider(style=style)))
    assert len(backend.asked) == 2


async def test_scores_survive_a_reload_of_the_same_weights() -> None:
    cache, first, second = cache_of(10), Backend(), Backend()
    for backend in (first, second):
        assert await logits(cache, backend, ask("a")) == [101.0]
    assert (first.asked, second.asked) == ([["a"]], [])


async def test_other_weights_of_the_same_name_are_another_model() -> None:
    cache, backend = cache_of(10), Backend()
    request = ask("a")
    for fingerprint in ("weights", "other weights", "weights"):
        await cache.score(model_of(backend, fingerprint), request.pairs, request.options)
    assert len(backend.asked) == 2


async def test_a_model_without_a_fingerprint_is_not_cached() -> None:
    cache, backend = cache_of(10), Backend()
    request = ask("a")
    for _ in range(2):
        await cache.score(model_of(backend, ""), request.pairs, request.options)
    assert len(backend.asked) == 2


async def test_a_model_whose_scores_depend_on_the_other_pairs_is_not_cached() -> None:
    cache, backend = cache_of(10), Backend()
    backend.cacheable = False
    for _ in range(2):
        await logits(cache, backend, ask("a"))
    assert len(backend.asked) == 2


async def test_a_request_may_bypass_the_cache() -> None:
    cache, backend, request = cache_of(10), Backend(), ask("a")
    for _ in range(2):
        assert (await cache.score(model_of(backend), request.pairs, ScoringOptions(cached=False))).cached == 0
    assert len(backend.asked) == 2


async def test_a_score_is_computed_again_when_its_time_is_over() -> None:
    clock, backend = Clock(), Backend()
    cache = cache_of(10, ttl=60, clock=clock)
    for now in (0, 59, 61):
        clock.now = now
        await logits(cache, backend, ask("a"))
    assert len(backend.asked) == 2


async def test_the_answer_says_how_many_pairs_were_cached() -> None:
    cache, backend = cache_of(10), Backend()
    await logits(cache, backend, ask("a"))
    request = ask("a", "b", "a")
    assert (await cache.score(model_of(backend), request.pairs, request.options)).cached == 2


async def test_tokens_and_truncation_are_kept_with_the_logit() -> None:
    class Cutting(Backend):
        async def score(self, pairs: Sequence[Pair], options: ScoringOptions, **_: object) -> list[RawScore]:
            return [RawScore(0.1, 512, truncated=True) for _ in pairs]

    cache, request = cache_of(10), ask("a")
    for backend in (Cutting(), Backend()):
        found = await cache.score(model_of(backend), request.pairs, request.options)
        assert found.raw == [RawScore(0.1, 512, truncated=True)]


async def test_pairs_that_there_was_no_time_for_are_not_kept() -> None:
    class Hurried(Backend):
        async def score(self, pairs: Sequence[Pair], options: ScoringOptions, **_: object) -> list[RawScore]:
            return [RawScore(1.0, 1) if pair.document == "a" else UNSCORED for pair in pairs]

    cache, backend = cache_of(10), Backend()
    assert (await logits(cache, Hurried(), ask("a", "b"))) == [1.0, UNSCORED.logit]
    await logits(cache, backend, ask("a", "b"))
    assert backend.asked == [["b"]]


async def test_equal_pairs_of_two_requests_at_the_same_time_are_computed_once() -> None:
    cache, backend = cache_of(10), Backend()
    answers = await asyncio.gather(*[logits(cache, backend, ask("a", "bb")) for _ in range(3)])
    assert answers == [[101.0, 102.0]] * 3
    assert backend.asked == [["a", "bb"]]


async def test_a_request_that_comes_back_through_a_loop_of_servers_does_not_wait_for_itself() -> None:
    cache, request = cache_of(10), ask("a")

    class Loop(Backend):
        async def score(self, pairs: Sequence[Pair], options: ScoringOptions, **_: object) -> list[RawScore]:
            hops_var.set(hops_var.get() + 1)
            if hops_var.get() > MAX_HOPS:
                raise UpstreamLoop("the servers form a loop")
            return (await cache.score(model_of(self), pairs, options)).raw

    with pytest.raises(UpstreamLoop):
        await asyncio.wait_for(cache.score(model_of(Loop()), request.pairs, request.options), 10)


async def test_the_pairs_asked_for_last_are_kept() -> None:
    cache, backend = cache_of(2), Backend()
    for document in ("a", "b", "a", "c", "a", "b"):
        await logits(cache, backend, ask(document))
    assert backend.asked == [["a"], ["b"], ["c"], ["b"]]


async def test_without_a_store_nothing_is_kept() -> None:
    cache, backend = PairCache(), Backend()
    for _ in range(2):
        await logits(cache, backend, ask("a"))
    assert backend.asked == [["a"], ["a"]]


async def test_where_nothing_may_be_cut_the_backend_sees_every_text() -> None:
    cache, backend = cache_of(10), Backend()
    for _ in range(2):
        await logits(cache, backend, ask("a", options=ScoringOptions(Truncation(allowed=False))))
    assert backend.asked == [["a"], ["a"]]


async def test_a_pair_too_large_is_named_by_its_place_in_the_request() -> None:
    cache, backend = cache_of(10), Backend()
    await logits(cache, backend, ask("a", "b"))
    with pytest.raises(PairTooLarge, match=r"documents\.3"):
        await logits(cache, backend, ask("a", "b", "c", "huge"))


@given(st.lists(st.tuples(st.text(max_size=2), st.lists(st.text(max_size=2), min_size=1, max_size=4)), max_size=12))
async def test_scores_are_those_without_a_cache(requests: list[tuple[str, list[str]]]) -> None:
    cache, plain, backend = cache_of(3), PairCache(), Backend()
    for query, documents in requests:
        request = ask(*documents, query=query)
        assert await logits(cache, backend, request) == await logits(plain, backend, request)

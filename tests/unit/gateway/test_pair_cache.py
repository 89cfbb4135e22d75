from __future__ import annotations

from collections.abc import Sequence
from dataclasses import field, make_dataclass

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.catalog.cards import ModelCard
from rerank.core import Pair, RawScore, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import PairTooLarge
from rerank.gateway.pair_cache import PairCache
from rerank.telemetry.events import CacheLookup, Event
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


async def logits(cache: PairCache, backend: Backend, request: ScoringRequest) -> list[float]:
    found = await cache.score(loaded(ModelCard("model"), backend), request.pairs, request.options)
    return [score.logit for score in found.raw]


async def test_what_was_asked_before_is_not_computed_again() -> None:
    seen: list[Event] = []
    cache, backend = PairCache(10, seen.append), Backend()
    assert await logits(cache, backend, ask("a", "bb")) == [101.0, 102.0]
    assert await logits(cache, backend, ask("ccc", "bb", "a")) == [103.0, 102.0, 101.0]
    assert await logits(cache, backend, ask("a")) == [101.0]
    assert backend.asked == [["a", "bb"], ["ccc"]]
    assert seen == [CacheLookup("model", 0, 2), CacheLookup("model", 2, 1), CacheLookup("model", 1, 0)]


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
    cache, backend = PairCache(10), Backend()
    await logits(cache, backend, ask("a"))
    await logits(cache, backend, other)
    assert len(backend.asked) == 2


async def test_a_new_option_is_part_of_the_cache_key() -> None:
    fields = [("style", str, field(default="plain", repr=False, compare=False))]
    wider = make_dataclass("WiderOptions", fields, bases=(ScoringOptions,), frozen=True)
    cache, backend = PairCache(10), Backend()
    for style in ("plain", "fancy", "plain"):
        await logits(cache, backend, ask("a", options=wider(style=style)))
    assert len(backend.asked) == 2


async def test_a_reloaded_model_starts_with_an_empty_cache() -> None:
    cache = PairCache(10)
    for backend in (Backend(), Backend()):
        await logits(cache, backend, ask("a"))
        assert backend.asked == [["a"]]


async def test_the_pairs_asked_for_last_are_kept() -> None:
    cache, backend = PairCache(2), Backend()
    for document in ("a", "b", "a", "c", "a", "b"):
        await logits(cache, backend, ask(document))
    assert backend.asked == [["a"], ["b"], ["c"], ["b"]]


async def test_without_room_nothing_is_kept() -> None:
    cache, backend = PairCache(0), Backend()
    for _ in range(2):
        await logits(cache, backend, ask("a"))
    assert backend.asked == [["a"], ["a"]]


async def test_where_nothing_may_be_cut_the_backend_sees_every_text() -> None:
    cache, backend = PairCache(10), Backend()
    for _ in range(2):
        await logits(cache, backend, ask("a", options=ScoringOptions(Truncation(allowed=False))))
    assert backend.asked == [["a"], ["a"]]


async def test_a_pair_too_large_is_named_by_its_place_in_the_request() -> None:
    cache, backend = PairCache(10), Backend()
    await logits(cache, backend, ask("a", "b"))
    with pytest.raises(PairTooLarge, match=r"documents\.3"):
        await logits(cache, backend, ask("a", "b", "c", "huge"))


@given(st.lists(st.tuples(st.text(max_size=2), st.lists(st.text(max_size=2), min_size=1, max_size=4)), max_size=12))
async def test_scores_are_those_without_a_cache(requests: list[tuple[str, list[str]]]) -> None:
    cache, plain, backend = PairCache(3), PairCache(0), Backend()
    for query, documents in requests:
        request = ask(*documents, query=query)
        assert await logits(cache, backend, request) == await logits(plain, backend, request)

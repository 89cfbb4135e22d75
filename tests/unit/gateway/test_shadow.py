from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable
from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.catalog.cards import ModelCard
from rerank.catalog.shadows import Shadow, check_shadows
from rerank.core import Caller, Chunking, Pair, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import ModelNotFound, SettingsError, UpstreamFailed
from rerank.gateway.admission import Admission, Work
from rerank.gateway.shadow import Shadows, agreement, shadow_request, takes
from rerank.results import ScoringResult
from rerank.telemetry.events import Event, Shadowed
from tests.support.waiting import PATIENCE

SHADOW = Shadow("far", 0.25)
CARD = ModelCard("near", shadow=SHADOW)
SECRET = "nobody may read this"
REQUEST = ScoringRequest(tuple(Pair(SECRET, document) for document in ("a", "b", "c")), "near")


def result(*scores: float, **more: Any) -> ScoringResult:
    return ScoringResult(scores, (), 3, "near", "", **more)


RESULT = result(0.9, 0.5, 0.1)


class TestTakes:
    @given(draw=st.floats(0, 1, exclude_max=True), share=st.floats(0, 1, exclude_min=True))
    def test_a_request_is_shadowed_if_the_draw_is_below_the_share(self, draw: float, share: float) -> None:
        assert takes(Shadow("far", share), REQUEST, RESULT, draw) == (draw < share)

    def test_a_share_of_1_is_every_request(self) -> None:
        assert takes(Shadow("far", 1), REQUEST, RESULT, 0.9999999)

    @pytest.mark.parametrize(
        "request_",
        [
            replace(REQUEST, pairs=REQUEST.pairs[:1]),
            replace(REQUEST, pairs=(Pair("q", "a"), Pair("r", "a"))),
            replace(REQUEST, activated=False),
        ],
        ids=["one document", "two queries", "raw logits"],
    )
    def test_requests_without_a_ranking_by_relevance_are_not_shadowed(self, request_: ScoringRequest) -> None:
        assert not takes(SHADOW, request_, RESULT, 0)

    @pytest.mark.parametrize("fault", ["degraded", "partial"])
    def test_requests_that_the_cards_model_did_not_rank_are_not_shadowed(self, fault: str) -> None:
        assert not takes(SHADOW, REQUEST, replace(RESULT, **{fault: True}), 0)  # type: ignore[arg-type]


def test_a_shadow_is_asked_without_limits_that_are_meant_for_another_model() -> None:
    asked = ScoringRequest(
        REQUEST.pairs,
        "near",
        ScoringOptions(Truncation(max_tokens=40), "find it", cached=False),
        top_n=2,
        fallbacks=("gone",),
        chunking=Chunking(4),
        min_score=0.5,
        budget=0.1,
        within=1,
        caller=Caller("anna", models=("near",), requests_per_minute=1),
    )
    assert shadow_request(SHADOW, asked) == ScoringRequest(
        REQUEST.pairs,
        "far",
        ScoringOptions(instruction="find it", cached=False),
        top_n=2,
        chunking=Chunking(4),
        caller=Caller("shadow"),
    )


def test_agreement_is_that_of_both_rankings() -> None:
    assert agreement(RESULT, result(0.8, 0.4, 0.0)) == pytest.approx({"top1": 1, "kendall": 1, "pearson": 1})
    assert agreement(RESULT, result(0.1, 0.5, 0.9)) == pytest.approx({"top1": 0, "kendall": -1, "pearson": -1})
    # undefined where all are equal
    assert agreement(RESULT, result(0.5, 0.5, 0.5)) == {"top1": 1.0}


async def until(happened: Callable[[], bool]) -> None:
    async with asyncio.timeout(PATIENCE):
        while not happened():  # noqa: ASYNC110
            await asyncio.sleep(0.001)


class Far:
    """The other model, which answers when it may."""

    def __init__(self) -> None:
        self.asked: list[ScoringRequest] = []
        self.answer: ScoringResult | None = result(0.8, 0.4, 0.0)
        self.error: Exception | None = None
        self.may_answer = asyncio.Event()
        self.may_answer.set()

    async def __call__(self, request: ScoringRequest) -> ScoringResult | None:
        self.asked.append(request)
        await self.may_answer.wait()
        if self.error:
            raise self.error
        return self.answer


class Parts:
    """Shadows of one model, drawn always."""

    def __init__(self, most: Work = Work(100)) -> None:  # noqa: B008
        self.far = Far()
        self.observed: list[Event] = []
        self.admission = Admission(most)
        self.shadows = Shadows(self.far, self.admission, self.observed.append, draw=lambda: 0, after=0)

    def follow(self, request: ScoringRequest = REQUEST, card: ModelCard = CARD) -> None:
        self.shadows.follow(card, request, RESULT)

    async def outcomes(self, count: int) -> list[str]:
        await until(lambda: len(self.observed) == count)
        return [event.outcome for event in self.observed if isinstance(event, Shadowed)]


@pytest.fixture
async def parts() -> AsyncIterator[Parts]:
    parts = Parts()
    async with parts.shadows.open():
        yield parts


async def test_a_request_is_asked_of_the_shadow_and_compared(parts: Parts) -> None:
    parts.follow()
    # the answer waits for nothing
    assert not parts.far.asked
    assert await parts.outcomes(1) == ["compared"]
    assert parts.far.asked == [shadow_request(SHADOW, REQUEST)]
    (event,) = parts.observed
    assert event == Shadowed("near", "far", "compared", agreement(RESULT, result(0.8, 0.4, 0.0)))


async def test_a_card_without_shadow_has_none(parts: Parts) -> None:
    parts.follow(card=ModelCard("near"))
    parts.follow()
    assert await parts.outcomes(1) == ["compared"]
    assert len(parts.far.asked) == 1


async def test_no_more_than_four_are_in_flight(parts: Parts) -> None:
    parts.far.may_answer.clear()
    for _ in range(6):
        parts.follow()
    assert await parts.outcomes(2) == ["dropped", "dropped"]
    parts.far.may_answer.set()
    assert (await parts.outcomes(6))[2:] == ["compared"] * 4
    await until(lambda: not parts.shadows.in_flight)
    parts.follow()
    assert (await parts.outcomes(7))[-1] == "compared"


async def test_no_more_than_64_mb_of_texts_are_kept(parts: Parts) -> None:
    parts.far.may_answer.clear()
    large = replace(REQUEST, pairs=tuple(Pair("q", letter * 16_000_000) for letter in "ab"))
    parts.follow(large)
    parts.follow(large)
    assert await parts.outcomes(1) == ["dropped"]
    parts.far.may_answer.set()
    assert (await parts.outcomes(2))[-1] == "compared"


async def test_it_is_dropped_while_half_of_the_capacity_is_taken(parts: Parts) -> None:
    with parts.admission.admit(Work(48)):
        parts.follow()
        assert await parts.outcomes(1) == ["dropped"]
    with parts.admission.admit(Work(47)):
        parts.follow()
        assert await parts.outcomes(2) == ["dropped", "compared"]


async def test_a_server_that_shuts_down_begins_none(parts: Parts) -> None:
    parts.admission.close()
    parts.follow()
    assert await parts.outcomes(1) == ["dropped"]


async def test_the_end_drops_those_in_flight() -> None:
    parts = Parts()
    parts.far.may_answer.clear()
    async with parts.shadows.open():
        parts.follow()
        await until(lambda: bool(parts.far.asked))
    assert parts.observed == []
    assert asyncio.all_tasks() == {asyncio.current_task()}


@pytest.mark.parametrize(
    "error", [UpstreamFailed(f"It says: {SECRET}"), RuntimeError(SECRET)], ids=["of the model", "unexpected"]
)
async def test_a_failure_is_counted_and_logged_once_without_texts(
    parts: Parts, error: Exception, caplog: pytest.LogCaptureFixture
) -> None:
    parts.far.error = error
    with caplog.at_level(logging.INFO):
        parts.follow()
        parts.follow()
        assert await parts.outcomes(2) == ["failed", "failed"]
    assert caplog.messages == [f"far, the shadow of near, gave no ranking: {type(error).__name__}"]


async def test_one_that_is_not_in_memory_is_not_loaded(parts: Parts, caplog: pytest.LogCaptureFixture) -> None:
    parts.far.answer = None
    parts.follow()
    assert await parts.outcomes(1) == ["absent"]
    assert "is not loaded for a shadow" in caplog.text


@pytest.mark.parametrize("fault", ["degraded", "partial"])
async def test_half_an_answer_is_not_compared(parts: Parts, fault: str, caplog: pytest.LogCaptureFixture) -> None:
    parts.far.answer = replace(RESULT, **{fault: True})  # type: ignore[arg-type]
    parts.follow()
    assert await parts.outcomes(1) == ["failed"]
    assert "its answer is degraded or partial" in caplog.text


def resolve(*cards: ModelCard) -> Callable[[str], ModelCard]:
    def find(name: str) -> ModelCard:
        for card in cards:
            if name in (card.id, *card.aliases):
                return card
        raise ModelNotFound(f"The model `{name}` does not exist.")

    return find


class TestChecks:
    def test_another_model_may_be_a_shadow(self) -> None:
        cards = (CARD, ModelCard("far"), ModelCard("third", shadow=Shadow("near", 1)))
        check_shadows(cards, resolve(*cards))

    def test_an_unknown_model_is_refused(self) -> None:
        with pytest.raises(SettingsError, match=r"near: shadow.model = 'far': The model `far` does not exist"):
            check_shadows([CARD], resolve(CARD))

    @pytest.mark.parametrize("name", ["near", "next"])
    def test_the_card_itself_is_refused_under_any_name(self, name: str) -> None:
        card = ModelCard("near", aliases=("next",), shadow=Shadow(name, 0.5))
        with pytest.raises(SettingsError, match=r"near: shadow.model leads back to near: near -> near"):
            check_shadows([card], resolve(card))

    def test_shadows_in_a_circle_are_refused_with_their_path(self) -> None:
        cards = [ModelCard(one, shadow=Shadow(other, 0.5)) for one, other in ("ab", "bc", "ca")]
        with pytest.raises(SettingsError, match=r"a: shadow.model leads back to a: a -> b -> c -> a"):
            check_shadows(cards, resolve(*cards))

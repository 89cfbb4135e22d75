from __future__ import annotations

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.routes import CascadeStage, Ensemble, Fallback
from rerank.errors import ModelNotFound, SettingsError
from rerank.gateway.routing.plan import (
    Blend,
    Cascade,
    Chain,
    Single,
    check_routes,
    estimated_work,
    first_choice,
    kept,
    plan_of,
    with_fallbacks,
)

SMALL, BIG = ModelCard("small", max_length=10), ModelCard("big", max_length=100)
CARDS = [
    SMALL,
    BIG,
    ModelCard("always", route=Fallback(("big", "small"), 0.3)),
    ModelCard("quick", route=(CascadeStage("small", 2), CascadeStage("big"))),
    ModelCard("blend", route=Ensemble(("quick", "big"))),
    ModelCard("nested", route=Fallback(("blend", "small"))),
    ModelCard("twice", route=(CascadeStage("small", 2.0), CascadeStage("big"))),
    ModelCard("twice-or-small", route=Fallback(("twice", "small"))),
    ModelCard("twice-and-big", route=Ensemble(("twice", "big"))),
    ModelCard("twice-then-big", route=(CascadeStage("twice", 3), CascadeStage("big"))),
]
BY_NAME = {card.id: card for card in CARDS}


def resolve(name: str) -> ModelCard:
    try:
        return BY_NAME[name]
    except KeyError:
        raise ModelNotFound(f"The model `{name}` does not exist.") from None


def tokens(card: ModelCard) -> int:
    return 10 * (card.max_length or 0)


def test_a_model_of_its_own_is_its_plan() -> None:
    assert plan_of(BIG, resolve) == Single(BIG)


def test_a_member_of_a_plan_may_be_a_plan() -> None:
    plan = plan_of(BY_NAME["nested"], resolve)
    assert isinstance(plan, Chain)
    blend, small = plan.members
    assert isinstance(blend, Blend)
    assert isinstance(blend.members[0], Cascade)
    assert small == Single(SMALL)


def test_a_plan_has_the_details_of_its_route() -> None:
    always, blend = plan_of(BY_NAME["always"], resolve), plan_of(BY_NAME["blend"], resolve)
    assert isinstance(always, Chain)
    assert always.share == 0.3
    assert isinstance(blend, Blend)
    assert blend.ensemble == BY_NAME["blend"].route


@pytest.mark.parametrize(
    ("name", "asked"),
    [
        ("big", ["big"]),
        ("always", ["big"]),
        ("quick", ["small", "big"]),
        ("blend", ["small", "big", "big"]),
        ("nested", ["small", "big", "big"]),
    ],
)
def test_the_first_choice_is_what_is_asked_if_nothing_fails(name: str, asked: list[str]) -> None:
    assert [card.id for card in first_choice(plan_of(resolve(name), resolve))] == asked


def test_a_route_that_leads_back_to_itself_is_refused_with_its_path() -> None:
    cards = {
        "a": ModelCard("a", route=Fallback(("b",))),
        "b": ModelCard("b", route=Ensemble(("c", "c"))),
        "c": ModelCard("c", route=(CascadeStage("d", 1), CascadeStage("a"))),
        "d": ModelCard("d"),
    }
    with pytest.raises(SettingsError, match="the route of a leads back to a: a -> b -> c -> a"):
        check_routes(cards.values(), cards.__getitem__)


def test_an_unknown_member_is_refused_at_start() -> None:
    card = ModelCard("broken", route=Fallback(("big", "nothing")))
    with pytest.raises(SettingsError, match="the route of broken: The model `nothing` does not exist"):
        check_routes([card], resolve)


def test_the_same_model_may_stand_in_a_route_twice() -> None:
    check_routes(CARDS, resolve)


def test_fallbacks_of_a_request_come_after_its_model() -> None:
    plan = with_fallbacks(Single(BIG), (Single(SMALL),))
    assert isinstance(plan, Chain)
    assert plan == Chain(BIG, (Single(BIG), Single(SMALL)), Fallback(("small",)).share)
    assert with_fallbacks(Single(BIG), ()) == Single(BIG)


@pytest.mark.parametrize(
    ("keep", "top_n", "documents", "number"),
    [
        (30, 5, 100, 30),
        (30, 5, 10, 10),
        (None, 5, 10, 10),
        (3.0, 5, 100, 15),
        (1.5, 3, 100, 5),
        (3.0, 5, 10, 10),
        (3.0, 0, 100, 100),
        (0.1, 1, 100, 1),
    ],
)
def test_a_stage_keeps_a_number_or_a_multiple_of_top_n(
    keep: float | int | None, top_n: int, documents: int, number: int
) -> None:
    assert kept(CascadeStage("small", keep), top_n, documents) == number


@pytest.mark.parametrize(
    ("name", "work"),
    [("small", 100), ("big", 1000), ("always", 1000), ("quick", 300), ("blend", 1300), ("nested", 1300)],
)
def test_work_is_estimated_for_the_documents_that_each_stage_reads(name: str, work: int) -> None:
    assert estimated_work(plan_of(resolve(name), resolve), 10, 0, tokens) == pytest.approx(work)


@pytest.mark.parametrize(
    ("name", "work"), [("twice", 300), ("twice-or-small", 300), ("twice-and-big", 1300), ("twice-then-big", 600)]
)
def test_multiples_of_top_n_count_at_every_depth(name: str, work: int) -> None:
    assert estimated_work(plan_of(resolve(name), resolve), 10, 1, tokens) == pytest.approx(work)


def test_documents_beyond_max_candidates_are_no_work() -> None:
    assert estimated_work(Single(ModelCard("few", max_length=10, max_candidates=5)), 10, 0, tokens) == 50
    assert estimated_work(Single(BIG), 0, 0, tokens) == 0

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from rerank.registry.eviction import AfterLeaving, Fits, Never, Resident, make_room, overfull, taken

BUDGET = {"gpu": 100}


def resident(
    name: str, size: int, last_used: float = 0, *, busy: bool = False, pinned: bool = False, leaving: bool = False
) -> Resident:
    return Resident(name, {"gpu": size}, last_used, busy, pinned, leaving)


class TestRoom:
    def test_room_that_is_there_costs_nobody_anything(self) -> None:
        assert make_room({"gpu": 40}, BUDGET, [resident("a", 60)]) == Fits()

    def test_room_is_made_by_the_one_used_longest_ago(self) -> None:
        residents = [resident("new", 50, 3), resident("old", 50, 1)]
        assert make_room({"gpu": 50}, BUDGET, residents) == AfterLeaving(("old",))

    def test_room_is_made_by_as_many_as_it_takes_the_oldest_first(self) -> None:
        residents = [resident("c", 30, 3), resident("a", 30, 1), resident("b", 30, 2)]
        assert make_room({"gpu": 70}, BUDGET, residents) == AfterLeaving(("a", "b"))

    def test_room_is_not_made_by_one_whose_leaving_does_not_help(self) -> None:
        residents = [resident("small", 10, 1), resident("large", 90, 2)]
        assert make_room({"gpu": 85}, BUDGET, residents) == AfterLeaving(("large",))

    def test_room_is_not_made_by_any_of_several_whose_leaving_does_not_help(self) -> None:
        residents = [resident("a", 10, 1), resident("b", 10, 2), resident("large", 80, 3)]
        assert make_room({"gpu": 75}, BUDGET, residents) == AfterLeaving(("large",))

    def test_room_is_not_taken_on_a_device_that_a_model_does_not_use(self) -> None:
        assert taken([Resident("a", {"one": 60}, 1)], "two") == 0

    def test_room_is_made_by_idle_models_before_busy_ones(self) -> None:
        residents = [resident("busy", 50, 1, busy=True), resident("idle", 50, 9)]
        assert make_room({"gpu": 50}, BUDGET, residents) == AfterLeaving(("idle",))

    def test_room_is_made_by_busy_models_where_idle_ones_are_not_enough(self) -> None:
        residents = [resident("busy", 50, 9, busy=True), resident("idle", 50, 1)]
        assert make_room({"gpu": 80}, BUDGET, residents) == AfterLeaving(("idle", "busy"))

    def test_room_that_those_leaving_will_give_back_is_waited_for(self) -> None:
        residents = [resident("leaving", 50, leaving=True), resident("idle", 50)]
        assert make_room({"gpu": 50}, BUDGET, residents) == AfterLeaving(())

    def test_room_that_pinned_models_take_cannot_be_had(self) -> None:
        residents = [resident("pinned", 60, pinned=True), resident("idle", 40)]
        assert make_room({"gpu": 50}, BUDGET, residents) == Never("gpu", 50, 40, ("pinned",))

    def test_room_of_more_than_the_whole_budget_cannot_be_had(self) -> None:
        assert make_room({"gpu": 101}, BUDGET, []) == Never("gpu", 101, 100, ())

    def test_room_has_to_be_there_on_every_device(self) -> None:
        budget = {"one": 100, "two": 100}
        residents = [Resident("a", {"one": 60}, 1), Resident("b", {"two": 60}, 2)]
        assert make_room({"one": 50, "two": 50}, budget, residents) == AfterLeaving(("a", "b"))
        assert make_room({"one": 50}, budget, residents) == AfterLeaving(("a",))
        assert make_room({"two": 101}, budget, residents) == Never("two", 101, 100, ())

    def test_room_is_endless_where_there_is_no_budget(self) -> None:
        assert make_room({"gpu": 10**15}, {}, [resident("a", 10**15)]) == Fits()


class TestTooFull:
    def test_models_that_fit_are_not_too_full(self) -> None:
        assert overfull(BUDGET, [resident("a", 100)]) == ()

    def test_too_full_memory_lets_the_oldest_idle_model_go(self) -> None:
        residents = [resident("a", 60, 2), resident("b", 60, 1)]
        assert overfull(BUDGET, residents) == ("b",)

    def test_too_full_memory_never_asks_a_busy_or_a_pinned_model_to_go(self) -> None:
        residents = [resident("busy", 80, busy=True), resident("pinned", 80, pinned=True), resident("idle", 80)]
        assert overfull(BUDGET, residents) == ("idle",)


residents_of_all_kinds = st.lists(
    st.builds(
        Resident,
        id=st.uuids().map(str),
        size=st.fixed_dictionaries({"one": st.integers(0, 60), "two": st.integers(0, 60)}),
        last_used=st.floats(0, 10),
        busy=st.booleans(),
        pinned=st.booleans(),
        leaving=st.booleans(),
    ),
    max_size=6,
)
sizes = st.fixed_dictionaries({"one": st.integers(0, 120), "two": st.integers(0, 120)})


@given(needed=sizes, residents=residents_of_all_kinds)
def test_the_room_promised_is_there_and_nobody_goes_for_nothing(
    needed: dict[str, int], residents: list[Resident]
) -> None:
    budget = {"one": 100, "two": 100}

    def fits(among: list[Resident]) -> bool:
        return all(needed[device] + taken(among, device) <= limit for device, limit in budget.items())

    room = make_room(needed, budget, residents)
    staying = [one for one in residents if not one.leaving]
    if isinstance(room, Fits):
        assert fits(residents)
    elif isinstance(room, Never):
        assert not fits([one for one in staying if one.pinned])
    else:
        assert not fits(residents)
        victims = [one for one in staying if one.id in room.evict]
        rest = [one for one in staying if one.id not in room.evict]
        assert len(victims) == len(room.evict)
        assert not any(one.pinned for one in victims)
        assert fits(rest)
        assert not any(fits([*rest, victim]) for victim in victims)


@given(budget=sizes, residents=residents_of_all_kinds)
def test_too_full_ends_with_the_idle_models(budget: dict[str, int], residents: list[Resident]) -> None:
    going = overfull(budget, residents)
    rest = [one for one in residents if not one.leaving and one.id not in going]
    assert all(one.id not in going for one in residents if one.busy or one.pinned or one.leaving)
    full = any(taken(rest, device) > limit for device, limit in budget.items())
    assert not full or all(one.busy or one.pinned or not any(_relief(one, rest, budget)) for one in rest)


def _relief(one: Resident, rest: list[Resident], budget: dict[str, int]) -> list[bool]:
    """On which devices the model's leaving would help."""
    return [taken(rest, device) > limit and one.size[device] > 0 for device, limit in budget.items()]

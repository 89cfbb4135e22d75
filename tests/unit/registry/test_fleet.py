from __future__ import annotations

from dataclasses import replace

import pytest

from rerank.catalog.cards import ModelCard
from rerank.catalog.upstreams import Upstream
from rerank.errors import ModelTooLarge, ModelUnavailable, ServerStopping
from rerank.registry.events import (
    Decision,
    Dismiss,
    Done,
    Event,
    Failed,
    Find,
    Found,
    Grant,
    Load,
    Loaded,
    Pin,
    Refuse,
    Release,
    Reload,
    Shutdown,
    Tick,
    Unload,
    Unloaded,
    Want,
)
from rerank.registry.fleet import Fleet
from rerank.registry.lifecycle import State

A, B, C = (ModelCard(id=name) for name in "abc")
FAR = ModelCard(id="far", upstream=Upstream("tei", "http://far"))


class Desk:
    """Hands events to a fleet, a second apart."""

    def __init__(self, budget: int | None = 100, keep_alive: float = 0) -> None:
        self.fleet = Fleet({} if budget is None else {"gpu": budget}, keep_alive)
        self.now = 0.0

    def tell(self, *events: Event) -> list[Decision]:
        decisions: list[Decision] = []
        for event in events:
            self.now += 1
            decisions += self.fleet.handle(event, self.now)
        return decisions

    def load(self, card: ModelCard, size: int, *, ticket: int = 1000, release: bool = True) -> None:
        self.tell(Want(ticket, card), found(card, size), loaded(card, size))
        if release:
            self.tell(Release(ticket))
        assert self.fleet.row(card).state is State.READY

    def states(self, *cards: ModelCard) -> list[State]:
        return [self.fleet.row(card).state for card in cards]


def found(card: ModelCard, size: int) -> Found:
    return Found(card.id, {"gpu": size})


def loaded(card: ModelCard, size: int) -> Loaded:
    return Loaded(card.id, {"gpu": size})


@pytest.fixture
def desk() -> Desk:
    return Desk()


class TestLoads:
    def test_one_load_serves_everybody_who_waits(self, desk: Desk) -> None:
        assert desk.tell(Want(1, A), Want(2, A)) == [Find(A, 1)]
        assert desk.tell(found(A, 10)) == [Load("a")]
        assert desk.tell(Want(3, A)) == []
        assert desk.tell(loaded(A, 10)) == [Grant(1, "a"), Grant(2, "a"), Grant(3, "a")]
        assert desk.tell(Want(4, A)) == [Grant(4, "a")]

    def test_weights_are_looked_for_side_by_side_and_loaded_one_after_another(self, desk: Desk) -> None:
        assert desk.tell(Want(1, A), Want(2, B)) == [Find(A, 1), Find(B, 2)]
        assert desk.tell(found(B, 10), found(A, 10)) == [Load("b")]
        assert desk.tell(loaded(B, 10)) == [Grant(2, "b"), Load("a")]

    def test_a_load_under_way_keeps_nobody_from_a_ready_model(self, desk: Desk) -> None:
        desk.load(A, 10)
        desk.tell(Want(1, B), found(B, 10))
        assert desk.tell(Want(2, A)) == [Grant(2, "a")]

    @pytest.mark.parametrize("late", [False, True])
    def test_a_failed_load_is_forgotten_and_the_next_in_the_queue_begins(self, desk: Desk, late: bool) -> None:
        error = ModelUnavailable("no")
        desk.tell(Want(1, A), Want(2, B))
        if late:
            desk.tell(found(A, 10), found(B, 10))
            assert desk.tell(Failed("a", error)) == [Refuse(1, error), Load("b")]
        else:
            assert desk.tell(Failed("a", error)) == [Refuse(1, error)]
        assert desk.states(A) == [State.ABSENT]
        assert desk.tell(Release(1), Want(3, A)) == [Find(A, 3)]

    def test_a_caller_that_leaves_gets_no_answer_and_the_load_goes_on(self, desk: Desk) -> None:
        desk.tell(Want(1, A), Release(1))
        assert desk.tell(found(A, 10), loaded(A, 10)) == [Load("a")]
        assert desk.fleet.row(A).leases == 0

    def test_a_caller_that_leaves_just_as_it_is_granted_the_model_gives_it_back(self, desk: Desk) -> None:
        desk.load(A, 10)
        assert desk.tell(Want(1, A), Release(1)) == [Grant(1, "a")]
        assert desk.fleet.row(A).leases == 0


class TestModelsThatTakeNoMemory:
    def test_models_that_take_no_memory_are_loaded_while_another_load_runs(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 10), Want(2, B), Want(3, C))
        assert desk.tell(Found("b", {}), Found("c", {"gpu": 0})) == [Load("b"), Load("c")]
        assert desk.tell(Loaded("c", {}), Loaded("b", {})) == [Grant(3, "c"), Grant(2, "b")]

    def test_models_that_take_no_memory_are_loaded_while_another_model_waits_for_room(self, desk: Desk) -> None:
        desk.load(A, 60, ticket=1, release=False)
        desk.tell(Want(2, B), found(B, 60), Want(3, C))
        assert desk.tell(Found("c", {})) == [Load("c")]

    def test_models_that_take_no_memory_keep_no_other_load_waiting(self, desk: Desk) -> None:
        desk.tell(Want(1, A), Found("a", {}), Want(2, B))
        assert desk.tell(found(B, 10)) == [Load("b")]

    def test_models_that_take_no_memory_are_not_loaded_once_the_server_stops(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 10), Want(2, B), Shutdown())
        assert desk.tell(Found("b", {})) == []


class TestRoom:
    def test_room_is_made_before_the_load_begins(self, desk: Desk) -> None:
        desk.load(A, 60)
        desk.load(B, 40)
        assert desk.tell(Want(1, C), found(C, 50)) == [Find(C, 1), Unload("a")]
        assert desk.states(A, C) == [State.DRAINING, State.LOADING]
        assert desk.tell(Unloaded("a")) == [Load("c")]
        assert desk.states(A, B, C) == [State.ABSENT, State.READY, State.LOADING]

    def test_room_of_a_busy_model_is_waited_for(self, desk: Desk) -> None:
        desk.load(A, 60, ticket=1, release=False)
        assert desk.tell(Want(2, B), found(B, 60)) == [Find(B, 2)]
        assert desk.states(A) == [State.DRAINING]
        assert desk.tell(Release(1)) == [Unload("a")]
        assert desk.tell(Unloaded("a"), loaded(B, 60)) == [Load("b"), Grant(2, "b")]

    def test_two_models_that_do_not_fit_together_are_served_in_turn(self, desk: Desk) -> None:
        desk.load(A, 60, ticket=1, release=False)
        desk.tell(Want(2, B), found(B, 60))
        # newcomers for the one that drains do not keep the other one out
        assert desk.tell(Want(3, A)) == []
        assert desk.tell(Release(1)) == [Unload("a")]
        assert desk.tell(Unloaded("a")) == [Find(A, 3), Load("b")]
        assert desk.tell(found(A, 60), loaded(B, 60)) == [Grant(2, "b")]
        assert desk.states(B) == [State.DRAINING]
        assert desk.tell(Release(2), Unloaded("b"), loaded(A, 60)) == [Unload("b"), Load("a"), Grant(3, "a")]

    def test_room_that_can_never_be_had_is_refused_with_both_numbers(self, desk: Desk) -> None:
        _, refusal = desk.tell(Want(1, A), Found("a", {"gpu": 2_000_000_000}))
        assert isinstance(refusal, Refuse)
        assert isinstance(refusal.error, ModelTooLarge)
        assert refusal.error.message == (
            "a needs 2.0 GB on gpu; the budget for models there has 100 B (RERANK_MEMORY_BUDGET)."
        )
        assert desk.states(A) == [State.ABSENT]

    def test_room_that_pinned_models_take_is_refused_by_their_names(self, desk: Desk) -> None:
        desk.tell(Pin(9, "a", pinned=True))
        desk.load(A, 60)
        _, refusal = desk.tell(Want(1, B), found(B, 60))
        assert isinstance(refusal, Refuse)
        assert refusal.error.message == (
            "b needs 60 B on gpu; the budget for models there has 40 B next to the pinned a (RERANK_MEMORY_BUDGET)."
        )
        assert desk.states(A) == [State.READY]

    def test_a_model_that_can_never_fit_does_not_stop_the_queue(self, desk: Desk) -> None:
        desk.tell(Want(1, A), Want(2, B), Want(3, C), found(A, 10), found(B, 1000), found(C, 10))
        *others, last = desk.tell(loaded(A, 10))
        assert [type(other) for other in others] == [Grant, Refuse]
        assert last == Load("c")

    def test_models_that_can_never_fit_are_all_refused_at_once(self, desk: Desk) -> None:
        desk.tell(Want(1, A), Want(2, B), Want(3, C), found(A, 10), found(B, 101), found(C, 102))
        told = desk.tell(loaded(A, 10))
        assert [decision.ticket for decision in told if isinstance(decision, Refuse)] == [2, 3]

    def test_room_is_taken_back_when_a_model_turns_out_larger_than_thought(self, desk: Desk) -> None:
        desk.load(A, 40)
        desk.tell(Want(1, B), found(B, 50))
        assert desk.tell(loaded(B, 70)) == [Grant(1, "b"), Unload("a")]

    def test_room_follows_what_was_measured_the_last_time(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 10), loaded(A, 90), Release(1), Dismiss(2, "a"), Unloaded("a"))
        desk.load(B, 20)
        assert desk.tell(Want(3, A), found(A, 10)) == [Find(A, 3), Unload("b")]

    def test_room_beyond_the_budget_once_does_not_lock_a_model_out(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 90), loaded(A, 110), Release(1), Dismiss(2, "a"), Unloaded("a"))
        assert desk.tell(Want(3, A), found(A, 90)) == [Find(A, 3), Load("a")]

    def test_room_beyond_the_budget_of_a_device_it_was_not_expected_on_does_not_either(self) -> None:
        desk = Desk(budget=100)
        desk.tell(Want(1, A), Found("a", {"cpu": 10}), loaded(A, 110), Release(1), Dismiss(2, "a"), Unloaded("a"))
        assert desk.tell(Want(3, A), Found("a", {"cpu": 10})) == [Find(A, 3), Load("a")]

    def test_room_beyond_what_pinned_models_leave_does_not_lock_a_model_out_that_ran(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 50), loaded(A, 70), Release(1), Dismiss(2, "a"), Unloaded("a"))
        desk.tell(Pin(9, "b", pinned=True))
        desk.load(B, 40)
        assert desk.tell(Want(3, A), found(A, 50)) == [Find(A, 3), Load("a")]
        assert desk.tell(loaded(A, 50)) == [Grant(3, "a")]

    def test_room_is_made_by_the_model_used_longest_ago(self, desk: Desk) -> None:
        desk.load(A, 50)
        desk.load(B, 50)
        desk.tell(Want(1, A), Release(1))
        assert desk.tell(Want(2, C), found(C, 50)) == [Find(C, 2), Unload("b")]

    def test_room_is_made_by_an_idle_model_rather_than_a_busy_one_used_longer_ago(self, desk: Desk) -> None:
        desk.load(A, 50, ticket=1, release=False)
        desk.load(B, 50)
        assert desk.tell(Want(2, C), found(C, 50)) == [Find(C, 2), Unload("b")]

    def test_room_that_a_leaving_model_gives_back_is_taken_from_no_other(self, desk: Desk) -> None:
        desk.load(A, 50, ticket=1, release=False)
        desk.load(B, 50)
        desk.tell(Dismiss(2, "a"))
        assert desk.tell(Want(3, C), found(C, 50)) == [Find(C, 3)]
        assert desk.states(B) == [State.READY]

    def test_room_on_a_device_that_a_model_does_not_use_is_left_alone(self) -> None:
        desk = Desk()
        desk.fleet = Fleet({"one": 100, "two": 100})
        desk.tell(Want(1, A), Found("a", {"two": 100}), Loaded("a", {"two": 100}), Release(1), Want(2, B))
        assert desk.tell(Found("b", {"one": 10}), Loaded("b", {"one": 10})) == [Load("b"), Grant(2, "b")]


class TestDismissal:
    def test_dismissal_of_an_idle_model(self, desk: Desk) -> None:
        desk.load(A, 10)
        assert desk.tell(Dismiss(1, "a")) == [Unload("a")]
        assert desk.tell(Unloaded("a")) == [Done(1)]

    def test_dismissal_of_a_busy_model_waits_for_its_work(self, desk: Desk) -> None:
        desk.load(A, 10, ticket=1, release=False)
        assert desk.tell(Dismiss(2, "a"), Dismiss(3, "a")) == []
        assert desk.tell(Release(1), Unloaded("a")) == [Unload("a"), Done(2), Done(3)]

    def test_dismissal_of_a_model_that_is_wanted_again_loads_it_again(self, desk: Desk) -> None:
        desk.load(A, 10, ticket=1, release=False)
        desk.tell(Dismiss(2, "a"), Want(3, A), Release(1))
        assert desk.tell(Unloaded("a")) == [Done(2), Find(A, 3)]
        assert desk.fleet.row(A).since == desk.now

    def test_dismissal_of_an_absent_model_is_done(self, desk: Desk) -> None:
        assert desk.tell(Dismiss(1, "a")) == [Done(1)]

    def test_dismissal_of_a_pinned_model_is_obeyed(self, desk: Desk) -> None:
        desk.tell(Pin(9, "a", pinned=True))
        desk.load(A, 10)
        assert desk.tell(Dismiss(1, "a")) == [Unload("a")]


class TestKeepAlive:
    def test_keep_alive_lets_an_idle_model_go(self) -> None:
        desk = Desk(keep_alive=10)
        desk.load(A, 10)
        assert desk.fleet.next_tick() == desk.now + 10
        desk.now += 8
        assert desk.tell(Tick()) == []
        assert desk.tell(Tick()) == [Unload("a")]
        assert desk.fleet.next_tick() is None

    def test_keep_alive_does_not_run_while_work_does(self) -> None:
        desk = Desk(keep_alive=10)
        desk.load(A, 10, ticket=1, release=False)
        desk.now += 100
        assert desk.tell(Tick()) == []
        assert desk.fleet.next_tick() is None
        desk.tell(Release(1))
        assert desk.fleet.next_tick() == desk.now + 10

    def test_keep_alive_of_a_card_beats_the_servers(self) -> None:
        desk = Desk(keep_alive=10)
        desk.load(replace(A, keep_alive=0), 10)
        desk.load(replace(B, keep_alive=5), 10)
        assert desk.fleet.next_tick() == desk.now + 5

    def test_keep_alive_leaves_pinned_models_alone(self) -> None:
        desk = Desk(keep_alive=10)
        desk.load(replace(A, pinned=True), 10)
        assert desk.fleet.next_tick() is None
        assert desk.tell(Pin(1, "a", pinned=False)) == [Done(1)]
        assert desk.fleet.next_tick() == desk.now - 1 + 10

    def test_keep_alive_of_nothing_is_for_ever(self, desk: Desk) -> None:
        desk.fleet = Fleet()
        desk.load(A, 10)
        assert desk.fleet.next_tick() is None


class TestReload:
    def test_reload_lets_models_go_whose_card_is_gone_or_loads_something_else(self, desk: Desk) -> None:
        for card in (A, B, C):
            desk.load(card, 10)
        assert desk.tell(Reload((A, replace(B, revision="v2")))) == [Unload("b"), Unload("c")]

    def test_reload_has_a_model_follow_its_card_where_nothing_else_is_loaded(self, desk: Desk) -> None:
        desk.load(A, 10)
        assert desk.tell(Reload((replace(A, pinned=True, keep_alive=5, aliases=("x",)),))) == []
        assert desk.fleet.row(replace(A, pinned=True)).pinned
        desk.tell(Reload((replace(A, keep_alive=5),)))
        assert desk.fleet.next_tick() is not None

    def test_reload_forgets_what_a_model_took_that_loads_something_else(self, desk: Desk) -> None:
        desk.load(A, 10)
        desk.tell(Reload((replace(A, revision="v2"),)), Unloaded("a"))
        assert desk.fleet.row(A).size is None

    def test_reload_of_a_loading_model_serves_who_waits_and_lets_it_go(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 10), Reload((replace(A, revision="v2"),)))
        assert desk.tell(loaded(A, 10), Release(1)) == [Grant(1, "a"), Unload("a")]

    def test_reload_of_a_model_behind_another_server_waits_for_no_request_of_it(self, desk: Desk) -> None:
        desk.load(FAR, 0, ticket=1, release=False)
        newer = replace(FAR, upstream=Upstream("tei", "http://repaired"))
        assert desk.tell(Reload((newer,)), Want(2, newer)) == [Unload("far")]
        assert desk.tell(Unloaded("far"), found(newer, 0)) == [Find(newer, 2), Load("far")]
        assert desk.tell(loaded(newer, 0), Release(1)) == [Grant(2, "far")]
        assert desk.fleet.row(newer).leases == 1

    def test_reload_that_puts_a_model_behind_another_server_waits_for_its_requests_here(self, desk: Desk) -> None:
        desk.load(A, 10, ticket=1, release=False)
        assert desk.tell(Reload((replace(FAR, id="a"),))) == []
        assert desk.tell(Release(1)) == [Unload("a")]

    def test_reload_of_a_loading_model_loads_again_for_who_comes_after_it(self, desk: Desk) -> None:
        newer = replace(A, revision="v2")
        desk.tell(Want(1, A), found(A, 10), Reload((newer,)))
        assert desk.tell(Want(2, newer), loaded(A, 10), Release(1)) == [Grant(1, "a"), Unload("a")]
        assert desk.tell(Unloaded("a"), found(A, 10), loaded(A, 10)) == [Find(newer, 2), Load("a"), Grant(2, "a")]

    def test_reload_of_a_model_that_never_fits_finds_it_again_for_who_comes_after_it(self, desk: Desk) -> None:
        newer = replace(A, revision="v2")
        desk.tell(Want(1, A), Reload((newer,)), Want(2, newer))
        refused, *rest = desk.tell(found(A, 10**6))
        assert isinstance(refused, Refuse)
        assert refused.ticket == 1
        assert rest == [Find(newer, 2)]


class TestShutdown:
    def test_shutdown_refuses_who_waits_and_who_comes(self, desk: Desk) -> None:
        desk.load(A, 10, ticket=1, release=False)
        desk.tell(Want(2, B), Want(3, C), found(B, 10), Dismiss(4, "a"))
        told = desk.tell(Shutdown(), Want(5, A), Dismiss(6, "a"))
        assert [decision.ticket for decision in told if isinstance(decision, Refuse)] == [2, 3, 5]
        assert all(
            isinstance(decision.error, ServerStopping) and decision.error.message == "The server is shutting down."
            for decision in told
            if isinstance(decision, Refuse)
        )
        assert [decision for decision in told if isinstance(decision, Done)] == [Done(4), Done(6)]

    def test_shutdown_begins_no_further_load(self, desk: Desk) -> None:
        desk.tell(Want(1, A), Want(2, B), found(A, 10), found(B, 10), Shutdown())
        assert desk.tell(loaded(A, 10)) == []


def test_a_row_tells_where_a_model_is(desk: Desk) -> None:
    assert desk.fleet.row(A).state is State.ABSENT
    desk.tell(Want(1, A))
    row = desk.fleet.row(A)
    assert (row.state, row.since, row.waiting, row.measured, row.size) == (State.LOADING, 1.0, 1, False, None)
    desk.tell(found(A, 10))
    row = desk.fleet.row(A)
    assert (row.size, row.measured, row.loaded_once) == ({"gpu": 10}, False, False)
    desk.tell(loaded(A, 12))
    row = desk.fleet.row(A)
    assert (row.state, row.since, row.leases, row.size, row.measured) == (State.READY, None, 1, {"gpu": 12}, True)
    desk.tell(Release(1), Dismiss(2, "a"), Unloaded("a"))
    row = desk.fleet.row(A)
    assert (row.state, row.size, row.measured, row.loaded_once) == (State.ABSENT, {"gpu": 12}, True, True)


def test_a_row_of_an_absent_model_tells_that_it_is_pinned(desk: Desk) -> None:
    assert not desk.fleet.row(A).pinned
    desk.tell(Pin(9, "a", pinned=True))
    assert desk.fleet.row(A).pinned


def test_a_row_tells_when_a_model_was_last_used(desk: Desk) -> None:
    desk.tell(Want(1, A), Release(1), found(A, 10), loaded(A, 10))
    assert (desk.fleet.row(A).last_used, desk.fleet.row(A).loaded_once) == (desk.now, True)
    desk.tell(Want(2, A))
    assert desk.fleet.row(A).last_used == desk.now


def test_only_an_idle_model_that_is_not_pinned_may_go(desk: Desk) -> None:
    assert not desk.fleet.may_go(A)
    desk.tell(Want(1, A), found(A, 10))
    assert not desk.fleet.may_go(A)
    desk.tell(loaded(A, 10))
    assert not desk.fleet.may_go(A)
    desk.tell(Release(1))
    assert desk.fleet.may_go(A)
    desk.tell(Pin(2, "a", pinned=True))
    assert not desk.fleet.may_go(A)


def test_what_takes_no_memory_stays() -> None:
    desk = Desk(keep_alive=10)
    far = ModelCard(id="far", upstream=Upstream("cohere"))
    desk.load(far, 0)
    assert desk.fleet.next_tick() is None
    assert not desk.fleet.may_go(far)


class TestWhatIsShown:
    def test_free_is_what_those_in_memory_leave_of_each_budget(self, desk: Desk) -> None:
        assert desk.fleet.free_bytes() == {"gpu": 100}
        desk.load(A, 30)
        desk.load(B, 50)
        assert desk.fleet.free_bytes() == {"gpu": 20}

    def test_nothing_is_free_while_a_model_takes_more_than_the_budget(self, desk: Desk) -> None:
        desk.tell(Want(1, A), found(A, 90), loaded(A, 130))
        assert desk.fleet.free_bytes() == {"gpu": 0}

    def test_without_a_budget_nothing_is_said_of_what_is_free(self) -> None:
        assert Desk(budget=None).fleet.free_bytes() == {}

    def test_those_that_arrive_are_in_the_order_in_which_they_will_be_loaded(self, desk: Desk) -> None:
        desk.tell(Want(1, C))
        desk.tell(Want(2, A), found(A, 10), Want(3, B), found(B, 10))
        assert [model.card for model in desk.fleet.arriving()] == [A, B, C]
        desk.tell(loaded(A, 10))
        assert [model.card for model in desk.fleet.arriving()] == [B, C]

    def test_rows_are_those_in_memory_and_those_that_were_with_what_they_took(self, desk: Desk) -> None:
        assert desk.fleet.rows() == {}
        desk.load(A, 80)
        desk.tell(Want(1, B), found(B, 60), Unloaded(A.id), loaded(B, 60))
        rows = desk.fleet.rows()
        assert {name: row.state for name, row in rows.items()} == {"a": State.ABSENT, "b": State.READY}
        assert rows["a"].size == {"gpu": 80}
        assert (rows["a"].measured, rows["a"].loaded_once) == (True, True)

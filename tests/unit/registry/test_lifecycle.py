from __future__ import annotations

from dataclasses import replace

import pytest

from rerank.catalog.cards import ModelCard
from rerank.errors import ModelUnavailable
from rerank.registry.events import Done, Find, Grant, Load, Refuse, Unload
from rerank.registry.lifecycle import Model, Phase, State

CARD = ModelCard(id="maker/base")
SIZE = {"test": 10}
ERROR = ModelUnavailable("no")


@pytest.fixture
def model() -> Model:
    return Model(CARD, since=0.0)


@pytest.fixture
def ready(model: Model) -> Model:
    model.found(SIZE, SIZE)
    model.begin()
    model.loaded(SIZE, now=1.0)
    return model


class TestLoading:
    def test_loading_goes_from_the_disk_over_the_queue_into_memory(self, model: Model) -> None:
        steps = [model.phase, model.found(SIZE, SIZE), model.phase, model.begin(), model.phase, model.loaded(SIZE, 1.0)]
        assert steps == [Phase.FINDING, [], Phase.QUEUED, [Load(CARD.id)], Phase.LOADING, []]
        assert model.phase is Phase.READY

    def test_loading_takes_memory_only_once_it_begins(self, model: Model) -> None:
        model.found({"test": 7}, {"test": 7})
        assert (model.in_memory, model.size) == (False, {"test": 7})
        model.begin()
        assert model.in_memory
        model.loaded(SIZE, 1.0)
        assert (model.in_memory, model.size) == (True, SIZE)

    def test_loading_ends_the_wait_of_everybody_in_order(self, model: Model) -> None:
        assert [model.want(ticket, CARD, 0.0) for ticket in (3, 1, 2)] == [[], [], []]
        model.found(SIZE, SIZE)
        model.begin()
        assert model.loaded(SIZE, 1.0) == [Grant(3, CARD.id), Grant(1, CARD.id), Grant(2, CARD.id)]
        assert model.leases == {1, 2, 3}

    def test_loading_counts_as_its_last_use(self, model: Model) -> None:
        model.want(1, CARD, 0.0)
        model.loaded(SIZE, 1.0)
        assert model.last_used == 1.0

    def test_loading_goes_on_when_nobody_waits_any_more(self, model: Model) -> None:
        model.want(1, CARD, 0.0)
        assert model.release(1, 0.5) == []
        model.found(SIZE, SIZE)
        model.begin()
        assert model.loaded(SIZE, 1.0) == []
        assert (model.idle, model.last_used) == (True, 1.0)

    def test_loading_that_fails_refuses_everybody(self, model: Model) -> None:
        model.want(1, CARD, 0.0)
        model.want(2, CARD, 0.0)
        assert model.failed(ERROR, 0.5) == [Refuse(1, ERROR), Refuse(2, ERROR)]

    @pytest.mark.parametrize("phase", [Phase.FINDING, Phase.QUEUED, Phase.LOADING])
    def test_loading_is_one_state_for_people(self, phase: Phase) -> None:
        assert phase.state is State.LOADING


class TestWork:
    def test_work_begins_at_once_on_a_ready_model(self, ready: Model) -> None:
        assert ready.want(1, CARD, 2.0) == [Grant(1, CARD.id)]
        assert (ready.idle, ready.last_used) == (False, 2.0)

    def test_work_that_ends_leaves_an_idle_model(self, ready: Model) -> None:
        ready.want(1, CARD, 2.0)
        assert ready.release(1, 3.0) == []
        assert (ready.idle, ready.last_used) == (True, 3.0)

    def test_work_can_end_only_once(self, ready: Model) -> None:
        ready.want(1, CARD, 2.0)
        ready.release(1, 3.0)
        assert ready.release(1, 4.0) == []
        assert ready.last_used == 3.0


class TestLeaving:
    def test_leaving_is_immediate_for_an_idle_model(self, ready: Model) -> None:
        assert ready.leave() == [Unload(CARD.id)]
        assert (ready.phase, ready.phase.state) == (Phase.UNLOADING, State.DRAINING)

    def test_leaving_waits_for_the_last_work(self, ready: Model) -> None:
        ready.want(1, CARD, 2.0)
        ready.want(2, CARD, 2.0)
        assert ready.leave() == []
        assert (ready.phase, ready.in_memory, ready.leaving) == (Phase.DRAINING, True, True)
        assert ready.release(2, 3.0) == []
        assert ready.release(1, 3.0) == [Unload(CARD.id)]

    def test_leaving_happens_once_however_often_it_is_asked_for(self, ready: Model) -> None:
        ready.leave()
        assert ready.leave() == []
        assert ready.unloaded(2.0) == []

    def test_leaving_lets_no_new_work_in(self, ready: Model) -> None:
        ready.want(1, CARD, 2.0)
        ready.leave()
        assert ready.want(2, CARD, 2.5) == []
        assert ready.release(1, 3.0) == [Unload(CARD.id)]
        assert ready.unloaded(4.0) == [Find(CARD, 2)]
        assert (ready.phase, ready.since, ready.unwanted) == (Phase.FINDING, 4.0, False)

    def test_leaving_is_told_to_who_asked_for_it(self, ready: Model) -> None:
        ready.dismissals += [7, 8]
        ready.leave()
        assert ready.unloaded(2.0) == [Done(7), Done(8)]
        assert ready.dismissals == []

    def test_leaving_of_a_loading_model_comes_after_it_has_served_who_waits(self, model: Model) -> None:
        model.want(1, CARD, 0.0)
        model.found(SIZE, SIZE)
        model.begin()
        assert model.leave() == []
        assert model.want(2, CARD, 0.5) == []
        assert model.loaded(SIZE, 1.0) == [Grant(1, CARD.id), Grant(2, CARD.id)]
        assert model.phase is Phase.DRAINING
        model.release(1, 2.0)
        assert model.release(2, 2.0) == [Unload(CARD.id)]

    def test_a_failed_load_is_as_good_as_having_left(self, model: Model) -> None:
        model.dismissals.append(7)
        model.leave()
        assert model.failed(ERROR, 0.5) == [Done(7)]


class TestReplacement:
    NEWER = replace(CARD, revision="v2")

    @pytest.fixture(params=[Phase.FINDING, Phase.QUEUED, Phase.LOADING])
    def overtaken(self, request: pytest.FixtureRequest, model: Model) -> Model:
        """A model whose card was replaced during its load; ticket 1 waited before, ticket 2 came after."""
        model.want(1, CARD, 0.0)
        if request.param is not Phase.FINDING:
            model.found(SIZE, SIZE)
        if request.param is Phase.LOADING:
            model.begin()
        model.follow(self.NEWER)
        model.leave()
        model.want(2, self.NEWER, 0.5)
        return model

    def test_replacement_during_a_load_serves_who_waited_before_and_loads_again_for_the_others(
        self, overtaken: Model
    ) -> None:
        assert overtaken.loaded(SIZE, 1.0) == [Grant(1, CARD.id)]
        assert overtaken.release(1, 2.0) == [Unload(CARD.id)]
        assert overtaken.unloaded(3.0) == [Find(self.NEWER, 2)]
        assert not overtaken.replaced
        assert overtaken.loaded(SIZE, 4.0) == [Grant(2, CARD.id)]

    def test_replacement_during_a_load_that_fails_refuses_who_waited_before_alone(self, overtaken: Model) -> None:
        assert overtaken.failed(ERROR, 1.0) == [Refuse(1, ERROR), Find(self.NEWER, 2)]
        assert (overtaken.phase, overtaken.unwanted, overtaken.replaced) == (Phase.FINDING, False, False)

    def test_replacement_counts_for_a_caller_with_the_old_card(self, overtaken: Model) -> None:
        overtaken.want(3, CARD, 0.6)
        assert overtaken.loaded(SIZE, 1.0) == [Grant(1, CARD.id)]

    def test_replacement_may_be_replaced(self, overtaken: Model) -> None:
        newest = replace(CARD, revision="v3")
        overtaken.follow(newest)
        assert overtaken.failed(ERROR, 1.0) == [Refuse(1, ERROR), Find(newest, 2)]

    def test_replacement_that_is_taken_back_serves_all(self, overtaken: Model) -> None:
        overtaken.follow(CARD)
        assert overtaken.loaded(SIZE, 1.0) == [Grant(1, CARD.id), Grant(2, CARD.id)]

    def test_replacement_by_a_card_that_loads_the_same_serves_all(self, model: Model) -> None:
        model.want(1, CARD, 0.0)
        model.follow(replace(CARD, pinned=True))
        model.want(2, replace(CARD, pinned=True), 0.5)
        assert model.loaded(SIZE, 1.0) == [Grant(1, CARD.id), Grant(2, CARD.id)]


def test_who_waits_for_the_next_load_gets_the_new_card(ready: Model) -> None:
    newer = replace(CARD, revision="v2")
    ready.want(1, CARD, 2.0)
    ready.leave()
    ready.want(2, CARD, 2.0)
    ready.follow(newer)
    ready.release(1, 3.0)
    assert ready.unloaded(4.0) == [Find(newer, 2)]

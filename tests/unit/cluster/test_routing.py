from __future__ import annotations

from dataclasses import replace

from hypothesis import given, settings
from hypothesis import strategies as st

from rerank.cluster.routing import AHEAD, SLACK_SECONDS, Choice, Held, Replica, Wanted, choose

GB = 10**9
WANTED = Wanted("m", load_seconds=8.0, bytes=2 * GB)
MODELS = ("m", "n")


def warm(name: str, backlog: float = 0.0, free: int = 0, model: str = "m") -> Replica:
    return Replica(name, {model: Held(backlog, bytes=2 * GB)}, backlog, free, 10 * GB)


def cold(name: str, backlog: float = 0.0, free: int = 4 * GB) -> Replica:
    return Replica(name, {}, backlog, free, 10 * GB)


def loading(name: str, left: float) -> Replica:
    return Replica(name, {"m": Held(left, loading=True, bytes=2 * GB)}, left, 0, 10 * GB)


class TestWarmReplicas:
    def test_a_request_goes_to_the_replica_with_its_model_and_the_least_to_do(self) -> None:
        assert choose([warm("a", 3), warm("b", 1), cold("c")], WANTED).order == ("b", "a", "c")

    def test_a_replica_with_less_to_do_but_without_the_model_is_left_alone(self) -> None:
        assert choose([warm("a", 7.9), cold("b")], WANTED).order == ("a", "b")

    def test_models_share_the_device_so_that_the_whole_backlog_counts(self) -> None:
        busy = Replica("a", {"m": Held(0.1), "n": Held(6)}, 6.1)
        assert choose([busy, warm("b", 2)], WANTED).order[0] == "b"

    def test_a_load_of_another_model_delays_no_model_in_memory(self) -> None:
        loads = Replica("a", {"m": Held(), "n": Held(20, loading=True)}, 20)
        assert choose([loads, warm("b", 1)], WANTED).order[0] == "a"

    def test_a_replica_has_worked_since_its_report(self) -> None:
        old = replace(warm("a", 5), at=10)
        assert choose([old, replace(warm("b", 3), at=13.5)], WANTED, now=14).order[0] == "a"


class TestSpill:
    def test_what_loads_has_gone_on_since_the_report(self) -> None:
        waits = [replace(warm("b", 5.5), at=10), replace(loading("a", 5), at=10)]
        assert choose(waits, WANTED, now=12).order[0] == "a"
        # 18 seconds from now: two of the other load's twelve are over
        other = Replica("b", {"n": Held(12, loading=True)}, 12, 4 * GB, 10 * GB, at=10)
        assert choose([replace(warm("a", 22), at=10), other], WANTED, now=12).order[0] == "b"

    def test_a_backlog_longer_than_the_load_goes_to_a_second_replica_which_loads_the_model(self) -> None:
        assert choose([warm("a", 9), cold("b")], WANTED) == Choice(("b", "a"), "b")

    def test_a_backlog_shorter_than_the_load_stays_where_eviction_would_be_needed(self) -> None:
        assert choose([warm("a", 7.9), warm("b", model="n")], WANTED) == Choice(("a", "b"))

    def test_a_copy_is_loaded_ahead_where_there_is_room(self) -> None:
        patience = AHEAD * WANTED.load_seconds
        assert choose([warm("a", patience + 0.1), cold("b")], WANTED) == Choice(("a", "b"), "b")
        assert choose([warm("a", patience), cold("b")], WANTED).load is None

    def test_copies_double_at_most_while_they_load(self) -> None:
        assert choose([loading("a", 9), cold("b")], WANTED).load is None
        assert choose([warm("a", 30), loading("b", 40), cold("c")], WANTED).load is None
        assert choose([warm("a", 30), warm("b", 30), loading("c", 40), cold("d")], WANTED).load == "d"
        busy = [warm("a", 30), warm("b", 30), loading("c", 40), loading("d", 40), cold("e")]
        assert choose(busy, WANTED).load is None

    def test_one_copy_is_loaded_at_a_time_where_another_model_goes_for_it(self) -> None:
        busy, full = [warm("a", 30), warm("b", 30)], warm("d", model="n")
        assert choose([*busy, full], WANTED).load == "d"
        assert choose([*busy, loading("c", 40), full], WANTED).load is None

    def test_no_copy_is_loaded_where_pinned_models_leave_no_room(self) -> None:
        pinned = Replica("b", {"n": Held(bytes=10 * GB, pinned=True)}, 0, 0, 10 * GB)
        assert choose([warm("a", 30), pinned], WANTED).load is None

    def test_a_load_that_is_almost_done_is_waited_for(self) -> None:
        assert choose([warm("a", 6), loading("b", 1)], WANTED).order[0] == "b"

    def test_a_replica_as_busy_as_the_warm_one_only_begins_the_load(self) -> None:
        assert choose([warm("a", 9), cold("b", 12)], WANTED) == Choice(("a", "b"), "b")

    def test_a_model_is_never_loaded_where_it_cannot_fit(self) -> None:
        small = Replica("b", {}, 0, GB, GB)
        assert choose([warm("a", 99), small], WANTED) == Choice(("a", "b"))


class TestColdModels:
    def test_a_cold_model_goes_to_the_replica_with_most_free_bytes(self) -> None:
        replicas = [cold("a", free=3 * GB), cold("b", free=5 * GB), cold("c", free=GB)]
        assert choose(replicas, WANTED).load == choose(replicas, WANTED).order[0] == "b"

    def test_no_model_is_evicted_while_another_replica_has_room(self) -> None:
        idle = Replica("a", {"n": Held(bytes=9 * GB, idle_seconds=9_000)}, 0, GB, 10 * GB)
        assert choose([idle, cold("b", 5, free=2 * GB)], WANTED).order[0] == "b"

    def test_of_full_replicas_the_one_whose_victims_are_idle_longest_is_chosen(self) -> None:
        hot = Replica("a", {"n": Held(bytes=9 * GB, idle_seconds=1)}, 0, GB, 10 * GB)
        idle = Replica("b", {"n": Held(bytes=9 * GB, idle_seconds=900)}, 0, GB, 10 * GB)
        assert choose([hot, idle], WANTED).load == "b"

    def test_what_goes_for_a_model_is_counted_in_the_order_in_which_a_server_evicts(self) -> None:
        def full(name: str, **models: Held) -> Replica:
            return Replica(name, models, sum(held.backlog_seconds for held in models.values()), 0, 10 * GB)

        def idle(seconds: float, size: int = 2, backlog: float = 0.0) -> Held:
            return Held(backlog, bytes=size * GB, idle_seconds=seconds)

        # the one that is idle for longest, and busy ones last
        fresh = full("b", n=idle(50), o=idle(50))
        assert choose([full("a", n=idle(1), o=idle(100)), fresh], WANTED).load == "a"
        assert choose([full("a", n=idle(100, backlog=0.5), o=idle(10)), fresh], WANTED).load == "b"
        # all that go together: 5 / 2 against 2 / 2 + 2 / 1, and 4 / 1 against them
        two, large = full("b", n=idle(1), o=idle(0)), replace(WANTED, bytes=4 * GB)
        assert choose([full("a", n=idle(1, size=5)), two], large).load == "a"
        assert choose([full("a", n=idle(0, size=4)), two], large).load == "b"

    def test_pinned_and_loading_models_make_no_room(self) -> None:
        pinned = Replica("a", {"n": Held(bytes=9 * GB, idle_seconds=9_000, pinned=True)}, 0, GB, 10 * GB)
        loads = Replica("b", {"n": Held(3, loading=True, bytes=9 * GB)}, 3, GB, 10 * GB)
        hot = Replica("c", {"n": Held(bytes=9 * GB)}, 0, GB, 10 * GB)
        assert choose([pinned, loads, hot], WANTED).load == "c"

    def test_a_model_too_large_for_some_replicas_goes_to_one_it_fits(self) -> None:
        small = Replica("a", {}, 0, GB, GB)
        assert choose([small, warm("b", model="n")], WANTED).order == ("b", "a")

    def test_a_replica_without_budget_takes_any_model(self) -> None:
        assert choose([Replica("a", free_bytes=3 * GB)], WANTED).load == "a"


class TestOrder:
    def test_a_draining_replica_is_the_last_resort(self) -> None:
        draining = replace(warm("a"), draining=True)
        assert choose([draining, cold("b", 5)], WANTED) == Choice(("b", "a"), "b")
        assert choose([draining], WANTED) == Choice(("a",))

    def test_no_replicas_are_no_choice(self) -> None:
        assert choose([], WANTED) == Choice(())

    def test_equal_requests_meet_the_same_replica_and_others_spread(self) -> None:
        replicas = [warm(str(place), place * SLACK_SECONDS / 9) for place in range(9)]
        firsts = {text: choose(replicas, replace(WANTED, affinity=text)).order[0] for text in map(str, range(200))}
        assert set(firsts.values()) == set("012345678")
        fewer = [replica for replica in replicas if replica.name != "4"]
        for text, first in firsts.items():
            again = choose(fewer, replace(WANTED, affinity=text)).order[0]
            assert again == first or first == "4"

    def test_half_a_surrogate_pair_is_a_query(self) -> None:
        assert choose([warm("a"), warm("b")], replace(WANTED, affinity="\ud83d")).load is None

    def test_equal_requests_part_where_one_replica_is_clearly_behind(self) -> None:
        texts = [str(number) for number in range(50)]
        replicas = [warm("a", 0), warm("b", 2 * SLACK_SECONDS)]
        assert {choose(replicas, replace(WANTED, affinity=text)).order[0] for text in texts} == {"a"}


amounts = st.floats(0, 60)
helds = st.builds(Held, amounts, st.booleans(), st.integers(0, 6 * GB), amounts, st.booleans())


@st.composite
def clusters(draw: st.DrawFn) -> list[Replica]:
    return [
        Replica(
            f"r{place}",
            draw(st.dictionaries(st.sampled_from(MODELS), helds, max_size=2)),
            draw(amounts),
            draw(st.integers(0, 8 * GB)),
            draw(st.sampled_from([None, GB, 10 * GB])),
            draw(st.booleans()),
            draw(st.sampled_from([0.0, 0.7])),
        )
        for place in range(draw(st.integers(1, 5)))
    ]


wanteds = st.builds(Wanted, st.just("m"), amounts, st.integers(1, 6 * GB), st.sampled_from(["", "q"]))


def is_warm(replica: Replica) -> bool:
    return "m" in replica.models and not replica.models["m"].loading


def work(replica: Replica) -> float:
    """What is before a request for a model in memory."""
    loads = sum(held.backlog_seconds for held in replica.models.values() if held.loading)
    return max(0.0, replica.backlog_seconds - loads - (1 - replica.at))


class TestLaws:
    @settings(max_examples=30)
    @given(clusters(), wanteds)
    def test_the_order_has_every_replica_once_with_draining_ones_last(
        self, replicas: list[Replica], wanted: Wanted
    ) -> None:
        order = choose(replicas, wanted, now=1).order
        assert sorted(order) == sorted(replica.name for replica in replicas)
        draining = [next(each.draining for each in replicas if each.name == name) for name in order]
        assert draining == sorted(draining)

    @settings(max_examples=30)
    @given(clusters(), wanteds, st.randoms())
    def test_the_choice_does_not_depend_on_the_order_of_the_replicas(
        self, replicas: list[Replica], wanted: Wanted, shuffled: object
    ) -> None:
        before = choose(replicas, wanted, now=1)
        shuffled.shuffle(replicas)  # type: ignore[attr-defined]
        assert choose(replicas, wanted, now=1) == before

    @settings(max_examples=30)
    @given(clusters(), wanteds)
    def test_no_replica_without_the_model_is_asked_while_a_warm_one_is_below_the_threshold(
        self, replicas: list[Replica], wanted: Wanted
    ) -> None:
        replicas = [*replicas, warm("near", wanted.load_seconds)]
        near = [each for each in replicas if is_warm(each) and not each.draining and work(each) <= wanted.load_seconds]
        chosen = next(each for each in replicas if each.name == choose(replicas, wanted, now=1).order[0])
        assert "m" in chosen.models
        if not chosen.models["m"].loading:
            assert work(chosen) <= min(map(work, near)) + SLACK_SECONDS + 1e-9

    @settings(max_examples=30)
    @given(clusters(), wanteds)
    def test_a_model_is_loaded_on_one_replica_that_lacks_it_and_on_none_while_as_many_load_as_have_it(
        self, replicas: list[Replica], wanted: Wanted
    ) -> None:
        load = choose(replicas, wanted, now=1).load
        staying = [each for each in replicas if not each.draining]
        if load is not None:
            assert load in {each.name for each in staying if "m" not in each.models}
            loads = [each.models["m"].loading for each in staying if "m" in each.models]
            assert sum(loads) < max(1, loads.count(False))

    @settings(max_examples=30)
    @given(clusters(), wanteds)
    def test_a_model_that_no_replica_has_is_loaded_where_it_is_asked(
        self, replicas: list[Replica], wanted: Wanted
    ) -> None:
        lacking = [
            replace(each, models={name: held for name, held in each.models.items() if name != "m"}) for each in replicas
        ]
        choice = choose(lacking, wanted, now=1)
        assert choice.load == (None if all(each.draining for each in replicas) else choice.order[0])

    @settings(max_examples=30)
    @given(clusters(), wanteds)
    def test_a_replica_that_gets_less_to_do_stays_chosen(self, replicas: list[Replica], wanted: Wanted) -> None:
        replicas = [*replicas, warm("near", wanted.load_seconds)]
        first = choose(replicas, wanted, now=1).order[0]
        chosen = next(each for each in replicas if each.name == first)
        eased = [
            replace(each, backlog_seconds=each.backlog_seconds / 2) if each is chosen else each for each in replicas
        ]
        assert choose(eased, wanted, now=1).order[0] == first

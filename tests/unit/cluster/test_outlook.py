from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.cluster.outlook import Outlook
from rerank.cluster.routing import Held, Replica, Wanted, choose

GB = 10**9
M = Wanted("m", load_seconds=8.0, bytes=2 * GB)


def replica(name: str, backlog: float = 0.0, at: float = 0.0) -> Replica:
    return Replica(name, {"m": Held(backlog, bytes=2 * GB)}, backlog, 6 * GB, 10 * GB, at=at)


def only(outlook: Outlook) -> Replica:
    (found,) = outlook.replicas()
    return found


def test_requests_since_the_report_count() -> None:
    outlook = Outlook()
    outlook.report(replica("a", 2.0))

    outlook.sent("a", M, 3.0, now=0.5)

    assert only(outlook).backlog_seconds == pytest.approx(2.0 - 0.5 + 3.0)
    assert only(outlook).models["m"].idle_seconds == 0
    assert only(outlook).at == 0.5


def test_a_device_that_was_idle_saved_up_nothing() -> None:
    outlook = Outlook()
    outlook.report(replica("a", 1.0))

    outlook.sent("a", M, 3.0, now=9.0)

    assert only(outlook).backlog_seconds == 3.0


def test_a_report_replaces_what_was_sent_before_it_was_asked_for() -> None:
    outlook = Outlook()
    outlook.report(replica("a"))
    outlook.sent("a", M, 3.0, now=0.4)
    outlook.sent("a", M, 5.0, now=0.6)

    outlook.report(replica("a", 2.9, at=0.5))

    assert only(outlook).backlog_seconds == pytest.approx(2.9 - 0.1 + 5.0)


def test_a_cold_replica_that_was_sent_a_request_counts_as_loading_with_the_bytes_taken() -> None:
    outlook = Outlook()
    outlook.report(Replica("a", {}, 0.0, 6 * GB, 10 * GB))

    outlook.sent("a", M, 1.0, now=0.1)
    outlook.sent("a", M, 1.0, now=0.1)

    assert only(outlook).models == {"m": Held(10.0, loading=True, bytes=2 * GB)}
    assert only(outlook).free_bytes == 4 * GB
    assert only(outlook).backlog_seconds == 10.0


def test_loads_go_on_one_after_another_next_to_the_scoring() -> None:
    outlook = Outlook()
    models = {"x": Held(2.0, loading=True), "y": Held(5.0, loading=True), "m": Held(4.0)}
    outlook.report(Replica("a", models, 11.0))

    outlook.sent("a", M, 1.0, now=3.0)

    after = only(outlook)
    assert (after.models["x"].backlog_seconds, after.models["y"].backlog_seconds) == (0.0, 4.0)
    assert after.backlog_seconds == pytest.approx(4.0 + (4.0 - 3.0) + 1.0)


def test_a_burst_within_a_second_spreads_instead_of_meeting_one_replica() -> None:
    outlook = Outlook()
    for name in "abcd":
        outlook.report(replica(name))
    sent = []
    for number in range(40):
        sent.append(choose(outlook.replicas(), Wanted("m", 8.0, 2 * GB, str(number)), now=0.1).order[0])
        outlook.sent(sent[-1], M, 0.2, now=0.1)

    assert {name: sent.count(name) for name in "abcd"} == dict.fromkeys("abcd", 10)


def test_a_burst_for_a_cold_model_loads_it_once() -> None:
    outlook = Outlook()
    for name in "abcd":
        outlook.report(Replica(name, {}, 0.0, 6 * GB, 10 * GB))
    loads = []
    for _ in range(40):
        choice = choose(outlook.replicas(), M, now=0.1)
        loads.append(choice.load)
        outlook.sent(choice.order[0], M, 0.2, now=0.1)

    assert loads == ["a", *[None] * 39]


def test_a_replica_that_is_gone_or_never_reported_is_unknown() -> None:
    outlook = Outlook()
    outlook.report(replica("a"))
    outlook.forget("a")
    outlook.forget("b")
    outlook.sent("a", M, 1.0, now=0.0)

    assert outlook.replicas() == ()


@given(st.lists(st.tuples(st.floats(0, 5), st.floats(0, 9), st.sampled_from(["m", "n"])), max_size=20))
def test_the_expected_backlog_is_never_negative_and_never_more_than_all_that_was_sent(
    sends: list[tuple[float, float, str]],
) -> None:
    outlook = Outlook()
    outlook.report(replica("a", 1.0))
    now = 0.0
    for gap, seconds, model in sends:
        now += gap
        outlook.sent("a", Wanted(model, 8.0, GB), seconds, now)

    found = only(outlook)
    assert 0 <= found.backlog_seconds <= 1 + sum(seconds for _, seconds, _ in sends) + 8 + 1e-6
    assert all(held.backlog_seconds >= 0 for held in found.models.values())

"""The simulated cluster, at toy size: the same seed gives the same figures on every machine."""

from __future__ import annotations

import pytest

from benchmarks.cluster_simulation import BOUND, Outcome, Run
from benchmarks.cluster_traffic import MEASURED, Arrival, Traffic, arrivals
from rerank.catalog.built_in import BUILT_IN

TRAFFIC = Traffic(replicas=4, models=20, utilisation=0.7, documents=300)
MEMORY = 30_000_000_000


@pytest.fixture(scope="module")
def requests() -> list[Arrival]:
    return arrivals(TRAFFIC, requests=500, seed=1)


@pytest.fixture(scope="module")
def runs(requests: list[Arrival]) -> dict[str, tuple[Run, Outcome]]:
    found = {}
    for policy in (BOUND, "ours", "round robin"):
        run = Run(requests, TRAFFIC, MEMORY)
        found[policy] = (run, run.outcome(policy))
    return found


def test_the_same_seed_makes_the_same_requests(requests: list[Arrival]) -> None:
    assert arrivals(TRAFFIC, requests=500, seed=1) == requests
    assert arrivals(TRAFFIC, requests=500, seed=2) != requests


def test_requests_take_the_share_of_the_devices_that_was_asked_for(requests: list[Arrival]) -> None:
    work = sum(request.seconds for request in requests) / (requests[-1].at * TRAFFIC.replicas)
    assert work == pytest.approx(TRAFFIC.utilisation, abs=0.07)


def test_every_request_is_answered_once_and_never_before_its_work_is_done(
    requests: list[Arrival], runs: dict[str, tuple[Run, Outcome]]
) -> None:
    for policy, (run, outcome) in runs.items():
        answered = sorted(id(request) for request, _ in run.answers)
        assert answered == sorted(map(id, requests)), policy
        assert all(at >= request.at + request.seconds - 1e-3 for request, at in run.answers), policy
        assert outcome.keeps_up, policy


def test_the_rule_is_near_the_bound_and_loads_a_tenth_of_what_round_robin_does(
    runs: dict[str, tuple[Run, Outcome]],
) -> None:
    bound, ours, turns = (runs[policy][1] for policy in (BOUND, "ours", "round robin"))
    assert bound.p99 <= ours.p99 <= 1.15 * bound.p99 < turns.p99
    assert ours.loads_per_hour < turns.loads_per_hour / 10
    assert ours.warm > turns.warm


def test_a_cluster_that_gets_more_than_it_can_score_is_not_said_to_keep_up() -> None:
    traffic = Traffic(replicas=1, models=5, utilisation=4.0, documents=300)
    run = Run(arrivals(traffic, requests=500, seed=1), traffic, MEMORY)
    assert not run.outcome("ours").keeps_up


def test_measured_rates_are_of_built_in_models() -> None:
    assert set(MEASURED) <= {card.id for card in BUILT_IN}

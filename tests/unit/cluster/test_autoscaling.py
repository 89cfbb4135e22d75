"""The number of replicas, by their backlogs."""

from __future__ import annotations

from types import SimpleNamespace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.cluster.autoscaling import METRIC, BacklogPolicy, replicas_for

BACKLOGS = st.lists(st.floats(0, 1e6), min_size=1, max_size=20)
TARGETS = st.floats(0.01, 1e4)


@pytest.mark.parametrize(
    ("backlogs", "running", "wanted"),
    [
        ([], 0, 1),
        ([], 3, 3),
        ([0.0], 1, 1),
        ([4.0, 6.0], 2, 2),
        ([5.0, 6.0], 2, 3),
        ([50.0], 1, 10),
        ([2.0, 2.0, 2.0], 3, 3),
        ([1.0, 1.0, 1.0], 3, 2),
        ([0.0, 0.0, 0.0], 3, 1),
        ([0.0], 0, 1),
        ([0.9] * 5, 5, 2),
    ],
)
def test_replicas_follow_the_backlog(backlogs: list[float], running: int, wanted: int) -> None:
    assert replicas_for(backlogs, 5.0, running) == wanted


@given(BACKLOGS, TARGETS)
def test_a_number_that_was_chosen_is_kept_at_the_same_backlog(backlogs: list[float], target: float) -> None:
    chosen = replicas_for(backlogs, target, len(backlogs))
    assert chosen >= 1
    assert replicas_for(backlogs, target, chosen) == chosen


def test_reads_what_ray_hands_over() -> None:
    context = SimpleNamespace(aggregated_metrics={METRIC: {"a": 8.0, "b": 4.0}}, current_num_replicas=2)
    assert BacklogPolicy(target=2)(context) == (6, {})
    context.aggregated_metrics = None
    assert BacklogPolicy(target=2)(context) == (2, {})

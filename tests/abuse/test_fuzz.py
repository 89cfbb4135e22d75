"""The short form of `make fuzz`, and what it counts as a failure."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import pytest
from hypothesis import strategies as st

from benchmarks.resources import Usage
from benchmarks.soak_record import Look
from tests.abuse.fuzz.__main__ import fuzz_both, tracebacks
from tests.abuse.fuzz.campaign import KINDS, Plan, Tally, growth
from tests.abuse.fuzz.judge import Objection, fuzz, judge
from tests.abuse.fuzz.strategies import EMBEDDER
from tests.abuse.fuzz.target import make_models
from tests.conftest import FUZZED, RecordProperty
from tests.support.kept import convert


@pytest.fixture(scope="module")
def ready(converted: None, tmp_path_factory: pytest.TempPathFactory) -> None:
    """Servers find their models converted."""
    models = tmp_path_factory.mktemp("ready") / "models"
    make_models(models)
    convert(models, EMBEDDER)


@pytest.mark.usefixtures("ready")
def test_no_made_up_request_harms_the_server(tmp_path: Path, record_property: RecordProperty) -> None:
    tallies = fuzz_both(tmp_path, Plan(cases=80, seconds=200, seed=11))

    record_property(FUZZED, sum(tally.cases.total() for tally in tallies.values()))
    assert [failure for tally in tallies.values() for failure in tally.failures] == []
    for tally in tallies.values():
        assert set(tally.cases) == set(KINDS)
        # what is made up reaches the models, and is refused
        together: Counter[int] = sum(tally.statuses.values(), Counter())
        assert {200, 400, 404} <= set(together)
        # so does much of what asks for vectors
        assert tally.statuses["embeddings"][200] > tally.cases["embeddings"] / 10


@pytest.mark.parametrize("status", [200, 400, 422, 429, 499, 503, 504])
def test_answers_that_may_be(status: int) -> None:
    judge(status, b'{"error": "too much"}', "sent")


@pytest.mark.parametrize(("status", "content"), [(500, b""), (502, b""), (424, b""), (200, b"x (request id 1)")])
def test_answers_that_are_failures_show_what_was_sent(status: int, content: bytes) -> None:
    with pytest.raises(Objection, match="the request"):
        judge(status, content, "the request")


def test_the_simplest_case_that_fails_is_shown_and_the_same_seed_makes_up_the_same() -> None:
    seen: list[list[int]] = []

    def check(number: int) -> None:
        seen[-1].append(number)
        if number > 1000:
            raise Objection(f"{number} is too large")

    for _ in range(2):
        seen.append([])
        with pytest.raises(Objection, match="1001 is too large"):
            fuzz(st.integers(0, 10**9), check, 7, 100)
    assert seen[0] == seen[1]


def test_tracebacks_in_the_log_are_failures_each_error_once() -> None:
    one = ["INFO something else\n", "ERROR unexpected error\n", "Traceback (most recent call last):\n"]
    one += ["  File a\n"] * 30 + ["ValueError: x\n"]

    (found,) = tracebacks(one * 3)

    assert found.startswith("the log holds a traceback: ERROR unexpected error\n")
    assert found.endswith("ValueError: x\n")
    assert len(found.splitlines()) < 12


def test_growth_is_a_failure() -> None:
    grown, steady = (
        Tally(looks=[Look(second, Usage(500 + second * rate, 30, 20)) for second in range(60)]) for rate in (4, 0)
    )

    assert [line.split(" grew ")[0] for line in growth(grown)] == ["memory, MB"]
    assert growth(steady) == []

from __future__ import annotations

import pytest

from rerank.gateway.rarely import Rarely
from rerank.gateway.truncation import Truncations
from rerank.results import DocumentScore
from rerank.telemetry.events import DocumentsTruncated, Event
from tests.support.clock import Clock

READ = DocumentScore(0.5, 0.0)
CUT = DocumentScore(0.5, 0.0, truncated=True)


@pytest.fixture
def observed() -> list[Event]:
    return []


@pytest.fixture
def clock() -> Clock:
    return Clock(1000.0)


@pytest.fixture
def truncations(observed: list[Event], clock: Clock) -> Truncations:
    return Truncations(observed.append, Rarely(clock))


def test_documents_of_which_it_is_not_known_are_not_counted(truncations: Truncations, observed: list[Event]) -> None:
    truncations.note("m", 512, [CUT._replace(truncated=None)])
    assert observed == []


def test_truncated_documents_are_counted_per_model(truncations: Truncations, observed: list[Event]) -> None:
    truncations.note("a", 512, [CUT, READ, CUT])
    truncations.note("b", 512, [READ])
    truncations.note("b", 512, [CUT])
    assert observed == [DocumentsTruncated("a", 2), DocumentsTruncated("b", 1)]


def test_each_model_is_warned_of_once_per_hour(
    truncations: Truncations, clock: Clock, caplog: pytest.LogCaptureFixture
) -> None:
    for seconds in (0, 1, 3599, 3600):
        clock.now = 1000.0 + seconds
        truncations.note("a", 512, [CUT, READ])
    truncations.note("b", 64, [CUT])
    warned = [record.getMessage() for record in caplog.records]
    assert [message.split()[0] for message in warned] == ["a", "a", "b"]
    assert "1 of 2 documents" in warned[0]
    assert "512 tokens" in warned[0]


def test_nothing_is_said_of_documents_that_are_read_whole(
    truncations: Truncations, observed: list[Event], caplog: pytest.LogCaptureFixture
) -> None:
    truncations.note("a", 512, [READ, READ])
    assert not observed
    assert not caplog.records

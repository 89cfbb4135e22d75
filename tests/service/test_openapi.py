"""Whatever the documentation allows is answered as the documentation says: nothing undocumented, never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest

from rerank.api.dialects.main import MainDialect
from tests.abuse.fuzz.documented import CHECKS, operations
from tests.conftest import FUZZED, RecordProperty
from tests.support.app import AppUnderTest, LiveServer


@pytest.fixture(scope="module", params=MainDialect)
def url(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    with (
        AppUnderTest(tmp_path_factory.mktemp("models"), main_dialect=request.param) as app,
        LiveServer(app.asgi) as live,
    ):
        yield f"http://127.0.0.1:{live.port}"


def test_every_operation_answers_as_documented(url: str, record_property: RecordProperty) -> None:
    cases = 0
    documented = operations(url)
    assert len(documented) > 35
    for operation in documented:

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=10,
            derandomize=True,
            database=None,
            deadline=None,
            suppress_health_check=list(hypothesis.HealthCheck),
        )
        def answers(case: Any) -> None:
            nonlocal cases
            cases += 1
            case.call_and_validate(base_url=url, checks=CHECKS)

        answers()
    record_property(FUZZED, cases)

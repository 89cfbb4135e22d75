"""Whatever the documentation allows is answered as the documentation says: nothing undocumented, never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import hypothesis
import pytest
import schemathesis
from schemathesis.checks import not_a_server_error
from schemathesis.core.result import Ok
from schemathesis.specs.openapi.checks import (
    content_type_conformance,
    response_schema_conformance,
    status_code_conformance,
)

from rerank.api.dialects.table import MainDialect
from tests.conftest import FUZZED, RecordProperty

from .house import House, LiveServer

CHECKS = [not_a_server_error, status_code_conformance, content_type_conformance, response_schema_conformance]


@pytest.fixture(scope="module", params=MainDialect)
def url(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[str]:
    with House(tmp_path_factory.mktemp("models"), main_dialect=request.param) as house, LiveServer(house.app) as live:
        yield f"http://127.0.0.1:{live.port}"


def test_every_operation_answers_as_documented(url: str, record_property: RecordProperty) -> None:
    cases = 0
    schema = schemathesis.openapi.from_url(f"{url}/openapi.json")
    operations = list(schema.get_all_operations())
    assert len(operations) > 35
    for found in operations:
        assert isinstance(found, Ok)
        operation = found.ok()

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=15,
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

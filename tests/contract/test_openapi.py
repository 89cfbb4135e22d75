"""Whatever the documentation allows is answered as the documentation says: nothing undocumented, never a 5xx."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, NamedTuple

import hypothesis
import pytest
import requests

from rerank.api.dialects.main import MainDialect
from tests.abuse.fuzz.documented import CHECKS, operations
from tests.conftest import FUZZED, RecordProperty
from tests.support.app import AppUnderTest, LiveServer


class Server(NamedTuple):
    """Where it listens, and the main dialect it speaks."""

    url: str
    main: MainDialect


@pytest.fixture(scope="module", params=MainDialect)
def server(tmp_path_factory: pytest.TempPathFactory, request: pytest.FixtureRequest) -> Iterator[Server]:
    with (
        AppUnderTest(tmp_path_factory.mktemp("models"), main_dialect=request.param) as app,
        LiveServer(app.asgi) as live,
    ):
        yield Server(f"http://127.0.0.1:{live.port}", request.param)


@pytest.fixture(scope="module")
def usual(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The documentation of a server that speaks the usual dialect, by path."""
    with AppUnderTest(tmp_path_factory.mktemp("usual")) as app:
        paths: dict[str, Any] = app.asgi.openapi()["paths"]
    return paths


def test_every_operation_answers_as_documented(
    server: Server, usual: dict[str, Any], record_property: RecordProperty
) -> None:
    url, cases = server.url, 0
    documented = operations(url)
    assert len(documented) > 35
    if server.main is not MainDialect.VLLM:
        # what another main dialect leaves alone is asked once
        paths = requests.get(f"{url}/openapi.json", timeout=60).json()["paths"]
        documented = [one for one in documented if paths[one.path] != usual.get(one.path)]
        assert documented
    for operation in documented:

        @hypothesis.given(case=operation.as_strategy())
        @hypothesis.settings(
            max_examples=3,
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

from __future__ import annotations

from typing import Any

import pytest

from rerank.api.paths import path_of, settle_path


@pytest.mark.parametrize(
    ("root", "path", "found"),
    [
        ("", "/v1/rerank", "/v1/rerank"),
        ("", "//v1///rerank//", "/v1/rerank"),
        ("", "", "/"),
        ("", "//", "/"),
        ("/llm", "/llm/v1/rerank", "/v1/rerank"),
        ("/llm/", "/llm//v1/rerank", "/v1/rerank"),
        ("/llm", "/llm", "/"),
        ("/llm", "/llmx/v1", "/llmx/v1"),
        ("/llm", "/v1/rerank", "/v1/rerank"),
        ("/llm", "/v1/llm/rerank", "/v1/llm/rerank"),
        ("/health", "/health/v1/rerank", "/v1/rerank"),
    ],
)
def test_a_path_has_one_spelling(root: str, path: str, found: str) -> None:
    assert path_of({"root_path": root, "path": path}) == found


@pytest.mark.parametrize(
    ("given", "settled"),
    [
        ({"path": "//v1//rerank/"}, ("", "/v1/rerank")),
        ({"root_path": "/llm", "path": "/llm//health"}, ("/llm", "/llm/health")),
        ({"root_path": "/llm//", "path": "/v1/models/"}, ("/llm", "/llm/v1/models")),
    ],
)
def test_a_request_is_routed_by_its_normalised_path_behind_the_prefix(
    given: dict[str, Any], settled: tuple[str, str]
) -> None:
    scope = {**given}
    settle_path(scope)
    assert (scope["root_path"], scope["path"]) == settled
    assert path_of(scope) == path_of(given)

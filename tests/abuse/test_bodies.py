"""Bodies made to cost more than they weigh: of every dialect, in time and in memory."""

from __future__ import annotations

import json
import logging
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
from fastapi.routing import APIRoute, iter_route_contexts

from rerank.api.bodies import JsonRoute
from rerank.api.dialects.main import MainDialect
from tests.process.server import ServerProcess
from tests.support.app import AppUnderTest

from .support import MEGABYTE, SECONDS, measured

MAX_DOCUMENTS = 50
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
Body = Callable[[list[Any]], dict[str, Any]]


def flat(name: str) -> Body:
    return lambda items: {"query": "q", name: items}


LISTS: dict[str, tuple[MainDialect, str, Body]] = {
    "vllm": (MainDialect.VLLM, "/v1/rerank", flat("documents")),
    "vllm docs": (MainDialect.VLLM, "/v1/rerank", flat("docs")),
    "llama.cpp": (MainDialect.VLLM, "/v1/reranking", flat("documents")),
    "tei, by its body": (MainDialect.VLLM, "/rerank", flat("texts")),
    "nvidia, by its body": (MainDialect.VLLM, "/rerank", flat("passages")),
    "weaviate": (MainDialect.VLLM, "/rerank", lambda items: {"query": "q", "documents": items, "property": ""}),
    "nested": (MainDialect.VLLM, "/v1/rerank", lambda items: {"input": {"query": "q", "documents": items}}),
    "score, first": (MainDialect.VLLM, "/score", lambda items: {"text_1": items, "text_2": ["a"]}),
    "score, second": (MainDialect.VLLM, "/v1/score", lambda items: {"queries": "a", "items": items}),
    "tei": (MainDialect.VLLM, "/tei/rerank", flat("texts")),
    "dashscope": (MainDialect.VLLM, NATIVE, lambda items: {"input": {"query": "q", "documents": items}}),
    "dashscope, flat": (MainDialect.VLLM, "/v1/reranks", flat("documents")),
    "infinity": (MainDialect.VLLM, "/infinity/rerank", flat("documents")),
    "voyage": (MainDialect.VLLM, "/voyage/v1/rerank", flat("documents")),
    "ollama": (MainDialect.VLLM, "/api/rerank", flat("documents")),
    "reranker api": (MainDialect.VLLM, "/api/v1/rerank", flat("documents")),
    "nvidia": (MainDialect.VLLM, "/v1/ranking", flat("passages")),
    "strict": (MainDialect.STRICT_VLLM, "/v1/rerank", flat("documents")),
    "strict score, first": (MainDialect.STRICT_VLLM, "/score", lambda items: {"text_1": items, "text_2": ["a"]}),
    "strict score, second": (MainDialect.STRICT_VLLM, "/score", lambda items: {"text_1": "a", "text_2": items}),
    "sglang": (MainDialect.SGLANG, "/v1/rerank", flat("documents")),
}


@pytest.fixture(scope="module")
def apps(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[MainDialect, AppUnderTest]]:
    opened = {
        main: AppUnderTest(tmp_path_factory.mktemp("models"), main_dialect=main, max_documents=MAX_DOCUMENTS)
        for main in MainDialect
    }
    for app in opened.values():
        app.__enter__()
    yield opened
    for app in opened.values():
        app.__exit__()


@pytest.mark.parametrize("case", LISTS)
def test_only_the_first_wrong_item_is_named(apps: dict[MainDialect, AppUnderTest], case: str) -> None:
    main, path, body = LISTS[case]
    response = apps[main].post(path, body(["a", "b", *[7] * 40]))
    assert response.status_code in (400, 422)
    assert "1 validation error: " in response.text
    assert ".2: Input should be a" in response.text
    assert ".3: " not in response.text


@pytest.mark.parametrize("item", [7, "text", {"text": "text"}], ids=["wrong", "text", "object"])
@pytest.mark.parametrize("case", LISTS)
def test_documents_are_counted_before_one_is_looked_at(
    apps: dict[MainDialect, AppUnderTest], case: str, item: object
) -> None:
    main, path, body = LISTS[case]
    response = apps[main].post(path, body([item] * 1000))
    assert response.status_code in (400, 422)
    told = r"holds 1000 (documents|passages|texts); this server takes at most 50 at once \(MAX_DOCUMENTS\)\."
    assert re.search(told, response.text)


def test_tei_and_weaviate_hear_of_too_many_documents_in_their_own_words(apps: dict[MainDialect, AppUnderTest]) -> None:
    app = apps[MainDialect.VLLM]
    tei = app.post("/rerank", {"query": "q", "texts": ["a"] * 51})
    assert (tei.status_code, tei.json()["error_type"]) == (422, "Validation")
    weaviate = app.post("/rerank", {"query": "q", "documents": ["a"] * 51, "property": ""})
    assert list(weaviate.json()) == ["error"]


@pytest.mark.parametrize("main", MainDialect)
def test_every_body_is_parsed_within_bounds(apps: dict[MainDialect, AppUnderTest], main: MainDialect) -> None:
    routes = [context.original_route for context in iter_route_contexts(apps[main].asgi.routes)]
    taking_bodies = [route for route in routes if isinstance(route, APIRoute) and route.body_field]
    assert len(taking_bodies) > 20
    assert [route.path for route in taking_bodies if not isinstance(route, JsonRoute)] == []


MOST = 32 * 1024 * 1024 - 1000


def around(values: str) -> bytes:
    return f'{{"query": "q", "documents": ["a"], {values}}}'.encode()


ATTACKS: dict[str, Callable[[], bytes]] = {
    "one field named 2,000 times": lambda: json.dumps(
        {"query": "q", "documents": [{"a": "x" * 100_000}], "rank_fields": ["a"] * 2000}
    ).encode(),
    "400,000 wrong documents": lambda: b'{"query": "q", "documents": [' + b"1," * 399_999 + b"1]}",
    "1,000,000 wrong documents": lambda: b'{"query": "q", "documents": [' + b"1," * 999_999 + b"1]}",
    "11 million lists": lambda: around('"x": [' + "[]," * (MOST // 3) + "[]]"),
    "2 million names": lambda: around(", ".join(f'"{number}": 1' for number in range(MOST // 15))),
    "8,000 numbers of 4,000 digits": lambda: around('"x": [' + ",".join(["1" * 4000] * (MOST // 4001)) + "]"),
    "30 MB of opened brackets": lambda: around('"x": ' + "[" * MOST),
    "30 MB where a number belongs": lambda: around('"top_n": "' + "x" * MOST + '"'),
    "30 MB inside 900 lists": lambda: around('"top_n": ' + "[" * 900 + '"' + "x" * (MOST - 2000) + '"' + "]" * 900),
    "30 MB of instruction": lambda: around('"instruction": "' + "x" * MOST + '"'),
    "30 MB of a model's name": lambda: around('"model": "' + "_" * MOST + '"'),
    "30 MB of a side": lambda: around('"truncation_side": "' + "R" * MOST + '"'),
}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory, converted: None) -> Iterator[ServerProcess]:
    with ServerProcess(tmp_path_factory.mktemp("server")) as running:
        # what is loaded for the first request is no attack's doing
        requests.post(f"{running.url}/v1/rerank", json={"query": "q", "documents": ["a"]}, timeout=SECONDS)
        yield running


@pytest.mark.parametrize(("size", "status"), [(256 * 1024, 200), (MOST, 400)])
def test_tokenizing_dots_costs_little_time_and_memory(server: ServerProcess, size: int, status: int) -> None:
    # of which a token each is made
    with measured(server.pid) as cost:
        response = requests.post(f"{server.url}/tokenize", json={"prompt": "." * size}, timeout=SECONDS)
    assert response.status_code == status
    assert cost.seconds < 15
    assert cost.peak < 200 * MEGABYTE + 3 * size


@pytest.mark.parametrize("attack", ATTACKS)
def test_costs_little_time_and_memory(server: ServerProcess, attack: str) -> None:
    raw = ATTACKS[attack]()
    with measured(server.pid) as cost:
        response = requests.post(
            f"{server.url}/v1/rerank", data=raw, headers={"Content-Type": "application/json"}, timeout=SECONDS
        )
    assert response.status_code == 400, response.text
    assert len(response.content) < 2000
    assert cost.seconds < 10
    # the body, once more as text, and once more in parts
    assert cost.peak < 200 * MEGABYTE + 3 * len(raw)


def test_of_long_texts_only_the_beginning_is_logged(
    tmp_path: Path, caplog: pytest.LogCaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(logging.getLogger("rerank"), "propagate", True)
    caplog.set_level(logging.INFO)
    with AppUnderTest(tmp_path, log_texts=True) as app:
        app.rerank(query="q" * 100_000, documents=["d" * 100_000] * 10)
    lines = [record.getMessage() for record in caplog.records if "query 'qqq" in record.getMessage()]
    assert len(lines) == 10
    assert max(map(len, lines)) < 2100

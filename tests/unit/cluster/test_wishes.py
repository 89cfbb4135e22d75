"""What is read from a request for the router."""

from __future__ import annotations

import json
from typing import Any

import pytest

from rerank.api.bodies import BodyBounds
from rerank.cluster.calls import call_of
from rerank.cluster.wishes import Reader, Wish
from rerank.core import Caller
from rerank.errors import ModelNotFound

KNOWN = {"acme/words": 100, None: 50}


async def find(name: str | None, caller: Caller) -> tuple[str, int]:
    if name not in KNOWN:
        raise ModelNotFound("no such model")
    return name or "default", KNOWN[name]


async def wish_of(body: Any = None, path: str = "/v1/rerank", query: str = "") -> Wish:
    raw = body if isinstance(body, bytes) else b"" if body is None else json.dumps(body).encode()
    scope = {"type": "http", "path": path, "query_string": query.encode(), "headers": []}
    return await Reader(find, BodyBounds(100, 10**7)).wish(call_of(scope, raw), Caller())


@pytest.mark.parametrize("model", ["acme/words", " acme/words "])
async def test_the_model_of_a_body(model: str) -> None:
    wish = await wish_of({"model": model, "query": "a", "documents": ["b"]})
    assert (wish.model, wish.bytes) == ("acme/words", 100)


@pytest.mark.parametrize("model", [None, "", " ", 7, ["acme/words"]])
async def test_a_body_that_names_no_model_is_for_the_default_one(model: Any) -> None:
    assert (await wish_of({"model": model, "query": "a"})).model == "default"


@pytest.mark.parametrize(
    ("path", "query", "model"),
    [
        ("/v1/models/acme/words/load", "", "acme/words"),
        ("/v1/models/acme/words", "", "acme/words"),
        ("/tokenizer_info", "model=acme/words", "acme/words"),
        ("/docs", "", None),
    ],
)
async def test_the_model_of_an_address(path: str, query: str, model: str | None) -> None:
    assert (await wish_of(path=path, query=query)).model == model


@pytest.mark.parametrize(
    "body", [b"{", b"[" * 1000, b"\xff", b"[1]", b"{" + b'"a":1,' * 200_000 + b'"b":2}', {"model": "unknown"}, b"null"]
)
async def test_a_body_that_cannot_be_read_raises_nothing(body: Any) -> None:
    assert (await wish_of(body)).model in ("default", None)


async def test_equal_queries_of_all_dialects_have_equal_affinity() -> None:
    bodies: list[dict[str, Any]] = [
        {"query": "a", "documents": ["b"]},
        {"query": {"text": "a"}},
        {"input": {"query": "a"}},
        {"text_1": "a"},
    ]
    found = [(await wish_of(body)).affinity for body in bodies]
    assert len(set(found)) == 1
    assert found[0]
    assert (await wish_of({"query": "\ud800"})).affinity not in ("", found[0])
    assert (await wish_of({"query": ["a"], "input": ["b"]})).affinity == ""


async def test_a_body_has_a_token_per_four_bytes() -> None:
    wish = await wish_of(b'{"query": "' + b"a" * 90 + b'"}')
    assert (wish.tokens, type(wish.tokens)) == (25, int)


async def test_a_model_that_is_not_known_here_is_for_any_replica_with_the_affinity_of_its_query() -> None:
    wish, known = await wish_of({"model": "unknown", "query": "a"}), await wish_of({"query": "a"})
    assert (wish.model, wish.bytes) == (None, 0)
    assert wish.affinity == known.affinity


@pytest.mark.parametrize(
    ("path", "query"), [("/v1/models/acme/words/load", ""), ("/tokenizer_info", "model=acme/words")]
)
async def test_an_address_has_no_affinity(path: str, query: str) -> None:
    assert (await wish_of(path=path, query=query)).affinity == ""


async def test_an_affinity_is_the_same_on_every_ingress() -> None:
    assert (await wish_of({"query": "a"})).affinity == "40f89e395b66422f"


async def test_a_model_is_looked_up_for_the_caller() -> None:
    callers: list[Caller] = []

    async def find(name: str | None, caller: Caller) -> tuple[str, int]:
        callers.append(caller)
        return "acme/words", 1

    scope = {"type": "http", "path": "/v1/rerank", "query_string": b"", "headers": []}
    await Reader(find, BodyBounds(100, 10**7)).wish(call_of(scope, b"{}"), Caller("chat"))
    assert callers == [Caller("chat")]

"""Bodies as JSON, within bounds of their structure."""

from __future__ import annotations

import json
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Annotated, Any

import pytest
from fastapi import APIRouter, Body, FastAPI, Request
from fastapi.testclient import TestClient
from hypothesis import given
from hypothesis import strategies as st

from rerank.api.bodies import BodyBounds, JsonRoute, bounds_var, check_length, parse
from rerank.api.dialects.vllm.bodies import RerankBody
from rerank.errors import InvalidRequest, TooManyDocuments

FEW = BodyBounds(documents=1, bytes=10**9)
MOST = 100_000
"""Values that the fewest documents allow."""
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.text(),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(), inner, max_size=4),
)


@pytest.mark.parametrize(("documents", "values"), [(0, 100_000), (1000, 100_000), (1001, 100_100), (5000, 500_000)])
def test_a_body_may_hold_a_hundred_values_for_each_document(documents: int, values: int) -> None:
    assert BodyBounds(documents, 1).values == values


@given(JSON, st.sampled_from(["utf-8", "utf-8-sig", "utf-16", "utf-16-le", "utf-32-be"]))
def test_json_of_every_encoding_is_parsed(value: object, encoding: str) -> None:
    # of an empty text the first bytes do not show the encoding
    assert parse(json.dumps([value]).encode(encoding), FEW) == [value]


def test_half_a_surrogate_pair_is_left_for_the_fields_to_refuse() -> None:
    assert parse(b'"\\ud800"', FEW) == "\ud800"
    assert parse('["\ud800"]'.encode("utf-16-le", "surrogatepass"), FEW) == ["\ud800"]


@pytest.mark.parametrize("raw", [b"", b"{", b"[1,]", b"\xff", b"nothing"])
def test_what_is_no_json_raises_value_error(raw: bytes) -> None:
    with pytest.raises(ValueError, match=r".+"):
        parse(raw, FEW)


TEXT = b'"' + b"x" * 2 * MOST + b'"'
WITHIN = {
    "commas": b"[" + b"1," * (MOST - 1) + b"1]",
    "lists": b"[" * 400 + b"1" + b"]" * 400 + b" " * MOST,
    "objects": b"[" + b"{}," * (MOST // 2 - 1) + b"{}]",
    "texts": b"[" + b'"",' * (MOST // 2) + b'""]',
    "structure inside of a text": b'"' + b"[{,}]" * MOST + b'"',
    "quotes inside of a text": b'"' + b'\\",' * MOST + b'"',
    "backslashes before the end of a text": b'["' + b"\\\\" * MOST + b'", "' + b"[" * 2 * MOST + b'"]',
    "white space": b" \t\r\n" * MOST + b"1",
}
BEYOND = {
    "commas": b"[" + b"1," * (MOST + 1) + b"1]",
    "lists": b"[" * (MOST + 1),
    "objects": b"[" + b"{}" * (MOST + 1),
    "texts without commas": b'""' * (MOST + 1),
    "structure between texts": b'"a"' + b"," * (MOST + 1) + b'"b"',
    "digits": b"1" * 8 * (MOST + 1),
    "structure after a text that ends with a backslash": b'["\\\\"' + b"," * (MOST + 1) + b"]",
    "another encoding": ("[" + "1," * (MOST + 1)).encode("utf-16-le"),
}


@pytest.mark.parametrize("case", WITHIN)
def test_as_many_values_as_allowed_are_parsed(case: str) -> None:
    assert parse(WITHIN[case], FEW) == json.loads(WITHIN[case])


@pytest.mark.parametrize("case", BEYOND)
def test_one_value_too_many_is_refused_before_anything_is_parsed(case: str) -> None:
    with pytest.raises(InvalidRequest) as caught:
        parse(BEYOND[case], FEW)
    assert str(caught.value) == (
        "The body holds more than 100000 values and names; this server takes no more at once "
        "(100 for each of MAX_DOCUMENTS). Send the documents in parts."
    )


class TestLength:
    @pytest.fixture(autouse=True)
    def _bounds(self) -> Iterator[None]:
        token = bounds_var.set(BodyBounds(documents=3, bytes=1))
        yield
        bounds_var.reset(token)

    def test_as_many_texts_as_the_server_takes_pass(self) -> None:
        check_length([1, 2, 3], "documents")

    @pytest.mark.parametrize(
        ("field", "noun"), [("documents", "documents"), ("passages", "passages"), ("input", "texts")]
    )
    def test_one_text_too_many_is_refused_with_both_numbers(self, field: str, noun: str) -> None:
        with pytest.raises(TooManyDocuments, match=f"holds 4 {noun}; this server takes at most 3 at once") as refused:
            check_length([1, 2, 3, 4], field)
        assert refused.value.param == field

    def test_a_document_nested_too_deep_is_named_by_the_field_it_came_in(self) -> None:
        deep: Any = "text"
        for _ in range(100_000):
            deep = [deep]
        body = {"query": "q", "passages": [{"n": ""}, {"n": deep}], "rank_fields": ["n"]}
        with pytest.raises(InvalidRequest, match=r"^passages\.1 is nested too deep\.$") as refused:
            RerankBody.model_validate(body)
        assert refused.value.param == "passages.1"


class TestRoute:
    def test_a_body_is_parsed_and_validated_within_the_bounds_of_its_server(self) -> None:
        seen: list[Any] = []

        class Recognising(JsonRoute):
            def recognise(self, request: Request, body: Any) -> None:
                seen.append((request.url.path, body, bounds_var.get()))

        router = APIRouter(route_class=Recognising)

        async def echo(body: Annotated[Any, Body()]) -> Any:
            return [body, bounds_var.get().documents]

        router.post("/echo")(echo)
        app = FastAPI()
        app.include_router(router)
        app.state.services = SimpleNamespace(gateway=SimpleNamespace(limits=SimpleNamespace(max_documents=7)))
        app.state.max_body_bytes = 1000
        client = TestClient(app)

        assert client.post("/echo", content=b'{"a": 1}').json() == [{"a": 1}, 7]
        assert seen == [("/echo", {"a": 1}, BodyBounds(7, 1000))]
        assert client.post("/echo", content=BEYOND["commas"]).status_code == 400
        assert len(seen) == 1

"""Spans of the application before the replicas, and of the replicas behind it."""

from __future__ import annotations

from pathlib import Path

from opentelemetry.trace import SpanKind

from tests.support.app import DOCUMENTS, MODEL, QUERY, AppUnderTest
from tests.support.local_cluster import serving
from tests.support.traces import PARENT_ID, TRACE_ID, Traces

BODY = {"model": MODEL.id, "query": QUERY, "documents": DOCUMENTS}


async def test_a_request_is_one_trace_from_its_caller_to_the_replica(tmp_path: Path) -> None:
    before, behind = Traces(), Traces()
    app = AppUnderTest(tmp_path, tracing=behind.tracing)
    async with serving({"a": app}, before.tracing, rerank_models_dir=tmp_path) as (client, _):
        headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01", "X-Request-Id": "mine"}
        assert (await client.post("/v1/rerank", json=BODY, headers=headers)).status_code == 200
    ingress, replica = before.request(), behind.request()
    assert {span.context.trace_id for span in (ingress, replica)} == {int(TRACE_ID, 16)}
    assert ingress.parent
    assert replica.parent
    assert (ingress.parent.span_id, replica.parent.span_id) == (int(PARENT_ID, 16), ingress.context.span_id)
    told = [dict(span.attributes or {}) for span in (ingress, replica)]
    assert [(each["rerank.request_id"], each["http.response.status_code"]) for each in told] == [("mine", 200)] * 2


async def test_each_try_of_a_request_is_in_its_trace(tmp_path: Path) -> None:
    before, behind = Traces(), Traces()
    apps = {name: AppUnderTest(tmp_path, tracing=behind.tracing) for name in "ab"}
    async with serving(apps, before.tracing, rerank_models_dir=tmp_path) as (client, cluster):
        cluster.replicas["a"].gateway.admission.close()
        await client.post("/v1/rerank", json=BODY)
    ingress, tries = before.request(), [span for span in behind.spans() if span.kind is SpanKind.SERVER]
    assert [(span.attributes or {})["http.response.status_code"] for span in tries] == [503, 200]
    assert {span.parent.span_id for span in tries if span.parent} == {ingress.context.span_id}


async def test_without_spans_of_its_own_it_hands_the_trace_on(tmp_path: Path) -> None:
    behind = Traces()
    app = AppUnderTest(tmp_path, tracing=behind.tracing)
    async with serving({"a": app}, rerank_models_dir=tmp_path) as (client, _):
        headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"}
        await client.post("/v1/rerank", json=BODY, headers=headers)
    span = behind.request()
    assert span.parent
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE_ID, 16), int(PARENT_ID, 16))


async def test_neither_keys_nor_texts_are_in_its_spans(tmp_path: Path) -> None:
    before = Traces()
    apps = {"a": AppUnderTest(tmp_path, keys=("private-key",))}
    async with serving(apps, before.tracing, rerank_models_dir=tmp_path, rerank_api_key="private-key") as (client, _):
        body = BODY | {"query": "private-query"}
        assert (await client.post("/v1/rerank?access_token=private-key", json=body)).status_code == 200
    assert "private" not in before.request().to_json()


async def test_what_monitors_ask_all_day_has_no_span(tmp_path: Path) -> None:
    before = Traces()
    async with serving({"a": AppUnderTest(tmp_path)}, before.tracing, rerank_models_dir=tmp_path) as (client, _):
        for path in ("/health", "/ready", "/load", "/metrics"):
            await client.get(path)
    assert not before.spans()

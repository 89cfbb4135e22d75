"""What a request leaves behind in OpenTelemetry's spans, and what it does not."""

from __future__ import annotations

import io
from collections.abc import Callable, Iterator

import pytest
from opentelemetry.trace import SpanKind, StatusCode

from rerank.telemetry.tracing import open_tracing
from tests.support.app import DOCUMENTS, MODEL, PATIENCE, QUERY, AppUnderTest, BrokenScorer, GatedScorer, request_bytes
from tests.support.traces import PARENT_ID, TRACE_ID, Traces
from tests.support.waiting import wait_until

from .conftest import OpenApp, Serve

STAGES = ["model", "tokenise", "queue", "device"]


@pytest.fixture
def traces() -> Iterator[Traces]:
    traces = Traces()
    yield traces
    traces.tracing.close()


@pytest.fixture
def traced(open_app: OpenApp, traces: Traces) -> Callable[..., AppUnderTest]:
    return lambda *args, **options: open_app(*args, tracing=traces.tracing, **options)


def test_a_request_has_a_span_that_tells_what_it_was(traced: OpenApp, traces: Traces) -> None:
    app = traced()
    body = {"query": QUERY, "documents": DOCUMENTS}
    answer = app.client.post("/v1/rerank", json=body, headers={"X-Request-Id": "abc"})
    span = traces.request()
    assert span.name == "POST /v1/rerank"
    assert dict(span.attributes or {}) | {
        "http.request.method": "POST",
        "http.route": "/v1/rerank",
        "http.response.status_code": 200,
        "url.path": "/v1/rerank",
        "rerank.request_id": "abc",
        "rerank.dialect": "vLLM",
        "rerank.model": MODEL.id,
        "rerank.documents": len(DOCUMENTS),
        "rerank.tokens": answer.json()["usage"]["total_tokens"],
    } == dict(span.attributes or {})
    assert span.status.status_code is StatusCode.UNSET


def test_stages_are_spans_below_it_one_after_another(traced: OpenApp, traces: Traces) -> None:
    traced().rerank()
    request = traces.request()
    stages = [span for span in traces.spans() if span is not request]
    assert [span.name for span in stages] == STAGES
    times = [time for span in stages for time in (span.start_time or 0, span.end_time or 0)]
    assert times == sorted(times)
    for span in stages:
        assert span.parent
        assert span.context.span_id != span.parent.span_id == request.context.span_id
        assert span.context.trace_id == request.context.trace_id


def test_it_continues_the_callers_trace(traced: OpenApp, traces: Traces) -> None:
    traced().client.get("/v1/models", headers={"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-01"})
    span = traces.request()
    assert span.parent
    assert (span.context.trace_id, span.parent.span_id) == (int(TRACE_ID, 16), int(PARENT_ID, 16))


def test_what_the_caller_does_not_sample_is_not_sent(traced: OpenApp, traces: Traces) -> None:
    app = traced()
    headers = {"traceparent": f"00-{TRACE_ID}-{PARENT_ID}-00"}
    app.client.post("/v1/rerank", json={"query": QUERY, "documents": DOCUMENTS}, headers=headers)
    assert not traces.spans()


@pytest.mark.parametrize("fields", [{}, {"documents": ["private-document", 7]}, {"model": "private-model"}], ids=str)
def test_neither_texts_nor_keys_are_in_it(traced: OpenApp, traces: Traces, fields: dict[str, object]) -> None:
    app = traced(keys=["private-key"])
    body = {"query": "private-query", "documents": ["private-document"]} | fields
    app.client.post("/v1/rerank?access_token=private-key&query=private-query", json=body)
    app.client.post("/v1/rerank", json=body, headers={"Authorization": "Bearer private-key"})
    app.client.post("/v1/rerank", json=body, headers={"Authorization": "Bearer private-but-wrong"})
    sent = [span.to_json() for span in traces.spans()]
    assert len([span for span in sent if "SpanKind.SERVER" in span]) == 3
    assert not [span for span in sent if "private" in span]


def test_an_error_is_told_by_its_class(traced: OpenApp, traces: Traces) -> None:
    traced(BrokenScorer(ValueError("private"))).rerank()
    span = traces.request()
    assert span.status.status_code is StatusCode.ERROR
    attributes = span.attributes or {}
    assert (attributes["http.response.status_code"], attributes["rerank.error"]) == (500, "ScoringFailed")
    assert "private" not in span.to_json()


def test_a_wrong_body_is_an_error_of_one_class(traced: OpenApp, traces: Traces) -> None:
    traced().rerank(documents=["a", 7])
    assert (traces.request().attributes or {})["rerank.error"] == "InvalidBody"


def test_what_monitors_ask_all_day_has_no_span(traced: OpenApp, traces: Traces) -> None:
    client = traced().client
    for path in ("/health", "/health/", "/ready", "/metrics"):
        client.get(path)
    assert not traces.spans()


def test_a_client_that_leaves_is_told(serve: Serve, traces: Traces) -> None:
    scorer = GatedScorer()
    _, server = serve(scorer, tracing=traces.tracing)
    with server.connect() as connection:
        connection.sendall(request_bytes({"query": QUERY, "documents": DOCUMENTS}))
        assert scorer.reached.wait(PATIENCE)
    wait_until(lambda: any(span.kind is SpanKind.SERVER for span in traces.spans()))
    attributes = next(span for span in traces.spans() if span.kind is SpanKind.SERVER).attributes or {}
    assert attributes["rerank.documents"] == len(DOCUMENTS)
    assert "http.response.status_code" not in attributes


def test_a_collector_out_of_reach_harms_no_request_and_floods_no_log(
    open_app: OpenApp, server_log: io.StringIO, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_TIMEOUT", "0.1")
    tracing = open_tracing()
    assert tracing
    app = open_app(tracing=tracing)
    for _ in range(3):
        assert app.rerank().status_code == 200
        tracing.provider.force_flush()
    lines = [line for line in server_log.getvalue().splitlines() if " opentelemetry" in line]
    assert len(lines) == 1
    assert "spans" in lines[0]
    tracing.close()

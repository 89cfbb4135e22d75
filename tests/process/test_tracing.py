"""A real server's traces, as a collector gets them."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest
import requests
from opentelemetry.proto.collector.trace.v1.trace_service_pb2 import ExportTraceServiceRequest

from .server import ServerProcess


class Collector(ThreadingHTTPServer):
    """Keeps what it is sent."""

    def __init__(self) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.received: list[tuple[str, bytes]] = []
        self.url = f"http://127.0.0.1:{self.server_port}"


class _Handler(BaseHTTPRequestHandler):
    def do_POST(self) -> None:
        body = self.rfile.read(int(self.headers["Content-Length"]))
        assert isinstance(self.server, Collector)
        self.server.received.append((self.path, body))
        self.send_response(200)
        self.end_headers()

    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture
def collector() -> Iterator[Collector]:
    with Collector() as server:
        thread = threading.Thread(target=server.serve_forever)
        thread.start()
        yield server
        server.shutdown()
        thread.join()


def test_a_collector_gets_spans_and_nothing_else(tmp_path: Path, collector: Collector) -> None:
    settings = {
        "OTEL_EXPORTER_OTLP_ENDPOINT": collector.url,
        # FastAPI's own exporters, which would send query strings, and errors with their messages
        "FASTAPI_OTEL_AUTO_CONFIGURE": "true",
        "RERANK_API_KEY": "private-key",
    }
    with ServerProcess(tmp_path, settings) as server:
        assert requests.get(f"{server.url}/v1/models?access_token=private-key", timeout=60).status_code == 200
        # what has not been sent by then is sent at the stop
        assert server.stop() == 0
    assert {path for path, _ in collector.received} == {"/v1/traces"}
    assert not [body for _, body in collector.received if b"private" in body]
    exports = [ExportTraceServiceRequest.FromString(body) for _, body in collector.received]
    (sent,) = (resource for export in exports for resource in export.resource_spans)
    assert b"rerank-gateway" in sent.resource.SerializeToString()
    assert [span.name for scope in sent.scope_spans for span in scope.spans] == ["GET /v1/models"]

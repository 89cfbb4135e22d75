"""A server with another API, for tests: a real HTTP server that scores by length, and misbehaves on demand.

with FakeUpstream("cohere") as upstream:
    upstream.will_answer(503, headers={"Retry-After": "2"})
    ...  # the first call is answered 503, further ones with scores
    assert upstream.calls[0].body["documents"]
"""

from __future__ import annotations

import json
import socket
import ssl
import threading
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from types import TracebackType
from typing import Any, Self

Shape = Callable[[list[dict[str, Any]]], Any]
_SHAPES: dict[str, Shape] = {
    "voyage": lambda results: {"object": "list", "data": results, "usage": {"total_tokens": 40}},
    "dashscope": lambda results: {"output": {"results": results}, "usage": {"total_tokens": 40}, "request_id": "r"},
    "tei": lambda results: [{"index": one["index"], "score": one["relevance_score"]} for one in results],
    "nvidia": lambda results: {
        "rankings": [{"index": one["index"], "logit": one["relevance_score"]} for one in results]
    },
    "cohere": lambda results: {"id": "1", "results": results, "meta": {"tokens": {"input_tokens": 40}}},
}


def score_of(document: str) -> float:
    """The score that it gives: the longer, the better."""
    return len(document) / (len(document) + 10)


@dataclass(frozen=True)
class Call:
    """What arrived."""

    path: str
    headers: Mapping[str, str]
    """Names in lower case."""
    body: Any

    @property
    def documents(self) -> list[str]:
        """The documents, wherever the API has them."""
        flat = self.body | self.body.get("input", {})
        found = flat.get("documents") or flat.get("texts") or [one["text"] for one in flat.get("passages", ())]
        return [*found]


@dataclass
class Scripted:
    """An answer other than scores."""

    status: int = 200
    body: bytes = b"{}"
    headers: Mapping[str, str] = field(default_factory=dict)
    closes: bool = False
    """True breaks the connection instead."""
    held: threading.Event | None = None
    """The answer waits for it."""


class FakeUpstream:
    """Listens on a free port between ``with`` and its end."""

    def __init__(self, api: str = "vllm", certificate: Path | None = None) -> None:
        """``certificate``: a file with one and its key, for HTTPS."""
        self.api = api
        self.calls: list[Call] = []
        self.reached = threading.Semaphore(0)
        """Released by each call that arrives."""
        self._held: list[threading.Event] = []
        self._script: deque[Scripted] = deque()
        self._always: Scripted | None = None
        self._server = _Server(("127.0.0.1", 0), _Handler)
        self._server.upstream = self
        self._scheme = "https" if certificate else "http"
        if certificate:
            context = ssl.SSLContext(ssl.PROTOCOL_TLS_SERVER)
            context.load_cert_chain(certificate)
            self._server.socket = context.wrap_socket(self._server.socket, server_side=True)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.02,), daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        for held in self._held:
            held.set()
        self._server.shutdown()
        self._server.server_close()
        self._thread.join()

    @property
    def url(self) -> str:
        """Its root."""
        return f"{self._scheme}://127.0.0.1:{self._server.server_port}"

    def will_answer(self, status: int = 200, body: Any = b"{}", times: int = 1, **more: Any) -> None:
        """Answer the next calls so."""
        content = body if isinstance(body, bytes) else json.dumps(body).encode()
        self._script.extend(Scripted(status, content, **more) for _ in range(times))

    def always_answers(self, status: int = 200, body: bytes = b"{}", **more: Any) -> None:
        """Answer every further call so."""
        self._always = Scripted(status, body, **more)

    def recovers(self) -> None:
        """Answer with scores again."""
        self._script.clear()
        self._always = None

    def hold(self, release: threading.Event) -> None:
        """Wait for the release, or for the end."""
        self._held.append(release)
        release.wait()

    def next_answer(self, call: Call) -> Scripted:
        """The answer to a call."""
        if self._script:
            return self._script.popleft()
        return self._always or Scripted(body=json.dumps(self.scores(call.documents)).encode())

    def scores(self, documents: Sequence[str]) -> Any:
        """The right answer, the best first."""
        results = [{"index": index, "relevance_score": score_of(text)} for index, text in enumerate(documents)]
        results.sort(key=lambda one: -one["relevance_score"])
        shape = _SHAPES.get(self.api)
        return shape(results) if shape else {"results": results, "usage": {"total_tokens": 40}}


class _Server(ThreadingHTTPServer):
    upstream: FakeUpstream
    daemon_threads = True
    request_queue_size = 128

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing of callers that leave."""


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"
    disable_nagle_algorithm = True

    def do_POST(self) -> None:
        upstream = self.server.upstream
        body = json.loads(self.rfile.read(int(self.headers["Content-Length"])))
        call = Call(self.path, {name.lower(): value for name, value in self.headers.items()}, body)
        upstream.calls.append(call)
        answer = upstream.next_answer(call)
        upstream.reached.release()
        if answer.held:
            upstream.hold(answer.held)
        if answer.closes:
            self.connection.shutdown(socket.SHUT_RDWR)
            self.close_connection = True
            return
        try:
            self._send(answer)
        except ConnectionError:
            # the caller left, which is what some tests are about
            self.close_connection = True

    def do_GET(self) -> None:
        self.server.upstream.calls.append(Call(self.path, {}, {}))
        self.send_response(204)
        self.end_headers()

    def _send(self, answer: Scripted) -> None:
        self.send_response(answer.status)
        for name, value in {"Content-Type": "application/json", **answer.headers}.items():
            self.send_header(name, value)
        self.send_header("Content-Length", str(len(answer.body)))
        self.end_headers()
        self.wfile.write(answer.body)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002  the name is the base class's
        """Tests read ``FakeUpstream.calls`` instead."""

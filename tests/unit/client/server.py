"""A scripted HTTP server on a free port, in threads of this process."""

from __future__ import annotations

import json
import threading
from collections import deque
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any


@dataclass(frozen=True)
class Answer:
    """What the server says: str and bytes go out as they stand, an iterator until the client leaves, others as JSON."""

    status: int = 200
    content: Any = ""
    headers: dict[str, str] = field(default_factory=dict)


@dataclass(frozen=True)
class Seen:
    """What the server was asked."""

    method: str
    path: str
    headers: dict[str, str]
    content: Any


def score_all(seen: Seen) -> Answer:
    """A rerank server whose score is a document's length, over the longest one's."""
    if seen.path == "/health":
        return Answer()
    if seen.path == "/v1/models":
        return Answer(content={"object": "list", "data": [{"id": "bge"}, {"id": "qwen"}]})
    texts = [d["text"] if isinstance(d, dict) else d for d in seen.content["documents"]]
    longest = max(map(len, texts), default=1)
    rows = [
        {"index": index, "relevance_score": len(texts[index]) / longest, "document": {"text": texts[index]}}
        for index in sorted(range(len(texts)), key=lambda index: -len(texts[index]))
    ]
    return Answer(content={"id": "rerank-1", "model": "bge", "results": rows[: seen.content.get("top_n")]})


class FakeServer:
    """Answers by ``script`` first, then by ``behave``; keeps every request in ``seen``."""

    def __init__(self) -> None:
        self.script: deque[Answer] = deque()
        self.behave: Callable[[Seen], Answer] = score_all
        self.seen: list[Seen] = []
        self.connections = 0
        self.released = threading.Event()
        self._http = _Http(("127.0.0.1", 0), _Handler)
        self._http.fake = self
        self._thread = threading.Thread(target=self._http.serve_forever, kwargs={"poll_interval": 0.01}, daemon=True)
        self._thread.start()

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self._http.server_port}"

    @property
    def last(self) -> Seen:
        return self.seen[-1]

    def answer(self, seen: Seen) -> Answer:
        self.seen.append(seen)
        return self.script.popleft() if self.script else self.behave(seen)

    def never_answer(self, seen: Seen) -> Answer:
        """Hold the request until the server is closed."""
        self.released.wait()
        return Answer()

    def close(self) -> None:
        self.released.set()
        self._http.shutdown()
        self._thread.join()
        self._http.server_close()


class _Http(ThreadingHTTPServer):
    daemon_threads = True
    request_queue_size = 128
    fake: FakeServer

    def handle_error(self, request: Any, client_address: Any) -> None:
        """A client that went away in the middle is part of the tests."""


def _bytes(content: Any) -> bytes:
    if isinstance(content, bytes):
        return content
    return (content if isinstance(content, str) else json.dumps(content)).encode()


class _Handler(BaseHTTPRequestHandler):
    protocol_version = "HTTP/1.1"
    timeout = 10
    server: _Http

    def setup(self) -> None:
        super().setup()
        self.server.fake.connections += 1

    def do_GET(self) -> None:
        self._reply(None)

    def do_POST(self) -> None:
        self._reply(json.loads(self.rfile.read(int(self.headers["Content-Length"]))))

    def _reply(self, content: Any) -> None:
        answer = self.server.fake.answer(Seen(self.command, self.path, dict(self.headers), content))
        if isinstance(answer.content, Iterator):
            pieces, length = answer.content, {"Connection": "close"}
        else:
            body = _bytes(answer.content)
            pieces, length = iter([body]), {"Content-Length": str(len(body))}
        self.send_response(answer.status)
        for name, value in {**length, **answer.headers}.items():
            self.send_header(name, value)
        self.end_headers()
        for piece in pieces:
            self.wfile.write(piece)

    def log_message(self, format: str, *args: Any) -> None:  # noqa: A002
        """Stay silent."""

"""Clients that ask a server all the time, while something is done to it."""

from __future__ import annotations

import json
import threading
import time
from collections.abc import Callable, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from itertools import count, repeat

import requests

from tests.support.app import DOCUMENTS, QUERY

PATIENCE = 300
"""Maximum seconds of a request."""
Ask = Callable[[], requests.Response]


class SteadyLoad:
    """Several clients, each with one request after another while the context is open."""

    def __init__(self, url: str, model: str, clients: int) -> None:
        self.right = 0
        self.wrong: list[requests.Response] = []
        self.broken = 0
        """Connections that ended before an answer; the client goes on with a new one."""
        self.slowest = 0.0
        self._url, self._model, self._clients = url, model, clients
        self._lock, self._ended = threading.Lock(), threading.Event()
        self._callers = ThreadPoolExecutor(clients)
        self._running: list[Future[None]] = []

    @property
    def outcome(self) -> str:
        """What came of it."""
        return f"{self.right} right, {len(self.wrong) + self.broken} lost or wrong, slowest {self.slowest:.1f} s"

    def __enter__(self) -> SteadyLoad:
        self._running = [self._callers.submit(self._ask) for _ in range(self._clients)]
        return self

    def __exit__(self, *_: object) -> None:
        self._ended.set()
        self._callers.shutdown()
        for each in self._running:
            each.result()

    def _ask(self) -> None:
        with requests.Session() as session:
            # queries that differ are for different replicas
            ask = asking(session, self._url, self._model, queries=(f"{QUERY} {number}" for number in count()))
            while not self._ended.is_set():
                began = time.monotonic()
                try:
                    answer = ask()
                except requests.ConnectionError:
                    with self._lock:
                        self.broken += 1
                else:
                    self._note(answer, time.monotonic() - began)

    def _note(self, answer: requests.Response, seconds: float) -> None:
        with self._lock:
            self.slowest = max(self.slowest, seconds)
            if is_right(answer):
                self.right += 1
            else:
                self.wrong.append(answer)


def asking(
    session: requests.Session, url: str, model: str, path: str = "/v1/rerank", queries: Iterable[str] = repeat(QUERY)
) -> Ask:
    """One request over a kept connection; nothing is taken from the cache."""
    headers = {"Content-Type": "application/json"}
    bodies = (
        json.dumps({"model": model, "query": query, "documents": DOCUMENTS, "cache": False}).encode()
        for query in queries
    )
    return lambda: session.post(f"{url}{path}", data=next(bodies), headers=headers, timeout=PATIENCE)


def is_right(answer: requests.Response) -> bool:
    """True if the documents are in their right order."""
    return answer.status_code == 200 and [each["index"] for each in answer.json()["results"]] == [1, 0, 2]

"""The real application around a scorer without a model, and a real server around the application."""

from __future__ import annotations

import asyncio
import http.client
import json
import logging
import queue
import socket
import threading
from array import array
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack, asynccontextmanager
from dataclasses import replace
from functools import partial
from pathlib import Path
from types import TracebackType
from typing import Any, TypeVar

import uvicorn
from fastapi import FastAPI
from fastapi.testclient import TestClient
from httpx2 import ASGITransport, AsyncClient, Response

from rerank.access.keyring import Keyring, collect_keys
from rerank.access.rate_limits import RateLimits
from rerank.access.shared_limits import SharedLimits
from rerank.api.app import build_app
from rerank.api.dialects.main import MainDialect
from rerank.api.services import Services
from rerank.backends.base import LoadedModel
from rerank.backends.local import LocalBackend
from rerank.backends.tokenisers import Tokenisers
from rerank.catalog.calibrations import Calibrations, calibrations_folder
from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog, DefaultModel
from rerank.core import (
    DEFAULT_OPTIONS,
    Caller,
    EmbeddingOptions,
    Finished,
    Pair,
    Pending,
    PendingLogits,
    ScoringOptions,
    Vector,
)
from rerank.engine import Engine
from rerank.gateway.admission import Admission, Work
from rerank.gateway.cache.opening import open_store
from rerank.gateway.cache.pair_cache import PairCache
from rerank.gateway.gateway import Gateway, Limits
from rerank.gateway.readiness import Readiness
from rerank.gateway.shared_work import exchanging
from rerank.scheduling.batching import BatchBudget
from rerank.scheduling.job import HasTokens, Job, Replicas
from rerank.scheduling.scheduler import DeviceSpec, Scheduler
from rerank.scorers.base import Part, Reading, Scorer
from rerank.scorers.fake import EncodedWords, WordOverlapScorer
from rerank.server.gauges import gauges
from rerank.shared_state.state import open_state
from rerank.telemetry.spans import Tracing
from tests.support.clock import Clock
from tests.support.fake_loader import DEVICE, FakeLoader, loaded

PATIENCE = 30.0
MODEL = ModelCard(id="acme/words", aliases=("the-words",))
OTHER_MODEL = ModelCard(id="acme/other-words")
DOCUMENTS = ["Berlin is big", "Paris is the capital of France", "cheese"]
QUERY = "capital of France"

Load = Callable[[ModelCard], LoadedModel]
T = TypeVar("T")


class FixedScorer(WordOverlapScorer):
    """Gives the logits it is told to, in request order (the documents must be of equal length)."""

    def __init__(self, *logits: float) -> None:
        super().__init__()
        self._logits = list(logits)

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        return Finished(self._logits)


class WordVectors:
    """Vectors of three numbers: words, characters, and a half."""

    padded = True
    bytes_per_token = 0

    def reading(self, texts: Sequence[str], options: EmbeddingOptions) -> Reading[list[EncodedWords]]:
        yield Part(sum(map(len, texts)))
        return [EncodedWords((), tuple(text.split())) for text in texts]

    def start(self, batch: Sequence[EncodedWords]) -> Pending[Vector]:
        return Finished([self._vector(item.document) for item in batch])

    @staticmethod
    def _vector(words: tuple[str, ...]) -> Vector:
        return memoryview(array("f", [len(words), sum(map(len, words)), 0.5]))


class EmbeddingScorer(WordOverlapScorer):
    """An embedding model."""

    embedder = WordVectors()


class BrokenScorer(WordOverlapScorer):
    """Raises for as long as ``error`` is set."""

    def __init__(self, error: Exception) -> None:
        super().__init__()
        self.error: Exception | None = error

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        if self.error:
            raise self.error
        return super().start(batch)


class GatedScorer(WordOverlapScorer):
    """Waits at an open or closed gate before each batch, or, with ``at="encode"``, before reading the texts."""

    def __init__(self, at: str = "score") -> None:
        super().__init__()
        self.gate = threading.Event()
        self.reached = threading.Event()
        self.seen: list[set[str]] = []
        """The documents of each batch scored so far."""
        self._at = at

    def encode(self, pairs: Sequence[Pair], options: ScoringOptions = DEFAULT_OPTIONS) -> list[EncodedWords]:
        self._wait("encode")
        return super().encode(pairs, options)

    def reading(self, pairs: Sequence[Pair], options: ScoringOptions) -> Reading[list[EncodedWords]]:
        # a thread is to wait, not the event loop
        yield Part(0, quick=False)
        return self.encode(pairs, options)

    def start(self, batch: Sequence[EncodedWords]) -> PendingLogits:
        self._wait("score")
        self.seen.append({" ".join(pair.document) for pair in batch})
        return super().start(batch)

    def _wait(self, place: str) -> None:
        if place == self._at:
            self.reached.set()
            assert self.gate.wait(PATIENCE)


class WatchedScheduler(Scheduler):
    """Says when work has come in. Its device counts as stuck after a minute, and is lost when the test says so."""

    def __init__(self, budget: BatchBudget) -> None:
        self._submitted = threading.Semaphore(0)
        self.clock = Clock()
        self.device_is_lost = False
        super().__init__(DeviceSpec("test", budget, is_lost=lambda: self.device_is_lost), patience=60, clock=self.clock)

    def pass_by(self, seconds: int) -> None:
        """Look after the device each second, as the server does."""
        for _ in range(seconds):
            self.clock.now += 1
            self.look()

    def submit(
        self, replicas: Replicas, pairs: Sequence[HasTokens], caller: str = "", until: float | None = None
    ) -> Job:
        job = super().submit(replicas, pairs, caller, until)
        self._submitted.release()
        return job

    def wait_for_jobs(self, count: int) -> None:
        for _ in range(count):
            assert self._submitted.acquire(timeout=PATIENCE)


class AppUnderTest:
    """The application and everything behind it. Every part is the real one but the scorer."""

    def __init__(
        self,
        models_dir: Path,
        scorer: Scorer | None = None,
        *,
        load: Load | None = None,
        keys: Sequence[str] = (),
        cards: tuple[ModelCard, ...] = (MODEL, OTHER_MODEL),
        max_body_bytes: int = 32 * 1024 * 1024,
        max_documents: int = 5000,
        max_inflight_documents: int = 20000,
        timeout: float = PATIENCE,
        load_timeout: float | None = None,
        budget: int | None = None,
        sizes: Mapping[str, int] | None = None,
        max_inflight_tokens: int = 10_000_000,
        max_inflight_bytes: int | None = None,
        admin_keys: Sequence[str] = (),
        named_keys: Mapping[str, Caller] | None = None,
        log_texts: bool = False,
        preloaded: tuple[ModelCard, ...] = (),
        client: str = "203.0.113.7",
        main_dialect: MainDialect = MainDialect.VLLM,
        open_paths: Sequence[str] = (),
        pages: bool = True,
        tokenizer_info: bool = False,
        receive_timeout: float = PATIENCE,
        cors_origins: Sequence[str] = (),
        tracing: Tracing | None = None,
        batch: BatchBudget = BatchBudget(32, 16384),  # noqa: B008
        cache: str = "off",
        cached_pairs: int = 1000,
        state_url: str | None = None,
        state_seconds: float = PATIENCE,
    ) -> None:
        self.scorer = scorer or WordOverlapScorer()
        self.scheduler = WatchedScheduler(batch)
        self._tokenisers = Tokenisers(2)
        self._callers = ThreadPoolExecutor(32)
        self._load = load or self.loaded
        self._catalog = Catalog(
            models_dir, cards, calibrations=Calibrations.read(calibrations_folder(models_dir), cards)
        )
        self._admission = Admission(Work(max_inflight_documents, max_inflight_tokens))
        self._limits = Limits(max_documents, timeout, load_timeout)
        self._budget = {} if budget is None else {DEVICE: budget}
        self._sizes = sizes or {}
        self._log_texts = log_texts
        self._open_cache = partial(open_store, cache, cached_pairs, 3600)
        self._open_state = partial(open_state, state_url, patience=state_seconds)
        self._preloaded = preloaded
        self.asgi = build_app(
            self._open,
            keyring=Keyring(collect_keys(keys, admin_keys, named_keys)),
            max_inflight_bytes=max_inflight_bytes,
            max_body_bytes=max_body_bytes,
            main_dialect=main_dialect,
            open_paths=open_paths,
            pages=pages,
            tokenizer_info=tokenizer_info,
            receive_timeout=receive_timeout,
            cors_origins=cors_origins,
            tracing=tracing,
        )
        self.gateway: Gateway
        self.client = TestClient(self.asgi, base_url="http://127.0.0.1:8000", client=(client, 50000))
        self._open_parts = ExitStack()

    @asynccontextmanager
    async def _open(self) -> AsyncIterator[Services]:
        default = DefaultModel(self._catalog.resolve(MODEL.id), "the test says so")
        loader = FakeLoader(self._load, self._sizes)
        observe = self.asgi.state.metrics.observe
        async with (
            Engine(self._catalog, self.scheduler, loader, self._tokenisers, budget=self._budget) as engine,
            self._open_cache(observe) as store,
            self._open_state(observe) as state,
        ):
            cache = PairCache(store, observe)
            self.gateway = Gateway(
                self._catalog,
                engine.registry,
                self._admission,
                default,
                self._limits,
                cache,
                observe,
                RateLimits(SharedLimits(state) if state else None),
            )
            self.asgi.state.metrics.add_gauges(*gauges(self.gateway, self.scheduler, state))
            async with exchanging(state, self._admission), self.gateway.shadows.open():
                yield Services(
                    self.gateway,
                    Readiness(self.gateway, self._preloaded),
                    "cpu",
                    started=1_700_000_000,
                    trouble=lambda: engine.trouble,
                    log_texts=self._log_texts,
                )

    def loaded(self, card: ModelCard, scorer: Scorer | None = None) -> LoadedModel:
        backend = LocalBackend([scorer or self.scorer], self.scheduler, self._tokenisers)
        return loaded(card, backend, self._sizes.get(card.id, 0))

    def __enter__(self) -> AppUnderTest:
        self._open_parts.enter_context(self.client)
        return self

    def __exit__(self, *_: object) -> None:
        self.release()
        self._open_parts.close()

    def release(self) -> None:
        """Let everything that waits end."""
        if isinstance(self.scorer, GatedScorer):
            self.scorer.gate.set()
        self._callers.shutdown()

    def rerank(self, **fields: Any) -> Response:
        return self.post("/v1/rerank", {"query": QUERY, "documents": DOCUMENTS} | fields)

    def post(self, path: str, body: Any) -> Response:
        """Sends non-ASCII characters escaped, and so can send half a surrogate pair."""
        return self.client.post(path, content=json.dumps(body), headers={"Content-Type": "application/json"})

    def allow(self, seconds: float) -> None:
        """From now on a request may take so long."""
        self.gateway.limits = replace(self.gateway.limits, timeout=seconds)

    def rerank_at_once(self, count: int, **fields: Any) -> Future[list[int]]:
        """Send equal requests on the app's own loop, a quarter of what a thread for each takes; the statuses."""
        body = {"query": QUERY, "documents": DOCUMENTS} | fields

        async def statuses() -> list[int]:
            async with AsyncClient(transport=ASGITransport(self.asgi), base_url="http://127.0.0.1:8000") as client:
                answers = await asyncio.gather(*(client.post("/v1/rerank", json=body) for _ in range(count)))
            return [answer.status_code for answer in answers]

        assert self.client.portal
        return self.client.portal.start_task_soon(statuses)

    def rerank_meanwhile(self, **fields: Any) -> Future[Response]:
        return self.meanwhile(self.rerank, **fields)

    def meanwhile(self, call: Callable[..., T], *args: Any, **options: Any) -> Future[T]:
        """Call on a thread of its own."""
        return self._callers.submit(call, *args, **options)


class LiveServer:
    """uvicorn on a free port, for what only a real connection shows."""

    def __init__(self, app: FastAPI, protocol: type[asyncio.Protocol] | None = None) -> None:
        self._socket = socket.create_server(("127.0.0.1", 0))
        self.port: int = self._socket.getsockname()[1]
        self._server = uvicorn.Server(uvicorn.Config(app, log_config=None, access_log=False, http=protocol or "auto"))
        self._thread = threading.Thread(target=self._server.run, kwargs={"sockets": [self._socket]})

    def __enter__(self) -> LiveServer:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.should_exit = True
        self._thread.join(PATIENCE)
        self._socket.close()

    def connect(self) -> socket.socket:
        return socket.create_connection(("127.0.0.1", self.port), timeout=PATIENCE)

    def post(self, path: str, body: Any, **headers: str) -> tuple[int, Any]:
        connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=PATIENCE)
        try:
            connection.request("POST", path, json.dumps(body), {"Content-Type": "application/json"} | headers)
            response = connection.getresponse()
            return response.status, json.loads(response.read())
        finally:
            connection.close()


def request_bytes(body: Any) -> bytes:
    """A whole request to rerank as it goes over the wire."""
    content = json.dumps(body).encode()
    lines = ["POST /v1/rerank HTTP/1.1", "Host: localhost", f"Content-Length: {len(content)}"]
    head = "\r\n".join([*lines, "Content-Type: application/json", "", ""])
    return head.encode() + content


def bearer(key: str) -> dict[str, str]:
    """Headers that bring a key."""
    return {"Authorization": f"Bearer {key}"}


class AccessLog(logging.Handler):
    """The server's line for each request, in order, each to be waited for."""

    def __init__(self) -> None:
        super().__init__()
        self._lines: queue.Queue[str] = queue.Queue()

    def emit(self, record: logging.LogRecord) -> None:
        self._lines.put(record.getMessage())

    def next_line(self) -> str:
        return self._lines.get(timeout=PATIENCE)


def error_message(response: Response, status: int, kind: str) -> str:
    """Check an error answer from its status to its last key, and return what it says."""
    assert (response.status_code, response.headers["content-type"]) == (status, "application/json")
    body = response.json()
    assert list(body) == ["error", "message", "detail"]
    error = body["error"]
    assert list(error) == ["message", "type", "param", "code"]
    assert (error["type"], error["code"]) == (kind, status)
    assert error["param"] is None or isinstance(error["param"], str)
    message = error["message"]
    assert isinstance(message, str)
    assert message
    assert body["message"] == body["detail"] == message
    return message


def indices(response: Response) -> list[int]:
    """Which documents an answer lists, the best first."""
    assert response.status_code == 200, response.text
    return [result["index"] for result in response.json()["results"]]

"""A server to talk to, both clients behind one call, and a clock that does not make anyone wait."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Iterator
from typing import Any, Literal

import pytest

import rerank_client
from rerank_client import RerankClient, SyncRerankClient

from .server import FakeServer


class Caller:
    """Makes a client, has one method answer, closes the client; the same for both kinds of client."""

    def __init__(self, kind: Literal["async", "sync"]) -> None:
        self.kind = kind

    @property
    def client_class(self) -> type[RerankClient] | type[SyncRerankClient]:
        return RerankClient if self.kind == "async" else SyncRerankClient

    def __call__(self, base_url: str, method: str, /, *args: Any, **kwargs: Any) -> Any:
        return self.with_options(base_url)(method, *args, **kwargs)

    def with_options(self, base_url: str, **options: Any) -> Callable[..., Any]:
        def call(method: str, *args: Any, **kwargs: Any) -> Any:
            if self.kind == "sync":
                with SyncRerankClient(base_url, **options) as client:
                    return getattr(client, method)(*args, **kwargs)
            return asyncio.run(self._asynchronously(base_url, options, method, *args, **kwargs))

        return call

    @staticmethod
    async def _asynchronously(base_url: str, options: dict[str, Any], method: str, *args: Any, **kwargs: Any) -> Any:
        async with RerankClient(base_url, **options) as client:
            return await getattr(client, method)(*args, **kwargs)


@pytest.fixture(params=["async", "sync"])
def call(request: pytest.FixtureRequest) -> Caller:
    return Caller(request.param)


@pytest.fixture
def server() -> Iterator[FakeServer]:
    fake = FakeServer()
    yield fake
    fake.close()


@pytest.fixture
def nobody() -> Iterator[str]:
    """The URL of a port that is taken, on which nobody listens."""
    with socket.socket() as taken:
        taken.bind(("127.0.0.1", 0))
        yield f"http://127.0.0.1:{taken.getsockname()[1]}"


@pytest.fixture(autouse=True)
def naps(monkeypatch: pytest.MonkeyPatch) -> list[float]:
    """The seconds a client meant to sleep; it does not."""
    taken: list[float] = []

    async def nap(delay: float) -> None:
        taken.append(delay)

    monkeypatch.setattr(rerank_client, "_sleep", taken.append)
    monkeypatch.setattr(rerank_client, "_async_sleep", nap)
    monkeypatch.setattr(rerank_client, "_jitter", lambda: 1.0)
    return taken


@pytest.fixture(autouse=True)
def bare_environment(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RERANK_BASE_URL", "RERANK_API_KEY", "REQUESTS_CA_BUNDLE", "SSL_CERT_FILE", "COLUMNS"):
        monkeypatch.delenv(name, raising=False)

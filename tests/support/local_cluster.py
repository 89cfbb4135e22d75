"""Replicas in this process, in place of those of Ray."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import AsyncExitStack, asynccontextmanager
from pathlib import Path
from typing import Any

from httpx2 import ASGITransport, AsyncClient

from rerank.cluster.asking import ReplicaLost
from rerank.cluster.calls import Answer, Call, answered
from rerank.cluster.configured import Configured
from rerank.cluster.ingress import front_app
from rerank.cluster.lifespan import Lifespan
from rerank.cluster.wishes import Wish
from rerank.settings import Settings
from rerank.telemetry.spans import Tracing
from tests.support.app import MODEL, OTHER_MODEL, AppUnderTest


class LocalCluster:
    """Takes the first replica that was not tried."""

    def __init__(self, replicas: Mapping[str, AppUnderTest]) -> None:
        self.replicas = dict(replicas)
        self.lost: set[str] = set()
        """Replicas that end before they answer."""
        self.wishes: list[Wish] = []
        self.configured: Configured
        """Models and keys of the application before them."""

    def names(self) -> Sequence[str]:
        return sorted(self.replicas)

    async def ask(self, wish: Wish, call: Call) -> Answer:
        self.wishes.append(wish)
        name = next((each for each in self.names() if each not in wish.tried), self.names()[0])
        wish.tried.append(name)
        if name in self.lost:
            raise ReplicaLost(name)
        return await answered(self.replicas[name].asgi, call, name)

    async def ask_all(self, call: Call) -> Sequence[Answer]:
        living = [name for name in self.names() if name not in self.lost]
        return [await answered(self.replicas[name].asgi, call, name) for name in living]


def cards_file(folder: Path) -> Path:
    """A models file with the models of the application under test."""
    file = folder / "models.toml"
    file.write_text(
        f'[[model]]\nid = "{MODEL.id}"\naliases = ["{MODEL.aliases[0]}"]\n\n[[model]]\nid = "{OTHER_MODEL.id}"\n',
        encoding="utf-8",
    )
    return file


@asynccontextmanager
async def serving(
    replicas: Mapping[str, AppUnderTest], tracing: Tracing | None = None, **settings: Any
) -> AsyncIterator[tuple[AsyncClient, LocalCluster]]:
    """A client of the application before these replicas."""
    cluster = LocalCluster(replicas)
    async with AsyncExitStack() as running:
        for app in replicas.values():
            lifespan = Lifespan(app.asgi)
            await lifespan.started()
            running.push_async_callback(lifespan.stop)
            running.callback(app.release)
        read = Settings(rerank_models_file=cards_file(settings["rerank_models_dir"]), **settings)
        cluster.configured = Configured(read)
        front = front_app(cluster, read, cluster.configured, tracing)
        transport = ASGITransport(front, client=("127.0.0.1", 50000))
        yield await running.enter_async_context(AsyncClient(transport=transport, base_url="http://127.0.0.1")), cluster

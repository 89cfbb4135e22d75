"""One replica: the server's engine and application, in a process that Ray gave it."""

from __future__ import annotations

import asyncio
import importlib
import os
import time
from typing import Any

from fastapi import FastAPI

from rerank.api.services import Services
from rerank.cluster.calls import Answer, Call, answered
from rerank.cluster.lifespan import Lifespan
from rerank.cluster.needs import needed
from rerank.cluster.reports import report_of
from rerank.cluster.wishes import Wish
from rerank.errors import RerankError
from rerank.settings import Settings, prepare_libraries


class Replica:
    """What Ray calls. Everything runs on one event loop."""

    async def __init__(self, settings: Settings, server: str) -> None:  # type: ignore[misc]
        """``server``: the function that makes the application, as module:function. Raises SettingsError."""
        # Ray sets it to the cores that it reserves, which are for Ray's reckoning
        os.environ.pop("OMP_NUM_THREADS", None)
        prepare_libraries()
        module, _, function = server.partition(":")
        self._app: FastAPI = getattr(importlib.import_module(module), function)(settings)
        self._drain_seconds = settings.drain_timeout
        self._name: str = needed("ray.serve").get_replica_context().replica_id.unique_id
        self._lifespan = Lifespan(self._app)
        await self._lifespan.started()

    @property
    def _services(self) -> Services:
        services: Services = self._app.state.services
        return services

    async def answer(self, wish: Wish, call: Call) -> Answer:  # noqa: ARG002
        """The answer to a request; ``wish`` was for the router."""
        return await answered(self._app, call, self._name)

    async def find(self, wish: Wish) -> None:
        """Nothing: a router that gets this answer knows the replicas."""

    async def load(self, wish: Wish, model: str) -> None:
        """Load a model before it is asked for, if this is the replica that is meant. What fails shows when it is."""
        if wish.only != self._name:
            return
        services = self._services
        try:
            card = services.catalog.resolve(model)
            async with services.registry.lease(card, services.gateway.limits.load_timeout):
                pass
        except RerankError:
            return

    async def reload(self) -> bool:
        """Read models file and keys file again; False if one of them is wrong, and then nothing changes."""
        return self._services.reload()

    async def record_routing_stats(self) -> dict[str, Any]:
        """What the routers learn, once per second."""
        return report_of(self._services.gateway.load(), time.time())

    async def record_autoscaling_stats(self) -> dict[str, float]:
        """What the number of replicas follows."""
        return {"backlog_seconds": self._services.gateway.load().backlog_seconds}

    async def check_health(self) -> None:
        """Raise if nothing can be scored any more: Ray then replaces the replica."""
        if trouble := self._services.trouble():
            raise RuntimeError(trouble)

    async def __del__(self) -> None:
        """Stop, after the last request has been answered: Ray waits for those."""
        if hasattr(self, "_lifespan"):
            await self._services.drain(self._drain_seconds)
            await asyncio.shield(self._lifespan.stop())

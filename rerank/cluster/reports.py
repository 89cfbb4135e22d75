"""What a replica reports of itself to the routers, once per second, and what a router makes of it."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerank.cluster.routing import Held, Replica
from rerank.gateway.load import ServerLoad
from rerank.registry.lifecycle import State

Report = Mapping[str, Any]


def report_of(load: ServerLoad, now: float) -> dict[str, Any]:
    """The replica at this moment, in types that any serializer takes."""
    models = {
        name: {
            "backlog_seconds": model.backlog_seconds,
            "loading": model.state is State.LOADING,
            "bytes": model.bytes or 0,
            "idle_seconds": model.idle_seconds or 0.0,
            "pinned": model.pinned,
        }
        for name, model in load.models.items()
        if model.state is not State.ABSENT
    }
    return {
        "at": now,
        "models": models,
        "load_seconds": {name: model.load_seconds for name, model in load.models.items() if model.load_seconds},
        "backlog_seconds": load.backlog_seconds,
        "free_bytes": load.free_bytes,
        "budget_bytes": load.budget_bytes,
        "tokens_per_second": load.tokens_per_second,
        "draining": load.draining,
    }


def replica_of(name: str, report: Report) -> Replica:
    """A report as the routing rule takes it."""
    models = {model: Held(**held) for model, held in report["models"].items()} | _loads_alone(report["models"])
    loads = sum(held.backlog_seconds for held in models.values() if held.loading)
    free = report["free_bytes"]
    return Replica(
        name,
        models,
        report["backlog_seconds"] + loads,
        _BOUNDLESS if free is None else free,
        report["budget_bytes"],
        draining=report["draining"],
        at=report["at"],
    )


_BOUNDLESS = 2**62


def _loads_alone(models: Mapping[str, Any]) -> dict[str, Held]:
    """Models that load, each with its own time: they load in turn, and a report's times include those before."""
    loading = [(name, held) for name, held in models.items() if held["loading"]]
    before, alone = 0.0, {}
    for name, held in sorted(loading, key=lambda each: float(each[1]["backlog_seconds"])):
        alone[name] = Held(**{**held, "backlog_seconds": held["backlog_seconds"] - before})
        before = held["backlog_seconds"]
    return alone

"""Load of all replicas as that of one server."""

from __future__ import annotations

import json
from collections.abc import Sequence
from typing import Any

from rerank.cluster.calls import Answer

_SUMS = ("server_load", "tokens", "tokens_per_second")


def merged_load(answers: Sequence[Answer]) -> bytes:
    """The answers to `GET /load` as one: a cluster works off its backlog together."""
    loads = {answer.replica: json.loads(answer.body) for answer in answers}
    merged: dict[str, Any] = {name: _sum(loads.values(), name) for name in _SUMS if _has(loads.values(), name)}
    if _has(loads.values(), "backlog_seconds"):
        merged["backlog_seconds"] = round(_sum(loads.values(), "backlog_seconds") / len(loads), 3)
        merged["replicas"] = loads
    return json.dumps(merged, ensure_ascii=False, separators=(",", ":")).encode()


def _has(loads: Any, name: str) -> bool:
    return any(load.get(name) is not None for load in loads)


def _sum(loads: Any, name: str) -> Any:
    return sum(load.get(name) or 0 for load in loads)

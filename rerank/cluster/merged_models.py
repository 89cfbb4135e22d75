"""Models of all replicas: each model once, with where it is."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any

from rerank.cluster.calls import Answer

_SHOWN = ("state", "pinned", "bytes", "device", "last_used")
_NEARNESS = {"ready": 0, "draining": 1, "loading": 2, "absent": 3}
"""How near a model is to an answer, by its state."""

Info = Mapping[str, Any]


def merged_list(answers: Sequence[Answer]) -> bytes:
    """The answers to `GET /v1/models` as one."""
    lists = [(answer.replica, json.loads(answer.body)) for answer in answers]
    found: dict[str, list[tuple[str, Info]]] = {}
    for replica, listed in lists:
        for info in listed["data"]:
            found.setdefault(info["id"], []).append((replica, info))
    return _bytes(lists[0][1] | {"data": [_merged(infos) for infos in found.values()]})


def merged_model(answers: Sequence[Answer]) -> bytes:
    """The answers about one model as one."""
    return _bytes(_merged([(answer.replica, json.loads(answer.body)) for answer in answers]))


def _merged(infos: Sequence[tuple[str, Info]]) -> Info:
    """The model where it is nearest to an answer; with vLLM's fields alone there is nothing to add."""
    nearest = min((info for _, info in infos), key=lambda info: _NEARNESS.get(info.get("state", ""), 3))
    if "state" not in nearest:
        return nearest
    where = [
        {"replica": replica, **{name: info[name] for name in _SHOWN if name in info}}
        for replica, info in sorted(infos, key=lambda each: each[0])
        if info["state"] != "absent"
    ]
    return {**nearest, "replicas": where}


def _bytes(value: Any) -> bytes:
    return json.dumps(value, ensure_ascii=False, separators=(",", ":")).encode()

"""Answers that all replicas have a part in: metrics, models, load, readiness, and what an operator does to models."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace

from rerank.cluster.asking import Cluster, ask
from rerank.cluster.calls import Answer, Call
from rerank.cluster.merged_load import merged_load
from rerank.cluster.merged_metrics import merged_metrics
from rerank.cluster.merged_models import merged_list, merged_model
from rerank.cluster.wishes import MODELS, Reader, Wish
from rerank.core import Caller
from rerank.errors import InvalidRequest, OutOfOrder

_MODEL_LISTS = ("/v1/models", "/models")
_ALL = "all"
_MAX_REPLICAS = 1000

Merge = Callable[[Sequence[Answer]], bytes]


class Everywhere:
    """Requests that are not for one replica."""

    def __init__(self, cluster: Cluster, reader: Reader, own_metrics: Callable[[Caller], bytes]) -> None:
        """``own_metrics``: those of the process before the replicas."""
        self._cluster = cluster
        self._reader = reader
        self._own_metrics = own_metrics

    def answer(self, call: Call, caller: Caller) -> Awaitable[Answer] | None:
        """The answer to a request; None if one replica answers it alone."""
        path = call.path
        if call.scope["method"] == "POST" and path.startswith(MODELS):
            return self._administer(call, caller)
        if call.scope["method"] != "GET":
            return None
        if path in ("/health", "/ping"):
            return self._health(call)
        if path == "/ready":
            return self._ready(call)
        merge = self._merge(path, caller)
        return self._merged(call, merge) if merge else None

    def _merge(self, path: str, caller: Caller) -> Merge | None:
        if path == "/metrics":
            return lambda answers: merged_metrics(answers, self._own_metrics(caller))
        if path in _MODEL_LISTS:
            return merged_list
        if path.startswith(MODELS):
            return merged_model
        return merged_load if path == "/load" else None

    async def _merged(self, call: Call, merge: Merge) -> Answer:
        """One answer of all good ones."""
        answers = await self._answers(call)
        good = [answer for answer in answers if answer.status == 200]
        return _with_body(good[0], await asyncio.to_thread(merge, good)) if good else answers[0]

    async def _health(self, call: Call) -> Answer:
        if not self._cluster.names():
            raise OutOfOrder("there is no replica")
        wish = Wish()
        answer = await ask(self._cluster, wish, call)
        while answer.status != 200 and set(self._cluster.names()) - set(wish.tried):
            answer = await ask(self._cluster, wish, call)
        return answer

    async def _ready(self, call: Call) -> Answer:
        answers = await self._answers(call)
        return next((answer for answer in answers if answer.status == 200), answers[0])

    async def _answers(self, call: Call) -> Sequence[Answer]:
        answers = await self._cluster.ask_all(call)
        if not answers:
            raise OutOfOrder("no replica can be reached")
        return answers

    async def _administer(self, call: Call, caller: Caller) -> Answer:
        """Load a model on some replicas, one if nothing is said; unload or pin it on all, if nothing is said."""
        wish = await self._reader.wish(call, caller)
        count = _replicas(call.query.get("replicas"), default=1 if call.path.endswith("/load") else None)
        names = self._cluster.names()
        if count == 1:
            answers = [await ask(self._cluster, wish, call)]
        elif count is None or count >= len(names):
            answers = [*await self._answers(call)]
        else:
            answers = [*await self._on_several(wish, call, count)]
        wrong = next((answer for answer in answers if answer.status != 200), None)
        return wrong or _with_body(answers[0], merged_model(answers))

    async def _on_several(self, wish: Wish, call: Call, count: int) -> Sequence[Answer]:
        """One after another, because the next choice depends on the last: those that have the model come first."""
        answers: list[Answer] = []
        for _ in range(count):
            answer = await ask(self._cluster, replace(wish, tried=[each.replica for each in answers]), call)
            answers.append(answer)
            if answer.status != 200:
                break
        return answers


def _replicas(given: str | None, default: int | None) -> int | None:
    """The number of replicas asked for; None for all. Raises InvalidRequest."""
    if given is None:
        return default
    if given == _ALL:
        return None
    if given.isdecimal() and len(given) <= len(str(_MAX_REPLICAS)) and 1 <= int(given) <= _MAX_REPLICAS:
        return int(given)
    raise InvalidRequest(f"replicas: a number from 1 to {_MAX_REPLICAS}, or {_ALL}", param="replicas")


def _with_body(answer: Answer, body: bytes) -> Answer:
    others = tuple(header for header in answer.headers if header[0].lower() != b"content-length")
    return replace(answer, headers=(*others, (b"content-length", str(len(body)).encode())), body=body)

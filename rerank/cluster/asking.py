"""A request put to the cluster: sent again where that is safe, until there is one answer."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from dataclasses import replace
from typing import Protocol

from rerank.cluster.calls import Answer, Call
from rerank.cluster.wishes import Wish
from rerank.errors import OutOfOrder

logger = logging.getLogger(__name__)

MAX_TRIES = 3
_REFUSALS = frozenset({"Overloaded", "OutOfOrder", "ServerStopping"})
"""Errors of a replica that did nothing for the request, and that another replica may not have."""
_RETRY_AFTER = b"retry-after"


class ReplicaLost(Exception):
    """The replica ended, or could not be reached, before it had answered."""


class Cluster(Protocol):
    """The replicas."""

    def names(self) -> Sequence[str]:
        """Those that take requests."""
        ...

    async def ask(self, wish: Wish, call: Call) -> Answer:
        """The answer of the replica that is best for a wish, and was not tried. Raises ReplicaLost."""
        ...

    async def ask_all(self, call: Call) -> Sequence[Answer]:
        """The answers of all replicas that can be reached."""
        ...


async def ask(cluster: Cluster, wish: Wish, call: Call) -> Answer:
    """One answer. Raises OutOfOrder if every replica that was tried was lost.

    Scores depend on nothing but the request, and models can be loaded, unloaded and pinned twice, so every request may
    be sent again. The answer of a lost replica never arrives later.
    """
    refusals: list[Answer] = []
    for _ in range(MAX_TRIES):
        try:
            answer = await cluster.ask(wish, call)
        except ReplicaLost as error:
            logger.warning("a replica was lost before it had answered; the request is sent to another: %s", error)
            continue
        if answer.error not in _REFUSALS:
            return answer
        refusals.append(answer)
        if not set(cluster.names()) - set(wish.tried):
            break
    if refusals:
        return soonest(refusals)
    raise OutOfOrder(f"{MAX_TRIES} replicas were lost before they had answered")


def soonest(refusals: Sequence[Answer]) -> Answer:
    """One refusal for all: to be retried when the first replica has room, at its rate."""
    waits = [seconds for refusal in refusals if (seconds := _retry_after(refusal)) is not None]
    last = refusals[-1]
    if not waits:
        return last
    others = tuple(header for header in last.headers if header[0].lower() != _RETRY_AFTER)
    return replace(last, headers=(*others, (_RETRY_AFTER, str(min(waits)).encode())))


def _retry_after(answer: Answer) -> int | None:
    given = next((value for name, value in answer.headers if name.lower() == _RETRY_AFTER), b"")
    return int(given) if given.isdigit() else None

"""How much work may be in the house at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rerank.errors import Overloaded, ServerStopping


class Admission:
    """Counts documents. Belongs to the event loop's thread.

    Those that wait for a model to load are counted apart: however many there are, requests for models in memory get in.
    """

    def __init__(self, max_documents: int) -> None:
        self._max_documents = max_documents
        self.documents = 0
        """Documents in work now."""
        self.waiting = 0
        """Documents whose model is not in memory yet."""
        self.requests = 0
        """Requests in the house now."""
        self.closed = False
        """True once no request is let in any more."""
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self.closed = True

    async def drained(self) -> None:
        """Return once no request is in the house."""
        await self._idle.wait()

    @contextmanager
    def admit(self, documents: int, *, waiting: bool = False) -> Iterator[Place]:
        """Hold room for a request's documents while it is in the house.

        Raises Overloaded or ServerStopping before anything is done.

        A request alone is always let in, however large: there is nothing to wait for.
        """
        if self.closed:
            raise ServerStopping("The server is shutting down.")
        others = self.waiting if waiting else self.documents
        if others and others + documents > self._max_documents:
            doing = "wait for a model to load" if waiting else "are in work"
            raise Overloaded(
                f"The server is busy: {others} documents {doing}, at most {self._max_documents} may be. "
                "Try again shortly.",
                retry_after=1,
            )
        place = Place(self, documents, waiting=waiting)
        self._idle.clear()
        try:
            yield place
        finally:
            place.leave()
            if not self.requests:
                self._idle.set()


class Place:
    """The room one request holds."""

    def __init__(self, admission: Admission, documents: int, *, waiting: bool) -> None:
        self._admission = admission
        self._documents = documents
        self._waiting = waiting
        admission.requests += 1
        self._count(documents)

    def begin(self) -> None:
        """The request's model is in memory, its work begins."""
        self._count(-self._documents)
        self._waiting = False
        self._count(self._documents)

    def leave(self) -> None:
        """The request is over."""
        self._admission.requests -= 1
        self._count(-self._documents)

    def _count(self, documents: int) -> None:
        if self._waiting:
            self._admission.waiting += documents
        else:
            self._admission.documents += documents

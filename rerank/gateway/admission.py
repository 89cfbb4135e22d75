"""How much work may be in the house at once."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager

from rerank.errors import Overloaded, ServerStopping


class Admission:
    """Counts the documents in work. Belongs to the event loop's thread."""

    def __init__(self, max_documents: int) -> None:
        self._max_documents = max_documents
        self.documents = 0
        """Documents in work now."""
        self.requests = 0
        """Requests in work now."""
        self.closed = False
        """True once no request is let in any more."""
        self._idle = asyncio.Event()
        self._idle.set()

    def close(self) -> None:
        """Let nobody in any more; who is in stays."""
        self.closed = True

    async def drained(self) -> None:
        """Return once no request is in work."""
        await self._idle.wait()

    @contextmanager
    def admit(self, documents: int) -> Iterator[None]:
        """Hold room for a request's documents while it is in work.

        Raises Overloaded or ServerStopping before anything is done.

        A request alone in the house is always let in, however large: there is nothing to wait for.
        """
        if self.closed:
            raise ServerStopping("The server is shutting down.")
        if self.documents and self.documents + documents > self._max_documents:
            raise Overloaded(
                f"The server is busy: {self.documents} documents are in work, at most {self._max_documents} may be. "
                "Try again shortly.",
                retry_after=1,
            )
        self.documents += documents
        self.requests += 1
        self._idle.clear()
        try:
            yield
        finally:
            self.documents -= documents
            self.requests -= 1
            if not self.requests:
                self._idle.set()

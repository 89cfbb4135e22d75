"""How much work may be in the house at once."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager

from rerank.errors import Overloaded


class Admission:
    """Counts the documents in work. Belongs to the event loop's thread."""

    def __init__(self, max_documents: int) -> None:
        self._max_documents = max_documents
        self.documents = 0
        """Documents in work now."""
        self.requests = 0
        """Requests in work now."""

    @contextmanager
    def admit(self, documents: int) -> Iterator[None]:
        """Hold room for a request's documents while it is in work. Raises Overloaded before anything is done.

        A request alone in the house is always let in, however large: there is nothing to wait for.
        """
        if self.documents and self.documents + documents > self._max_documents:
            raise Overloaded(
                f"The server is busy: {self.documents} documents are in work, at most {self._max_documents} may be. "
                "Try again shortly.",
                retry_after=1,
            )
        self.documents += documents
        self.requests += 1
        try:
            yield
        finally:
            self.documents -= documents
            self.requests -= 1

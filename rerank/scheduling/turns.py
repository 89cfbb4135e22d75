"""The order in which requests have their texts tokenised. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections import Counter, defaultdict

from rerank.scheduling.sharing import EqualSharing


class Reader:
    """A request whose texts are tokenised part by part."""

    def __init__(self, caller: str, turn: float) -> None:
        self.caller = caller
        self.turn = turn
        """Its order within its caller's requests, lowest first."""


class Turns:
    """Requests with texts to tokenise. Callers take turns; within a caller, the order is that of equal sharing.

    So a short request never waits for the end of a long one, and more requests do not mean a larger share.
    """

    def __init__(self) -> None:
        self._served: Counter[str] = Counter()
        """Characters read per caller with requests."""
        self._here: Counter[str] = Counter()
        """Requests per caller."""
        self._sharing: defaultdict[str, EqualSharing] = defaultdict(EqualSharing)
        self._waiting: list[Reader] = []

    def enter(self, caller: str, characters: int) -> Reader:
        """Add a request with its number of characters.

        A caller without requests starts at the count of the least served caller: idle time earns no credit.
        """
        if not self._here[caller]:
            self._served[caller] = min((self._served[other] for other in +self._here), default=0)
        self._here[caller] += 1
        return Reader(caller, self._sharing[caller].enter(characters))

    def wait(self, reader: Reader) -> None:
        """Queue the request for its next part."""
        self._waiting.append(reader)

    def next(self) -> Reader | None:
        """Take the next request off the queue; None if none waits."""
        reader = min(self._waiting, key=lambda one: (self._served[one.caller], one.turn), default=None)
        if reader:
            self._waiting.remove(reader)
        return reader

    def note(self, reader: Reader, characters: int) -> None:
        """Count characters read for a request."""
        self._served[reader.caller] += characters
        self._sharing[reader.caller].serve(characters)

    def leave(self, reader: Reader) -> None:
        """Remove a request: it is done, or its client disconnected."""
        if reader in self._waiting:
            self._waiting.remove(reader)
        self._sharing[reader.caller].leave(reader.turn)
        self._here[reader.caller] -= 1
        if not self._here[reader.caller]:
            del self._here[reader.caller], self._served[reader.caller], self._sharing[reader.caller]

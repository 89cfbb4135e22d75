"""Whose turn it is to have texts read. Pure: no threads, no clock, no tensors."""

from __future__ import annotations

from collections import Counter, defaultdict

from rerank.scheduling.sharing import EqualSharing


class Reader:
    """A request whose texts are read, part by part."""

    def __init__(self, caller: str, turn: float) -> None:
        self.caller = caller
        self.turn = turn
        """When it is its turn among its caller's, lowest first."""


class Turns:
    """The requests that have texts to read. Callers take turns; of a caller the one that equal sharing would end first.

    A short request so never waits for the end of a long one, and a caller gets no more by asking more often.
    """

    def __init__(self) -> None:
        self._served: Counter[str] = Counter()
        """Characters read for each caller that is here."""
        self._here: Counter[str] = Counter()
        """Requests of each caller."""
        self._sharing: defaultdict[str, EqualSharing] = defaultdict(EqualSharing)
        self._waiting: list[Reader] = []

    def enter(self, caller: str, characters: int) -> Reader:
        """A request with so many characters comes.

        A caller that had none here starts from what the least served of the others got: time in which it asked for
        nothing is no credit.
        """
        if not self._here[caller]:
            self._served[caller] = min((self._served[other] for other in +self._here), default=0)
        self._here[caller] += 1
        return Reader(caller, self._sharing[caller].enter(characters))

    def wait(self, reader: Reader) -> None:
        """The request wants its next part read."""
        self._waiting.append(reader)

    def next(self) -> Reader | None:
        """Take the request whose turn it is out of those that wait; None if none does."""
        reader = min(self._waiting, key=lambda one: (self._served[one.caller], one.turn), default=None)
        if reader:
            self._waiting.remove(reader)
        return reader

    def note(self, reader: Reader, characters: int) -> None:
        """So many characters were read for a request."""
        self._served[reader.caller] += characters
        self._sharing[reader.caller].serve(characters)

    def leave(self, reader: Reader) -> None:
        """A request is done, or its caller has left."""
        if reader in self._waiting:
            self._waiting.remove(reader)
        self._sharing[reader.caller].leave(reader.turn)
        self._here[reader.caller] -= 1
        if not self._here[reader.caller]:
            del self._here[reader.caller], self._served[reader.caller], self._sharing[reader.caller]

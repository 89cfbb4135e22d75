"""The tokens of words or texts that were read last."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from sys import getsizeof

_SLOT = 140
"""Bytes of an entry's part of a table, at most: of one that has just grown."""


class KeptTokens:
    """Words or texts with their token ids, as bytes. Any thread may use it."""

    def __init__(self, room: int) -> None:
        """``room``: bytes after which those give way that were not asked for again while as many came."""
        self._new: dict[str, bytes] = {}
        self._old: dict[str, bytes] = {}
        self._all_room = self._room = room

    def ids(self, texts: Sequence[str]) -> list[bytes | None]:
        """Tokens of each; None for one that is not kept."""
        found = list(map(self._new.get, texts))
        if self._old and None in found and (again := self._from_before(texts, found)):
            return [again.get(text) if ids is None else ids for text, ids in zip(texts, found, strict=True)]
        return found

    def keep(self, found: Mapping[str, bytes]) -> None:
        """Keep these, in place of all that were not asked for since room was made last."""
        new = self._new
        self._room -= sum([getsizeof(text) + getsizeof(ids) + _SLOT for text, ids in found.items() if text not in new])
        new.update(found)
        if self._room < 0:
            self._new, self._old, self._room = {}, new, self._all_room

    def _from_before(self, texts: Sequence[str], found: Sequence[bytes | None]) -> dict[str, bytes]:
        """Those that were not asked for since room was made last, which they are now."""
        old = self._old
        again = {text: old[text] for text, ids in zip(texts, found, strict=True) if ids is None and text in old}
        self.keep(again)
        return again

"""Rows of token ids that are kept, put together, compared and laid out without an object for each id."""

from __future__ import annotations

from array import array
from collections.abc import Iterable, Iterator, Sequence
from typing import overload

import numpy

BYTES = 4
"""Of each id."""


class Ids(Sequence[int]):
    """Token ids as 32-bit numbers, end to end. Hashable."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes = b"") -> None:
        self.raw = raw

    @classmethod
    def of(cls, ids: Iterable[int]) -> Ids:
        """These ids."""
        return ids if isinstance(ids, Ids) else cls(array("i", ids).tobytes())

    @property
    def numbers(self) -> numpy.ndarray:
        """int32, of shape (tokens); read only."""
        return numpy.frombuffer(self.raw, numpy.int32)

    def __len__(self) -> int:
        return len(self.raw) // BYTES

    @overload
    def __getitem__(self, place: int) -> int: ...
    @overload
    def __getitem__(self, place: slice) -> Ids: ...
    def __getitem__(self, place: int | slice) -> int | Ids:
        found = self.numbers[place]
        return Ids(found.tobytes()) if isinstance(found, numpy.ndarray) else int(found)

    def __iter__(self) -> Iterator[int]:
        return iter(self.numbers.tolist())

    def __contains__(self, token: object) -> bool:
        return bool((self.numbers == token).any())

    def __add__(self, behind: Ids) -> Ids:
        return Ids(self.raw + behind.raw)

    def __mul__(self, times: int) -> Ids:
        return Ids(self.raw * times)

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Ids) and self.raw == other.raw

    def __hash__(self) -> int:
        return hash(self.raw)

    def __repr__(self) -> str:
        return f"Ids.of({[*self]})"

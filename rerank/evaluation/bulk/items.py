"""Pieces of a file to be ranked, and the contract of its formats. Pure."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, Protocol

from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked
from rerank.evaluation.reading.lines import DataError, Line

Lines = Iterator[Line | DataError]


@dataclass(frozen=True, slots=True)
class Choices:
    """What a run asks for, unless a line says otherwise."""

    model: str
    """Id of the model, for the output."""
    top_n: int | None = None
    asked: Asked = DEFAULT_ASKED
    most_documents: int = 5000
    """Maximum documents per request."""
    documents_too: bool = False
    """True writes the documents into the results."""


@dataclass(frozen=True, slots=True)
class Item:
    """A query and its documents, or the reason why they cannot be asked for."""

    key: str
    """Recognises the item in an output."""
    source: Any
    """What its format writes it from."""
    query: str = ""
    documents: tuple[str, ...] = ()
    top_n: int | None = None
    asked: Asked = DEFAULT_ASKED
    error: str = ""


Outcome = Ranked | str
"""An answer, or an error."""


@dataclass(frozen=True, slots=True)
class Done:
    """What an interrupted output holds."""

    offset: int = 0
    """Bytes of its whole items."""
    items: int | None = 0
    """How many; None where those that failed are not in the output."""
    key: str = ""
    """Of the last one."""


class Format(Protocol):
    """A format of input and output."""

    def items(self, lines: Lines) -> Iterator[Item]:
        """The items of an input. Raises DataError where none can be told any more."""
        ...

    @property
    def head(self) -> str:
        """What an output begins with, known when the first item is."""
        ...

    def rendered(self, item: Item, outcome: Outcome) -> str:
        """An item of the output."""
        ...

    def done(self, output: IO[bytes]) -> Done:
        """The whole items of an interrupted output."""
        ...


def left(items: Iterator[Item], done: Done) -> Iterator[Item]:
    """The items after those that are done. Raises DataError if those are not of this input."""
    if done.offset:
        numbered = enumerate(items, start=1)
        last = next(
            (item for place, item in numbered if place == done.items or (done.items is None and item.key == done.key)),
            None,
        )
        if last is None or last.key != done.key:
            raise DataError("the interrupted output is of another input; remove it, or add --force")
    yield from items


def best(item: Item, ranked: Ranked) -> tuple[int, ...]:
    """Indices of the documents to write, the best first."""
    return ranked.order[: item.top_n]

"""CSV: a row per pair with ``query`` and ``document``; rows of one query that follow each other are a request."""

from __future__ import annotations

import csv
import io
from collections.abc import Iterable, Iterator, Sequence
from itertools import groupby, islice
from typing import IO

from rerank.evaluation.bulk.items import Choices, Done, Item, Lines, Outcome, best
from rerank.evaluation.reading.csv_rows import Row, even, heading_of, rows_of
from rerank.evaluation.reading.lines import readable

_QUERY, _DOCUMENT, _ID = "query", "document", "query_id"
_ADDED = ("relevance_score", "rank", "error")


class CsvPairs:
    """See ``Format``. All columns are kept; ``relevance_score``, ``rank`` and ``error`` are added."""

    def __init__(self, choices: Choices) -> None:
        self._choices = choices
        self._names: list[str] = []

    def items(self, lines: Lines) -> Iterator[Item]:
        """See ``Format.items``."""
        # what follows a broken line may be part of a cell
        rows = rows_of(readable(lines))
        heading = heading_of(rows)
        if heading is None:
            return
        self._names = heading.cells
        if missing := [name for name in (_QUERY, _DOCUMENT) if name not in self._names]:
            raise heading.line.wrong(f"no column {' and no column '.join(missing)}; there is {', '.join(self._names)}")
        for _, group in groupby(even(rows, len(self._names)), key=lambda row: _key(self._names, row.cells)):
            yield self._item(list(islice(group, self._choices.most_documents + 1)))

    def _item(self, rows: Sequence[Row]) -> Item:
        if len(rows) > self._choices.most_documents:
            raise rows[-1].line.wrong(f"more than {self._choices.most_documents} documents of one query")
        query, document = self._names.index(_QUERY), self._names.index(_DOCUMENT)
        return Item(
            _key(self._names, rows[0].cells),
            [row.cells for row in rows],
            rows[0].cells[query],
            tuple(row.cells[document] for row in rows),
            self._choices.top_n,
            self._choices.asked,
        )

    @property
    def head(self) -> str:
        """See ``Format.head``."""
        return _text([[*self._kept(self._names), *_ADDED]]) if self._names else ""

    def _kept(self, cells: Sequence[str]) -> list[str]:
        return [cell for name, cell in zip(self._names, cells, strict=True) if name not in _ADDED]

    def rendered(self, item: Item, outcome: Outcome) -> str:
        """See ``Format.rendered``: rows in the order of the input."""
        rows: list[list[str]] = item.source
        if isinstance(outcome, str):
            return _text([*self._kept(cells), "", "", outcome] for cells in rows)
        ranks = {place: rank for rank, place in enumerate(best(item, outcome), start=1)}
        return _text(
            [*self._kept(rows[place]), repr(outcome.relevance[place]), str(ranks[place]), ""] for place in sorted(ranks)
        )

    def done(self, output: IO[bytes]) -> Done:
        """See ``Format.done``: of the last query rows may be missing, so it counts as not done."""
        rows = _rows_at(output)
        _, names = next(rows, (0, []))
        done, last = Done(), None
        for offset, cells in rows:
            key = _key(names, cells)
            if last is not None and key != last:
                done = Done(offset, (done.items or 0) + 1, last)
            last = key
        return done


def _key(names: Sequence[str], cells: Sequence[str]) -> str:
    """The query, with its id where there is a column of them."""
    return "\0".join(cell for name, cell in zip(names, cells, strict=False) if name in (_QUERY, _ID))


def _rows_at(output: IO[bytes]) -> Iterator[tuple[int, list[str]]]:
    """The whole rows of an output, each with the place where it begins."""
    read = 0

    def texts() -> Iterator[str]:
        nonlocal read
        for line in output:
            if not line.endswith(b"\n"):
                return
            read += len(line)
            yield line.decode()

    began = 0
    reader = csv.reader(texts(), strict=True)
    try:
        for cells in reader:
            yield began, cells
            began = read
    except csv.Error:
        # the last row breaks off within a cell
        return


def _text(rows: Iterable[Sequence[str]]) -> str:
    text = io.StringIO()
    csv.writer(text, lineterminator="\n").writerows(rows)
    return text.getvalue()

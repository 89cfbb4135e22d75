"""Rows of CSV, whose cells may hold line breaks."""

from __future__ import annotations

import csv
from collections import Counter
from collections.abc import Iterable, Iterator
from typing import NamedTuple

from rerank.evaluation.reading.lines import LONGEST_LINE, DataError, Line, shown


class Row(NamedTuple):
    """A row that is not empty."""

    line: Line
    """Its last line, without the text."""
    cells: list[str]


def rows_of(lines: Iterable[Line]) -> Iterator[Row]:
    """The rows of lines with their ends. Raises DataError."""
    csv.field_size_limit(LONGEST_LINE)
    current = None

    def texts() -> Iterator[str]:
        nonlocal current
        for line in lines:
            current = line._replace(text="")
            yield line.text

    try:
        for cells in csv.reader(texts(), strict=True):
            if cells and current is not None:
                yield Row(current, cells)
    except csv.Error as error:
        raise (current.wrong(str(error)) if current else DataError(str(error))) from error


def heading_of(rows: Iterator[Row]) -> Row | None:
    """The first row, which names the columns; None if there is none. Raises DataError for two of one name."""
    heading = next(rows, None)
    if heading and (twice := next((name for name, count in Counter(heading.cells).items() if name and count > 1), "")):
        raise heading.line.wrong(f"two columns have the name {shown(twice)}")
    return heading


def even(rows: Iterable[Row], columns: int) -> Iterator[Row]:
    """The rows. Raises DataError for one with another number of cells than the heading."""
    for row in rows:
        if len(row.cells) != columns:
            raise row.line.wrong(f"{len(row.cells)} cells; the heading has {columns}")
        yield row

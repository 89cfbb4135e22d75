"""Judgements (qrels): of BEIR, with a header and three columns, or of TREC, with four."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import NamedTuple

from rerank.evaluation.reading.lines import DataError, Line, grade_of, identifier, lines_of, shown

_BEIR, _TREC = 3, 4
"""Columns."""


class Judgement(NamedTuple):
    """The grade of a document for a query."""

    line: Line
    query: str
    document: str
    grade: int


def judgements_of(path: Path) -> Iterator[Judgement]:
    """The judgements of a file. Raises DataError."""
    for place, line in enumerate(lines_of(path)):
        columns = line.text.split("\t") if "\t" in line.text else line.text.split()
        if place == 0 and columns[0].strip().lower() in ("query-id", "query_id", "qid"):
            continue
        if len(columns) not in (_BEIR, _TREC):
            raise line.wrong(f"{len(columns)} columns; query, document and grade are 3 (BEIR) or 4 (TREC)")
        yield Judgement(
            line,
            identifier(columns[0], line, "the query's id"),
            identifier(columns[-2], line, "the document's id"),
            grade_of(columns[-1].strip(), line, "the grade"),
        )


def read_judgements(path: Path) -> dict[str, dict[str, int]]:
    """Grades by query and document. Raises DataError, also where a document is judged twice, or none is."""
    grades: dict[str, dict[str, int]] = {}
    for line, query, document, grade in judgements_of(path):
        judged = grades.setdefault(query, {})
        if document in judged:
            raise line.wrong(f"document {shown(document)} of query {shown(query)} is judged here for the second time")
        judged[document] = grade
    if not grades:
        raise DataError(f"{path}: holds no judgement")
    return grades

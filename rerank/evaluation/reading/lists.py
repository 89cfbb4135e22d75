"""Lists of documents with their query.

JSONL or CSV of ``{query, documents, relevances}``, or CSV with a row per pair.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank.evaluation.collection import Collection
from rerank.evaluation.reading.csv_rows import even, heading_of, rows_of
from rerank.evaluation.reading.lines import (
    DataError,
    Line,
    grade_of,
    identifier,
    records_of,
    shown,
    text_lines,
    text_of,
)
from rerank.evaluation.reading.wanted import Wanted
from rerank.text_file import UnfitFile, parse_json

LIST_FORMATS = {".jsonl": "jsonl", ".ndjson": "jsonl", ".csv": "csv"}
"""Formats by suffix."""
_IDS = ("id", "_id", "query_id")


@dataclass(frozen=True, slots=True)
class _Asked:
    """A query with its documents, and their grades if they have any."""

    line: Line
    id: str
    query: str
    documents: list[str]
    grades: list[int]

    def names(self) -> list[str]:
        return [f"{self.id}.{place}" for place, _ in enumerate(self.documents, start=1)]


def read_lists(path: Path, wanted: Wanted) -> Collection:
    """The collection in a file, whose order of documents is the first stage's. Raises DataError."""
    asked: dict[str, _Asked] = {}
    for entry in _from_csv(path) if LIST_FORMATS[path.suffix.lower()] == "csv" else _from_jsonl(path):
        if entry.id in asked:
            raise entry.line.wrong(f"the query's id {shown(entry.id)} stands here for the second time")
        asked[entry.id] = entry
    if not asked:
        raise DataError(f"{path}: holds no query")
    able = [name for name, entry in asked.items() if entry.grades or not wanted.judged]
    if not able:
        raise DataError(f"{path}: no query has relevances")
    candidates = wanted.of({name: tuple(asked[name].names()) for name in able})
    return _collection(path.stem, [asked[name] for name in candidates], candidates)


def _collection(name: str, asked: list[_Asked], candidates: Mapping[str, tuple[str, ...]]) -> Collection:
    return Collection(
        name=name,
        queries={entry.id: entry.query for entry in asked},
        documents={
            document: text for entry in asked for document, text in zip(entry.names(), entry.documents, strict=True)
        },
        candidates=candidates,
        grades={entry.id: dict(zip(entry.names(), entry.grades, strict=True)) for entry in asked if entry.grades},
    )


def _from_jsonl(path: Path) -> Iterator[_Asked]:
    for line, record in records_of(path):
        yield _asked(line, record, record.get("documents"), record.get("relevances"))


def _from_csv(path: Path) -> Iterator[_Asked]:
    rows = rows_of(text_lines(path))
    heading = heading_of(rows)
    if heading is None:
        raise DataError(f"{path}: holds no query")
    line, names = heading
    records = ((at, dict(zip(names, cells, strict=False))) for at, cells in even(rows, len(names)))
    if "documents" in names and "query" in names:
        for at, record in records:
            yield _asked(at, record, _cell(at, record, "documents"), _cell(at, record, "relevances"))
    elif "document" in names and "query" in names:
        yield from _grouped(records)
    else:
        raise line.wrong(f"the columns must be query and documents, or query and document; they are {', '.join(names)}")


def _cell(line: Line, record: Mapping[str, str], name: str) -> Any:
    """The list in a cell, which is JSON; None for an empty one."""
    if not record.get(name):
        return None
    try:
        return parse_json(record[name])
    except UnfitFile as error:
        raise line.wrong(f"{name} {error}") from error


def _grouped(records: Iterator[tuple[Line, dict[str, str]]]) -> Iterator[_Asked]:
    """Queries of rows with a pair each, in the order of their first rows."""
    groups: dict[str, list[tuple[Line, dict[str, str]]]] = {}
    for line, record in records:
        name = next((record[name] for name in _IDS if name in record), record["query"])
        group = groups.setdefault(name, [])
        group.append((line, record))
        if record["query"] != group[0][1]["query"]:
            raise line.wrong(f"the id {shown(name)} stands here with another query")
    for rows in groups.values():
        judged = any(record.get("relevance") for _, record in rows)
        grades = [grade_of(record["relevance"], line, "relevance") for line, record in rows] if judged else None
        yield _asked(*rows[0], [record["document"] for _, record in rows], grades)


def texts_in(line: Line, query: Any, documents: Any) -> tuple[str, list[str]]:
    """Query and documents, which may be objects with a ``text``. Raises DataError."""
    if not isinstance(documents, list) or not documents:
        raise line.wrong("documents must be a list with at least one text")
    texts = [_document(document, line, place) for place, document in enumerate(documents)]
    return text_of(query, line, "query"), texts


def _asked(line: Line, record: Mapping[str, Any], documents: Any, grades: Any) -> _Asked:
    query, texts = texts_in(line, record.get("query"), documents)
    if grades is not None and (not isinstance(grades, list) or len(grades) != len(texts)):
        raise line.wrong(f"relevances must be a list of {len(texts)} grades, one per document")
    named = next((record[name] for name in _IDS if name in record), line.number)
    return _Asked(
        line,
        identifier(named, line, "the id"),
        query,
        texts,
        [grade_of(grade, line, f"relevances[{place}]") for place, grade in enumerate(grades or ())],
    )


def _document(value: Any, line: Line, place: int) -> str:
    """The text, alone or as the field ``text``."""
    return text_of(value.get("text") if isinstance(value, dict) else value, line, f"documents[{place}]")

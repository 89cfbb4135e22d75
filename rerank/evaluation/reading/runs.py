"""Runs of a first stage: TREC's six columns, or JSON with the documents of each query."""

from __future__ import annotations

from collections.abc import Collection, Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

from rerank.evaluation.reading.lines import DataError, Line, identifier, lines_of, opened, score_of, shown
from rerank.text_file import UnfitFile, parse_json

_COLUMNS = 6
_LARGEST_JSON = 1024**3
"""Bytes of a run in JSON, which is read whole."""
_WHOLE_FILE = 1
"""Line that stands for a whole file."""


class Candidate(NamedTuple):
    """A document of a run."""

    line: Line
    query: str
    document: str
    score: float


def candidates_of(path: Path) -> Iterator[Candidate]:
    """The documents of a run, in the order of the file. Raises DataError."""
    return _from_json(path) if path.suffix.lower() == ".json" else _from_trec(path)


def read_run(path: Path, wanted: Collection[str] | None) -> dict[str, tuple[str, ...]]:
    """The documents of each wanted query, or of all, the best first. Raises DataError."""
    found: dict[str, dict[str, float]] = {}
    for line, query, document, score in candidates_of(path):
        if wanted is None or query in wanted:
            scores = found.setdefault(query, {})
            if document in scores:
                raise line.wrong(f"document {shown(document)} of query {shown(query)} stands here a second time")
            scores[document] = score
    return {query: _best(scores) for query, scores in found.items()}


def _best(scores: Mapping[str, float]) -> tuple[str, ...]:
    """Equal scores stay in the order of the file."""
    return tuple(sorted(scores, key=scores.__getitem__, reverse=True))


def _from_trec(path: Path) -> Iterator[Candidate]:
    return map(candidate_in, lines_of(path))


def candidate_in(line: Line) -> Candidate:
    """The document on a line of TREC's six columns. Raises DataError."""
    columns = line.text.split()
    if len(columns) != _COLUMNS:
        raise line.wrong(f"{len(columns)} columns; a run has 6: query, Q0, document, rank, score, name")
    return Candidate(line, columns[0], columns[2], score_of(columns[4], line, "the score"))


def _from_json(path: Path) -> Iterator[Candidate]:
    """``{query: [document, ...]}``, the best first, or ``{query: {document: score}}``."""
    with opened(path) as file:
        content = file.read(_LARGEST_JSON + 1)
    line = Line(path, _WHOLE_FILE, "")
    if len(content) > _LARGEST_JSON:
        raise DataError(f"{path}: is larger than {_LARGEST_JSON // 1024**3} GiB")
    try:
        run = parse_json(content)
    except UnfitFile as error:
        raise DataError(f"{path}: {error}") from error
    if not isinstance(run, dict):
        raise line.wrong("is not a JSON object of queries")
    for query, documents in run.items():
        yield from _of_query(line, query, documents)


def _of_query(line: Line, query: str, documents: Any) -> Iterator[Candidate]:
    if isinstance(documents, list):
        documents = {
            place: (identifier(document, line, f"document {place} of query {query}"), -place)
            for place, document in enumerate(documents)
        }
    elif isinstance(documents, dict):
        documents = {document: (document, score) for document, score in documents.items()}
    else:
        raise line.wrong(f"query {shown(query)} has neither a list of documents nor their scores")
    for document, score in documents.values():
        yield Candidate(line, query, document, score_of(score, line, f"the score of {document} for query {query}"))

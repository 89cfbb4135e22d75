"""A folder of queries, documents, judgements and a run: BEIR's, TREC's, or files of both that options name."""

from __future__ import annotations

import logging
from collections.abc import Collection as Group
from collections.abc import Iterable, Mapping
from pathlib import Path

from rerank.evaluation.collection import Collection
from rerank.evaluation.first_stage import first_stage
from rerank.evaluation.reading.judgements import Judgement, judgements_of, read_judgements
from rerank.evaluation.reading.lines import DataError, shown
from rerank.evaluation.reading.runs import Candidate, candidates_of, read_run
from rerank.evaluation.reading.texts import texts_by_id, texts_of
from rerank.evaluation.reading.wanted import Files, Wanted

logger = logging.getLogger(__name__)

_QUERIES = ("queries.jsonl", "queries.tsv")
_DOCUMENTS = ("corpus.jsonl", "corpus.tsv", "collection.tsv", "documents.tsv")
_JUDGEMENTS = ("qrels/test.tsv", "qrels.tsv", "qrels.txt")
_RUNS = ("run*", "*.run")
_BM25_DEPTH = 100
"""Candidates per query, unless their number is given."""


def read_folder(folder: Path, files: Files, wanted: Wanted) -> Collection:
    """The collection in a folder. Raises DataError."""
    return _Folder(folder, files, wanted).collection()


class _Folder:
    def __init__(self, folder: Path, files: Files, wanted: Wanted) -> None:
        self._name = folder.resolve().name
        self._wanted = wanted
        self._queries = files.queries or _needed(folder, _QUERIES, "queries", "--queries")
        self._documents = files.documents or _needed(folder, _DOCUMENTS, "documents", "--corpus")
        self._judgements = files.judgements or _first(folder, _JUDGEMENTS)
        self._run = files.run or _run_in(folder)
        if wanted.judged and not self._judgements:
            self._judgements = _needed(folder, _JUDGEMENTS, "judgements", "--qrels")

    def collection(self) -> Collection:
        texts = texts_by_id(self._queries)
        grades = self._grades(texts)
        candidates = self._from_run(self._run, grades, texts) if self._run else self._from_bm25(grades, texts)
        relevant = {document for query in candidates for document, grade in grades.get(query, {}).items() if grade > 0}
        return Collection(
            name=self._name,
            queries={query: texts[query] for query in candidates},
            documents=self._texts_of(candidates, relevant),
            candidates=candidates,
            grades={query: grades[query] for query in candidates if query in grades},
        )

    def _grades(self, texts: Mapping[str, str]) -> dict[str, dict[str, int]]:
        if not self._judgements:
            return {}
        grades = read_judgements(self._judgements)
        self._check_queries(judgements_of(self._judgements), grades, texts)
        return grades

    def _from_run(self, run: Path, grades: Group[str], texts: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        found = read_run(run, grades if self._wanted.judged else None)
        if not found:
            raise DataError(f"{run}: holds no document" + (" for a judged query" if self._wanted.judged else ""))
        self._check_queries(candidates_of(run), found, texts)
        if self._wanted.judged and (left_out := len(grades) - len(found)):
            logger.warning("%s has no candidates for %d of %d judged queries: left out", run, left_out, len(grades))
        return self._wanted.of(found)

    def _from_bm25(self, grades: Group[str], texts: Mapping[str, str]) -> Mapping[str, tuple[str, ...]]:
        asked = self._wanted.of(dict.fromkeys(grades if self._wanted.judged else texts, ()))
        documents = ((name, text) for _, name, text in texts_of(self._documents))
        found = first_stage(documents, {query: texts[query] for query in asked}, self._wanted.depth or _BM25_DEPTH)
        if not any(found.values()):
            raise DataError(f"{self._documents}: holds no document" if found else f"{self._queries}: holds no query")
        return found

    def _check_queries(
        self, rows: Iterable[Judgement | Candidate], asked: Group[str], texts: Mapping[str, str]
    ) -> None:
        """Raise DataError at the first row of a query without a text."""
        if missing := {query for query in asked if query not in texts}:
            row = next(row for row in rows if row.query in missing)
            raise row.line.wrong(f"query {shown(row.query)} has no text in {self._queries}")

    def _texts_of(self, candidates: Mapping[str, tuple[str, ...]], relevant: Group[str]) -> dict[str, str]:
        """Texts of the candidates and of the relevant documents, which may be missing unless all are."""
        wanted = {document for documents in candidates.values() for document in documents}
        found = texts_by_id(self._documents, wanted.union(relevant))
        if relevant and found.keys().isdisjoint(relevant):
            raise DataError(f"{self._documents}: holds none of the relevant documents of {self._judgements}")
        if self._run and (missing := wanted - found.keys()):
            rows = (row for row in candidates_of(self._run) if row.query in candidates and row.document in missing)
            row = next(rows)
            raise row.line.wrong(f"document {shown(row.document)} has no text in {self._documents}")
        return found


def _first(folder: Path, names: tuple[str, ...]) -> Path | None:
    return next((folder / name for name in names if (folder / name).is_file()), None)


def _needed(folder: Path, names: tuple[str, ...], what: str, option: str) -> Path:
    found = _first(folder, names)
    if found is None:
        raise DataError(f"{folder}: no {what}; there is none of {', '.join(names)}; name the file with {option}")
    return found


def _run_in(folder: Path) -> Path | None:
    """The only run of the folder, if there is one. Raises DataError where there are more."""
    found = sorted({path for name in _RUNS for path in folder.glob(name) if path.is_file()})
    if len(found) > 1:
        raise DataError(f"{folder}: several runs ({', '.join(path.name for path in found)}); name one with --run")
    return found[0] if found else None

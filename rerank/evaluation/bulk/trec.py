"""TREC runs: six columns, the documents of a query one after another; texts come from files of their own."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from itertools import groupby, islice
from typing import IO

from rerank.evaluation.bulk.items import Choices, Done, Item, Lines, Outcome, best
from rerank.evaluation.reading.lines import filled, readable, shown
from rerank.evaluation.reading.runs import Candidate, candidate_in

Texts = Callable[[str], str | None]
"""The text of an id."""


class TrecRun:
    """See ``Format``. A run has no room for errors: a query that failed is not in the output."""

    head = ""

    def __init__(self, choices: Choices, queries: Texts, documents: Texts) -> None:
        self._choices = choices
        self._queries = queries
        self._documents = documents
        self._name = "-".join(choices.model.split())

    def items(self, lines: Lines) -> Iterator[Item]:
        """See ``Format.items``."""
        candidates = (candidate_in(line) for line in filled(readable(lines)))
        seen: set[str] = set()
        for query, group in groupby(candidates, key=lambda candidate: candidate.query):
            rows = list(islice(group, self._choices.most_documents + 1))
            if query in seen:
                raise rows[0].line.wrong(f"query {shown(query)} stands here for the second time, after others")
            seen.add(query)
            if len(rows) > self._choices.most_documents:
                raise rows[-1].line.wrong(f"more than {self._choices.most_documents} documents of one query")
            yield self._item(query, rows)

    def _item(self, name: str, rows: Sequence[Candidate]) -> Item:
        query = self._queries(name)
        if query is None:
            return Item(name, (), error=str(rows[0].line.wrong(f"query {shown(name)} has no text")))
        documents = [self._documents(row.document) for row in rows]
        for row, document in zip(rows, documents, strict=True):
            if document is None:
                return Item(name, (), error=str(row.line.wrong(f"document {shown(row.document)} has no text")))
        texts = tuple(document for document in documents if document is not None)
        names = tuple(row.document for row in rows)
        return Item(name, names, query, texts, self._choices.top_n, self._choices.asked)

    def rendered(self, item: Item, outcome: Outcome) -> str:
        """See ``Format.rendered``."""
        if isinstance(outcome, str):
            return ""
        return "".join(
            f"{item.key} Q0 {item.source[place]} {rank} {outcome.relevance[place]!r} {self._name}\n"
            for rank, place in enumerate(best(item, outcome), start=1)
        )

    def done(self, output: IO[bytes]) -> Done:
        """See ``Format.done``: of the last query documents may be missing, so it counts as not done."""
        offset, done, last = 0, Done(), ""
        # of a line that breaks off not even the query is known
        for line in (line for line in output if line.endswith(b"\n")):
            query = line.split()[0].decode()
            if query != last:
                done, last = Done(offset, None, last), query
            offset += len(line)
        return done

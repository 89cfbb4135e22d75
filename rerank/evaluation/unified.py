"""A collection as models read it whose card has ``normalize = "nfkc"``."""

from __future__ import annotations

from dataclasses import replace

from rerank.evaluation.collection import Collection
from rerank.evaluation.reading.lines import DataError, shown
from rerank.normalising import UnfitText, normalised


def unified(collection: Collection) -> Collection:
    """The queries that read differently, or have candidates that do, with all their texts normalised.

    Raises DataError for a text that cannot be.
    """
    queries = {query: _normalised(collection.queries[query], "query", query) for query in collection.candidates}
    documents = {name: _normalised(text, "document", name) for name, text in collection.documents.items()}
    changed = {name for name, text in documents.items() if text != collection.documents[name]}
    candidates = {
        query: ids
        for query, ids in collection.candidates.items()
        if queries[query] != collection.queries[query] or not changed.isdisjoint(ids)
    }
    return replace(collection, queries=queries, documents=documents, candidates=candidates)


def _normalised(text: str, kind: str, name: str) -> str:
    try:
        return normalised(text)
    except UnfitText as error:
        raise DataError(f"{kind} {shown(name)} cannot be normalised: it {error}") from error

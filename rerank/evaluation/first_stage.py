"""BM25 over a whole corpus, for data without a run. Its terms are those of the model `lexical`, in any language."""

from __future__ import annotations

import logging
from collections import defaultdict
from collections.abc import Iterable, Mapping
from typing import Any

import numpy

from rerank.backends.lexical import K1, B, terms
from rerank.evaluation.needs import needed


def first_stage(
    documents: Iterable[tuple[str, str]], queries: Mapping[str, str], depth: int
) -> dict[str, tuple[str, ...]]:
    """The best documents for each query; equal ones in the order of the corpus.

    ``documents``: ids and texts, which are read once and not kept.
    """
    index = _Index(documents)
    return {query: index.best(text, depth) for query, text in queries.items()}


class _Index:
    def __init__(self, documents: Iterable[tuple[str, str]]) -> None:
        numbers: defaultdict[str, int] = defaultdict(lambda: len(numbers))
        words = []
        self._ids: list[str] = []
        for name, text in documents:
            self._ids.append(name)
            words.append([numbers[term] for term in terms(text)])
        self._numbers = dict(numbers)
        self._bm25: Any = _library().BM25(k1=K1, b=B, method="lucene", auto_compile=False)
        if numbers:
            self._bm25.index((words, self._numbers), create_empty_token=False, show_progress=False)

    def best(self, query: str, depth: int) -> tuple[str, ...]:
        known = [self._numbers[term] for term in terms(query) if term in self._numbers]
        if not known:
            return tuple(self._ids[:depth])
        order = numpy.argsort(-self._bm25.get_scores_from_ids(known), kind="stable")
        return tuple(self._ids[place] for place in order[:depth])


def _library() -> Any:
    library = needed("bm25s")
    # its import sets the level to DEBUG, whatever the program's is
    logging.getLogger("bm25s").setLevel(logging.WARNING)
    return library

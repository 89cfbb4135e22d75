"""A collection: queries, their candidates, and which of those are relevant. Pure."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping
from dataclasses import dataclass, replace
from random import Random


@dataclass(frozen=True, slots=True)
class Collection:
    """Queries, each with its candidates, and which documents are relevant to it."""

    name: str
    queries: Mapping[str, str]
    """Texts by id."""
    documents: Mapping[str, str]
    """Texts by id."""
    candidates: Mapping[str, tuple[str, ...]]
    """Of each query the ids of the documents to rank, the first stage's best first."""
    grades: Mapping[str, Mapping[str, int]]
    """Of each query the grades of its judged documents; empty where nothing is judged."""

    def texts(self, query: str) -> list[str]:
        """The candidates' texts of a query's id."""
        return [self.documents[document] for document in self.candidates[query]]

    @property
    def pairs(self) -> int:
        """Number of pairs to score."""
        return sum(map(len, self.candidates.values()))

    def narrowed(self, depth: int | None = None, sample: int | None = None, seed: int = 0) -> Collection:
        """The first ``depth`` candidates of ``sample`` queries drawn by ``seed``, in the collection's order."""
        chosen = list(self.candidates)
        if sample is not None and sample < len(chosen):
            drawn = set(Random(seed).sample(chosen, sample))  # noqa: S311  # nosec B311
            chosen = [query for query in chosen if query in drawn]
        return replace(self, candidates={query: self.candidates[query][:depth] for query in chosen})

    def digest(self) -> str:
        """A hash of everything that scores and measures depend on."""
        digest = hashlib.blake2b(digest_size=16)
        for query in self.candidates:
            ids = self.candidates[query]
            grades = sorted(self.grades.get(query, {}).items())
            digest.update(json.dumps([query, self.queries[query], ids, self.texts(query), grades]).encode())
        return digest.hexdigest()

"""Part of the data that is read, and files that options name."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from rerank.evaluation.collection import Collection


@dataclass(frozen=True, slots=True)
class Files:
    """Files that take the place of the folder's own."""

    queries: Path | None = None
    documents: Path | None = None
    judgements: Path | None = None
    run: Path | None = None


@dataclass(frozen=True, slots=True)
class Wanted:
    """Candidates per query, and which queries; all by default."""

    depth: int | None = None
    sample: int | None = None
    seed: int = 0
    judged: bool = False
    """Only queries with judgements, of which there must be some."""

    def of(self, candidates: Mapping[str, tuple[str, ...]]) -> Mapping[str, tuple[str, ...]]:
        """The candidates that are wanted, before their texts are read."""
        return Collection("", {}, {}, candidates, {}).narrowed(self.depth, self.sample, self.seed).candidates

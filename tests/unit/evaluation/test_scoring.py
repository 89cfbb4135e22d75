"""A collection ranked by one model, interrupted and taken up again."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest

from rerank.errors import RerankError
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked
from rerank.evaluation.scoring import Journal, score_collection
from tests.unit.evaluation.test_collection import COLLECTION


class Lengths:
    """Ranks by length. Fails once it has answered ``most`` queries."""

    def __init__(self, most: int = 1000, version: str = "1") -> None:
        self._most, self._version = most, version
        self.asked: list[str] = []

    async def identity(self, name: str) -> str:
        return name.lower()

    async def version(self, name: str) -> str:
        return self._version

    async def ask(self, name: str, query: str, documents: Sequence[str], asked: Asked = DEFAULT_ASKED) -> Ranked:
        await asyncio.sleep(0)
        if len(self.asked) >= self._most:
            raise RerankError("no more")
        self.asked.append(query)
        scores = tuple(float(len(document)) for document in documents)
        return Ranked(scores, tuple(sorted(range(len(scores)), key=lambda index: -scores[index])), 10, 99.0)


async def test_every_query_is_ranked_once_and_told_of() -> None:
    rankers, steps = Lengths(), list[int]()

    scored = await score_collection(rankers, "lengths", COLLECTION, progress=steps.append)

    assert list(scored.ranked) == list(COLLECTION.candidates)
    assert scored.ranked["q4"].order == (1, 2, 0)
    assert sorted(rankers.asked) == sorted(COLLECTION.queries.values())
    assert (sum(steps), scored.pairs, scored.tokens) == (60, 60, 200)
    # the time of all together, not the sum of what queries at once took each
    assert scored.seconds < 99.0


async def test_a_run_goes_on_where_it_was(tmp_path: Path) -> None:
    file = tmp_path / "journals" / "run.jsonl"
    first, second = Lengths(most=7), Lengths()
    journal = Journal(file)
    with pytest.raises(RerankError, match="no more"):
        await score_collection(first, "lengths", COLLECTION, journal=journal)
    journal.close(done=False)
    with file.open("a") as stream:
        stream.write('\n{"key": "broken o')

    journal = Journal(file)
    scored = await score_collection(second, "Lengths", COLLECTION, journal=journal)
    journal.close(done=True)

    assert len(first.asked) == 7
    assert sorted(first.asked + second.asked) == sorted(COLLECTION.queries.values())
    assert scored.ranked["q4"].order == (1, 2, 0)
    assert not file.exists()


async def test_other_weights_are_asked_again(tmp_path: Path) -> None:
    journal = Journal(tmp_path / "run.jsonl")
    for rankers in (Lengths(version="1"), Lengths(version="2")):
        await score_collection(rankers, "lengths", COLLECTION, journal=journal)
        assert len(rankers.asked) == 20
    journal.close(done=True)

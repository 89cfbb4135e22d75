"""A whole collection ranked by one model: several queries at once, and each kept, so that a run can go on later."""

from __future__ import annotations

import asyncio
import json
import time
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import IO, Any

from rerank.evaluation.collection import Collection
from rerank.evaluation.rankers import DEFAULT_ASKED, Asked, Ranked, Rankers

_AT_ONCE = 4
"""Queries in flight: enough for full batches, few enough that little is lost on an interruption."""


@dataclass(frozen=True, slots=True)
class Scored:
    """What a model made of a collection."""

    model: str
    ranked: Mapping[str, Ranked]
    """By query."""

    @property
    def pairs(self) -> int:
        """Pairs that were scored."""
        return sum(len(ranked.order) for ranked in self.ranked.values())

    @property
    def tokens(self) -> int:
        """Tokens that were read."""
        return sum(ranked.tokens for ranked in self.ranked.values())

    @property
    def seconds(self) -> float:
        """Seconds that it took, those of an earlier part of the run included."""
        return sum(ranked.seconds for ranked in self.ranked.values())


class Journal:
    """Answers kept in a file as they come, one to a line, for a run that is interrupted."""

    def __init__(self, file: Path) -> None:
        """``file``: its folder is made when there is something to keep."""
        self._file = file
        self._stream: IO[str] | None = None
        self._known = dict(_read(file)) if file.exists() else {}

    def get(self, key: str) -> Ranked | None:
        """The answer that was kept under a key."""
        return self._known.get(key)

    def add(self, key: str, ranked: Ranked) -> None:
        """Keep an answer. Raises OSError."""
        if self._stream is None:
            self._file.parent.mkdir(parents=True, exist_ok=True)
            self._stream = self._file.open("a", encoding="utf-8")
        self._stream.write(f"\n{json.dumps({'key': key, **asdict(ranked)})}")
        self._stream.flush()

    def close(self, *, done: bool) -> None:
        """End; nothing is kept of a run that is ``done``."""
        if self._stream:
            self._stream.close()
        if done:
            self._file.unlink(missing_ok=True)


def _read(file: Path) -> Iterator[tuple[str, Ranked]]:
    """The whole lines; the last one may be broken off."""
    for line in file.read_text(encoding="utf-8", errors="replace").splitlines():
        try:
            entry: dict[str, Any] = json.loads(line)
            relevance, order = tuple(map(float, entry["relevance"])), tuple(map(int, entry["order"]))
            yield str(entry["key"]), Ranked(relevance, order, int(entry["tokens"]), float(entry["seconds"]))
        except (ValueError, TypeError, KeyError):
            continue


async def score_collection(
    rankers: Rankers,
    model: str,
    collection: Collection,
    *,
    asked: Asked = DEFAULT_ASKED,
    journal: Journal | None = None,
    progress: Callable[[int], None] = lambda _: None,
) -> Scored:
    """Every query's candidates ranked by the model. ``progress`` is told of each number of pairs that are done.

    A ``journal`` has what an earlier run did, and keeps what this one does. Each answer's ``seconds`` are its part of
    the time that all take together. Raises RerankError and OSError.
    """
    identity, version = await rankers.identity(model), await rankers.version(model)
    found: dict[str, Ranked] = {}
    waiting = iter(collection.candidates)
    clock = _Clock()

    async def work() -> None:
        for query in waiting:
            key = json.dumps([identity, version, query])
            ranked = journal.get(key) if journal else None
            if ranked is None:
                answer = await rankers.ask(model, collection.queries[query], collection.texts(query), asked)
                ranked = Ranked(answer.relevance, answer.order, answer.tokens, clock.passed())
                if journal:
                    journal.add(key, ranked)
            found[query] = ranked
            progress(len(ranked.order))

    workers = [asyncio.create_task(work()) for _ in range(_AT_ONCE)]
    try:
        await asyncio.gather(*workers)
    finally:
        for worker in workers:
            worker.cancel()
        await asyncio.gather(*workers, return_exceptions=True)
    return Scored(model, {query: found[query] for query in collection.candidates})


class _Clock:
    """Seconds since the last look."""

    def __init__(self) -> None:
        self._last = time.perf_counter()

    def passed(self) -> float:
        now = time.perf_counter()
        passed, self._last = now - self._last, now
        return passed

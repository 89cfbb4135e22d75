"""The journal of an interrupted command."""

from __future__ import annotations

from contextlib import suppress
from dataclasses import replace
from pathlib import Path

import pytest

from rerank.cli.evaluation import journal_of
from rerank.evaluation.rankers import Ranked
from tests.unit.evaluation.test_collection import COLLECTION

RANKED = Ranked((0.5,), (0,), 3, 0.1)


class Interrupted(Exception):
    pass


def test_is_for_the_same_command_and_data_only(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path))
    with suppress(Interrupted), journal_of("tune", COLLECTION, "m") as journal:
        journal.add("key", RANKED)
        raise Interrupted

    changed = replace(COLLECTION, documents=COLLECTION.documents | {"a": "changed"})  # type: ignore[operator]
    for command, collection, fact in (("tune", changed, "m"), ("rank", COLLECTION, "m"), ("tune", COLLECTION, "n")):
        with journal_of(command, collection, fact) as journal:
            assert journal.get("key") is None
    with journal_of("tune", COLLECTION, "m") as journal:
        assert journal.get("key") == RANKED
    assert [path for path in tmp_path.rglob("*") if path.is_file()] == []

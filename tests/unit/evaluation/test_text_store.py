"""Texts by id on disk."""

from __future__ import annotations

from pathlib import Path

import pytest

from rerank.evaluation.reading.lines import DataError
from rerank.evaluation.reading.text_store import TextStore
from rerank.evaluation.reading.texts import texts_of


def test_texts_are_found_by_id(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("1\tone\nä\tzwei\n", encoding="utf-8")
    with TextStore() as store:
        store.add(texts_of(tmp_path / "texts.tsv"))
        assert [store.get(name) for name in ("1", "ä", "3")] == ["one", "zwei", None]


def test_an_id_that_stands_twice_is_named(tmp_path: Path) -> None:
    (tmp_path / "texts.tsv").write_text("1\tone\n2\ttwo\n1\tone\n", encoding="utf-8")
    with TextStore() as store, pytest.raises(DataError, match=r"texts\.tsv:3: the id '1' stands here for the second"):
        store.add(texts_of(tmp_path / "texts.tsv"))

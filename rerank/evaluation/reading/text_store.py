"""Texts by id in a temporary file: a corpus may be larger than memory."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable
from types import TracebackType
from typing import Self

from rerank.evaluation.reading.lines import shown
from rerank.evaluation.reading.texts import Text


class TextStore:
    """Texts by id. Its file goes when it is closed. For one thread at a time."""

    def __init__(self) -> None:
        # an empty name is a database in a temporary file, which SQLite removes
        self._database = sqlite3.connect("", check_same_thread=False)
        self._database.execute("CREATE TABLE texts (id TEXT PRIMARY KEY, text TEXT) WITHOUT ROWID")

    def __enter__(self) -> Self:
        """Closed at the end of the block."""
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, at: TracebackType | None) -> None:
        """Remove the texts."""
        self._database.close()

    def add(self, texts: Iterable[Text]) -> Self:
        """Keep texts. Raises DataError where an id stands a second time."""
        for line, name, text in texts:
            try:
                self._database.execute("INSERT INTO texts VALUES (?, ?)", (name, text))
            except sqlite3.IntegrityError as error:
                raise line.wrong(f"the id {shown(name)} stands here for the second time") from error
        self._database.commit()
        return self

    def get(self, name: str) -> str | None:
        """The text of an id."""
        row = self._database.execute("SELECT text FROM texts WHERE id = ?", (name,)).fetchone()
        return None if row is None else str(row[0])

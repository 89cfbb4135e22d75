"""Scores in a SQLite file: they survive restarts, and several processes may share them."""

from __future__ import annotations

import asyncio
import logging
import sqlite3
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, contextmanager
from pathlib import Path
from typing import TypeVar

from rerank.errors import SettingsError

T = TypeVar("T")
logger = logging.getLogger(__name__)

_APPLICATION = 0x72726B63
"""Marks a database as this cache."""
_LAYOUT = 1
"""Of the table; one in another layout is emptied."""
_TABLE = """
CREATE TABLE scores (
    number INTEGER PRIMARY KEY, key BLOB NOT NULL UNIQUE, score BLOB NOT NULL, written REAL NOT NULL
)
"""
_KEPT = "SELECT key, score FROM scores WHERE written > ? AND written < ? AND key IN ({})"
_KEEP = "INSERT OR REPLACE INTO scores (key, score, written) VALUES (?, ?, ?)"
# the oldest scores have the lowest numbers
_DROP_SURPLUS = "DELETE FROM scores WHERE number <= (SELECT max(number) FROM scores) - ?"
_DROP_EXPIRED = (
    "DELETE FROM scores WHERE number < (SELECT number FROM scores WHERE written > ? ORDER BY number LIMIT 1)"
)
_KEYS_PER_QUERY = 500
_LOCK_SECONDS = 1.0
_JOURNAL_BYTES = 4_000_000


class FileStore:
    """The newest scores, in a file. All of SQLite happens on one thread."""

    name = "file"

    def __init__(self, path: Path, pairs: int, ttl: float, clock: Callable[[], float] = time.time) -> None:
        """``pairs``: maximum number of scores. ``ttl``: seconds that one is kept, by the time of day."""
        self._path = path
        self._pairs = pairs
        self._ttl = ttl
        self._clock = clock
        self._connection: sqlite3.Connection | None = None
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="cache")

    async def get(self, keys: Sequence[bytes]) -> Sequence[bytes | None]:
        """See ``Store.get``."""
        return await self._run(lambda connection: self._get(connection, keys))

    async def put(self, scores: Mapping[bytes, bytes]) -> None:
        """See ``Store.put``."""
        await self._run(lambda connection: self._put(connection, scores))

    async def close(self) -> None:
        """See ``Store.close``."""
        await asyncio.get_running_loop().run_in_executor(self._thread, self._disconnect)
        self._thread.shutdown(wait=False)

    async def _run(self, use: Callable[[sqlite3.Connection], T]) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, self._use, use)

    def _use(self, use: Callable[[sqlite3.Connection], T]) -> T:
        self._connection = self._connection or _open(self._path)
        try:
            return use(self._connection)
        except sqlite3.DatabaseError as error:
            if _is_corrupt(error):
                # the next call finds it so, and sets it aside
                self._disconnect()
            raise

    def _disconnect(self) -> None:
        if self._connection:
            self._connection.close()
        self._connection = None

    def _get(self, connection: sqlite3.Connection, keys: Sequence[bytes]) -> list[bytes | None]:
        now = self._clock()
        kept: dict[bytes, bytes] = {}
        for start in range(0, len(keys), _KEYS_PER_QUERY):
            some = keys[start : start + _KEYS_PER_QUERY]
            query = _KEPT.format(", ".join("?" * len(some)))
            # a score from the future was written before the clock was set back
            kept.update(connection.execute(query, (now - self._ttl, now + self._ttl, *some)).fetchall())
        return [kept.get(key) for key in keys]

    def _put(self, connection: sqlite3.Connection, scores: Mapping[bytes, bytes]) -> None:
        now = self._clock()
        with _transaction(connection):
            connection.executemany(_KEEP, [(key, score, now) for key, score in scores.items()])
            connection.execute(_DROP_SURPLUS, (self._pairs,))
            connection.execute(_DROP_EXPIRED, (now - self._ttl,))


def check_file(path: Path) -> None:
    """Make the file if there is none. Raises SettingsError unless it can be used."""
    try:
        path.touch(mode=0o600)
        with closing(_open(path)):
            pass
    except (OSError, sqlite3.Error) as error:
        raise SettingsError(f"RERANK_CACHE: {path} cannot be used: {error}") from error


def _open(path: Path) -> sqlite3.Connection:
    """A connection to the file; one that is corrupt is set aside, and another one begun."""
    try:
        return _connected(path)
    except sqlite3.DatabaseError as error:
        if not _is_corrupt(error):
            raise
        logger.warning("the cache %s is corrupt and was set aside as %s: %s", path, _set_aside(path).name, error)
        return _connected(path)


def _connected(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(path, timeout=_LOCK_SECONDS, isolation_level=None, check_same_thread=False)
    try:
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = NORMAL")
        connection.execute(f"PRAGMA journal_size_limit = {_JOURNAL_BYTES}")
        with _transaction(connection):
            _prepare(connection, path)
    except BaseException:
        connection.close()
        raise
    return connection


def _prepare(connection: sqlite3.Connection, path: Path) -> None:
    """Make the table, unless it is there. Raises SettingsError for another program's database."""
    application, layout = (_pragma(connection, name) for name in ("application_id", "user_version"))
    tables = connection.execute("SELECT count(*) FROM sqlite_master").fetchone()[0]
    if tables and application != _APPLICATION:
        raise SettingsError(f"RERANK_CACHE: {path} is another program's database; name another file")
    found = connection.execute("PRAGMA quick_check(1)").fetchone()[0]
    if found != "ok":
        raise _Corrupt(found)
    if tables and layout == _LAYOUT:
        return
    connection.execute("DROP TABLE IF EXISTS scores")
    connection.execute(_TABLE)
    connection.execute(f"PRAGMA application_id = {_APPLICATION}")
    connection.execute(f"PRAGMA user_version = {_LAYOUT}")


def _pragma(connection: sqlite3.Connection, name: str) -> int:
    return int(connection.execute(f"PRAGMA {name}").fetchone()[0])


@contextmanager
def _transaction(connection: sqlite3.Connection) -> Iterator[None]:
    connection.execute("BEGIN IMMEDIATE")
    try:
        yield
    except BaseException:
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise
    connection.execute("COMMIT")


class _Corrupt(sqlite3.DatabaseError):
    """A database whose pages contradict each other."""

    sqlite_errorcode = sqlite3.SQLITE_CORRUPT


def _is_corrupt(error: sqlite3.DatabaseError) -> bool:
    # the lowest byte: the others say where it was found
    code = getattr(error, "sqlite_errorcode", 0) & 0xFF
    return code in (sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB)


def _set_aside(path: Path) -> Path:
    """Rename the file, and delete what belongs to it."""
    aside = path.with_name(f"{path.name}.corrupt")
    path.replace(aside)
    for ending in ("-wal", "-shm"):
        path.with_name(path.name + ending).unlink(missing_ok=True)
    return aside

from __future__ import annotations

import asyncio
import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest

from rerank.errors import SettingsError
from rerank.gateway.cache.file import FileStore, check_file
from tests.support.clock import Clock

NOON = 1_700_000_000.0


@pytest.fixture
def file(tmp_path: Path) -> Path:
    return tmp_path / "scores.db"


def store_in(file: Path, pairs: int = 100, ttl: float = 60, clock: Clock | None = None) -> FileStore:
    return FileStore(file, pairs, ttl, clock or Clock(NOON))


def rows(file: Path) -> list[bytes]:
    with sqlite3.connect(file) as connection:
        found = [key for (key,) in connection.execute("SELECT key FROM scores ORDER BY number")]
    connection.close()
    return found


async def test_scores_survive_a_restart(file: Path) -> None:
    first = store_in(file)
    await first.put({b"a": b"1", b"b": b"2"})
    await first.close()
    second = store_in(file)
    assert await second.get([b"b", b"c", b"a"]) == [b"2", None, b"1"]
    await second.close()


async def test_another_process_shares_them(file: Path) -> None:
    store = FileStore(file, 100, 3600)
    await store.put({b"a": b"1"})
    assert await asyncio.to_thread(other_process, file) == "[b'1']"
    assert await store.get([b"b"]) == [b"2"]
    await store.close()


def other_process(file: Path) -> str:
    """What another one finds; it puts something there, too."""
    program = (
        "import asyncio, sys\nfrom pathlib import Path\nfrom rerank.gateway.cache.file import FileStore\n"
        "async def main():\n    store = FileStore(Path(sys.argv[1]), 100, 3600)\n    found = await store.get([b'a'])\n"
        "    await store.put({b'b': b'2'})\n    await store.close()\n    print(found)\n"
        "asyncio.run(main())"
    )
    found = subprocess.run([sys.executable, "-c", program, str(file)], capture_output=True, text=True, check=True)
    return found.stdout.strip()


async def test_thousands_are_looked_up_at_once(file: Path) -> None:
    store = store_in(file, pairs=10_000)
    scores = {number.to_bytes(16): number.to_bytes(2) for number in range(5000)}
    await store.put(scores)
    assert await store.get(list(scores)) == list(scores.values())
    await store.close()


@pytest.mark.parametrize(("seconds", "found"), [(59, b"1"), (60, None), (-59, b"1"), (-3600, None)])
async def test_a_score_is_found_until_its_time_is_over_also_if_the_clock_is_set_back(
    file: Path, seconds: float, found: bytes | None
) -> None:
    clock = Clock(NOON)
    store = store_in(file, clock=clock)
    await store.put({b"a": b"1"})
    clock.now += seconds
    assert await store.get([b"a"]) == [found]
    await store.close()


async def test_expired_scores_leave_the_file(file: Path) -> None:
    clock = Clock(NOON)
    store = store_in(file, clock=clock)
    for key in (b"a", b"b", b"c"):
        await store.put({key: b"1"})
        clock.now += 40
    await store.close()
    assert rows(file) == [b"b", b"c"]


async def test_the_file_holds_the_newest_scores_and_no_more_than_it_may(file: Path) -> None:
    store = store_in(file, pairs=3)
    for key in (b"a", b"b", b"c", b"a", b"d"):
        await store.put({key: b"1"})
    await store.close()
    assert rows(file) == [b"c", b"a", b"d"]


@pytest.mark.parametrize("content", [b"no database at all" * 1000, b"SQLite format 3\0" + b"\xff" * 5000])
def test_a_corrupt_file_is_set_aside(file: Path, content: bytes, caplog: pytest.LogCaptureFixture) -> None:
    file.write_bytes(content)
    check_file(file)
    assert rows(file) == []
    assert (file.parent / "scores.db.corrupt").read_bytes() == content
    assert "is corrupt and was set aside as scores.db.corrupt" in caplog.text


def break_pages(file: Path) -> None:
    """Overwrite all but the first page."""
    with file.open("r+b") as stream:
        size = stream.seek(0, 2)
        stream.seek(4096)
        stream.write(b"\xff" * (size - 4096))


async def test_a_file_with_broken_pages_is_set_aside(file: Path) -> None:
    store = store_in(file)
    await store.put({number.to_bytes(16): b"1" for number in range(100)})
    await store.close()
    break_pages(file)
    store = store_in(file)
    assert await store.get([b"a"]) == [None]
    await store.put({b"a": b"1"})
    assert await store.get([b"a"]) == [b"1"]
    await store.close()


async def test_a_page_that_breaks_while_the_file_is_open_costs_one_call(file: Path) -> None:
    store = store_in(file)
    await store.put({number.to_bytes(16): b"1" for number in range(100)})
    await store.close()
    store = store_in(file)
    await store.get([b"a"])
    break_pages(file)
    assert store._connection
    store._connection.execute("PRAGMA shrink_memory")
    with pytest.raises(sqlite3.DatabaseError):
        await store.get([(99).to_bytes(16)])
    await store.put({b"a": b"1"})
    assert await store.get([b"a"]) == [b"1"]
    await store.close()


async def test_a_file_in_another_layout_is_emptied(file: Path) -> None:
    store = store_in(file)
    await store.put({b"a": b"1"})
    await store.close()
    with sqlite3.connect(file) as connection:
        connection.execute("PRAGMA user_version = 999")
    connection.close()
    store = store_in(file)
    assert await store.get([b"a"]) == [None]
    await store.close()


def test_another_programs_database_is_refused_and_left_as_it_is(file: Path) -> None:
    with sqlite3.connect(file) as connection:
        connection.execute("CREATE TABLE people (name TEXT)")
    connection.close()
    with pytest.raises(SettingsError, match=r"RERANK_CACHE: .* is another program's database"):
        check_file(file)
    with sqlite3.connect(file) as connection:
        assert connection.execute("SELECT count(*) FROM people").fetchone() == (0,)
    connection.close()


@pytest.mark.parametrize("path", ["", "missing/scores.db"])
def test_a_path_that_can_be_no_file_is_refused_at_start(tmp_path: Path, path: str) -> None:
    with pytest.raises(SettingsError, match=r"RERANK_CACHE: .* cannot be used"):
        check_file(tmp_path / path)


def test_only_its_owner_may_read_the_file(file: Path) -> None:
    check_file(file)
    assert file.stat().st_mode & 0o777 == 0o600

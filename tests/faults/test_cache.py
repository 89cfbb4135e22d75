"""The place where scores are kept is slow, full, locked or gone: requests are answered all the same."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from pathlib import Path

import pytest

from rerank.gateway.cache import file
from tests.service.conftest import OpenApp
from tests.service.test_metrics import value
from tests.support.app import DOCUMENTS, AppUnderTest
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .aftermath import assert_well


def answers_from_cache(app: AppUnderTest) -> bool:
    """True if every score of an answer was kept; the answer is right in any case."""
    response = app.rerank()
    assert response.status_code == 200
    assert response.json()["results"][0]["index"] == 1
    cached: int = response.json()["meta"]["cached"]
    assert cached in (0, len(DOCUMENTS))
    return cached > 0


def test_redis_that_is_taken_away_and_comes_back(open_app: OpenApp, own_redis: RedisServer) -> None:
    app = open_app(cache=own_redis.url)
    wait_until(lambda: answers_from_cache(app))
    own_redis.kill()
    assert not answers_from_cache(app)
    wait_until(lambda: value(app.client, "rerank_cache_errors_total", operation="read", store="redis") > 0)
    assert_well(app)
    own_redis.start()
    wait_until(lambda: answers_from_cache(app))
    assert_well(app)


def test_redis_that_hangs(open_app: OpenApp, own_redis: RedisServer) -> None:
    app = open_app(cache=own_redis.url)
    wait_until(lambda: answers_from_cache(app))
    own_redis.freeze()
    assert not answers_from_cache(app)
    assert_well(app)
    own_redis.thaw()
    wait_until(lambda: answers_from_cache(app))


def test_redis_that_is_not_there_at_the_start(open_app: OpenApp, own_redis: RedisServer) -> None:
    own_redis.kill()
    app = open_app(cache=own_redis.url)
    assert not answers_from_cache(app)
    assert_well(app)


def test_a_disk_too_full_to_keep_a_score(
    open_app: OpenApp, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    plain = file._connected

    def on_a_full_disk(path: Path) -> sqlite3.Connection:
        connection = plain(path)
        connection.execute("PRAGMA max_page_count = 1")
        return connection

    monkeypatch.setattr(file, "_connected", on_a_full_disk)
    app = open_app(cache=f"file:{tmp_path / 'scores.db'}")
    assert app.rerank(documents=[f"document {number}" for number in range(500)]).status_code == 200
    wait_until(lambda: value(app.client, "rerank_cache_errors_total", operation="write", store="file") > 0)
    assert_well(app)
    assert "cannot be written: database or disk is full" in caplog.text


def test_a_cache_file_that_another_process_locks(open_app: OpenApp, tmp_path: Path) -> None:
    scores = tmp_path / "scores.db"
    app = open_app(cache=f"file:{scores}")
    wait_until(lambda: answers_from_cache(app))
    with closing(sqlite3.connect(scores, isolation_level=None)) as other:
        other.execute("BEGIN IMMEDIATE")
        app.rerank(query="another query")
        wait_until(lambda: value(app.client, "rerank_cache_errors_total", operation="write", store="file") > 0)
        assert_well(app)
        other.execute("ROLLBACK")
    wait_until(lambda: app.rerank(query="another query").json()["meta"]["cached"] > 0)

"""A Redis behind TLS: its certificate is checked."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from rerank.gateway.cache.redis import RedisStore
from rerank.shared_state.state import open_state
from tests.support.redis_server import RedisServer
from tests.support.tls import Authority, tls_before

PATIENCE = 60.0
SET = "redis.call('SET', KEYS[1], ARGV[1]) return {1}"


@pytest.fixture
def authority(tmp_path: Path) -> Authority:
    return Authority(tmp_path)


@pytest.fixture
async def port(redis_server: RedisServer, authority: Authority) -> AsyncIterator[int]:
    """Of a Redis that is known as 127.0.0.1."""
    async with tls_before(redis_server.port, authority.server("127.0.0.1")) as port:
        yield port


async def works(url: str) -> bool:
    async with open_state(url, patience=PATIENCE) as state:
        assert state
        return await state.run(SET, ["key"], ["value"]) == [1]


async def test_an_authority_of_ones_own_is_named_in_the_address(port: int, authority: Authority) -> None:
    assert await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}")


async def test_an_authority_of_the_whole_process_is_known(
    port: int, authority: Authority, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(authority.file))
    assert await works(f"rediss://127.0.0.1:{port}/0")


async def test_a_certificate_of_an_unknown_authority_is_refused(port: int, caplog: pytest.LogCaptureFixture) -> None:
    assert not await works(f"rediss://127.0.0.1:{port}/0")
    assert "certificate verify failed" in caplog.text


async def test_the_certificate_of_another_server_is_refused(
    redis_server: RedisServer, authority: Authority, caplog: pytest.LogCaptureFixture
) -> None:
    async with tls_before(redis_server.port, authority.server("127.0.0.2")) as port:
        assert not await works(f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}")
    assert "certificate is not valid for '127.0.0.1'" in caplog.text


async def test_a_server_without_tls_is_refused(redis_server: RedisServer, caplog: pytest.LogCaptureFixture) -> None:
    assert not await works(f"rediss://127.0.0.1:{redis_server.port}/0")
    assert "cannot be used" in caplog.text


async def test_the_cache_is_kept_behind_it_too(port: int, authority: Authority) -> None:
    place = f"rediss://127.0.0.1:{port}/0?ssl_ca_certs={authority.file}"
    store = RedisStore(place, ttl=60)
    await store.put({b"known": b"1"})
    assert await store.get([b"known", b"unknown"]) == [b"1", None]
    await store.close()

"""The Redis on which servers count together is slow, restarted or gone: limits go on, requests do, too."""

from __future__ import annotations

import pytest

from rerank.access.keyring import key_hash
from rerank.core import Caller
from rerank.shared_state.names import hashed
from tests.service.conftest import OpenApp
from tests.service.test_metrics import value
from tests.support.app import DOCUMENTS, PATIENCE, QUERY, AppUnderTest, GatedScorer
from tests.support.redis_server import RedisServer
from tests.support.waiting import wait_until

from .aftermath import assert_well

KEYS = {key_hash("CHAT"): Caller("chat", admin=True, requests_per_minute=4)}
"""A key with a limit, on a server that needs none."""


def ask(app: AppUnderTest, times: int = 1) -> list[int]:
    """Statuses of the key's requests."""
    body, headers = {"query": QUERY, "documents": DOCUMENTS}, {"Authorization": "Bearer CHAT"}
    return [app.client.post("/v1/rerank", json=body, headers=headers).status_code for _ in range(times)]


def is_up(app: AppUnderTest) -> bool:
    return value(app.client, "rerank_state_up", store="redis") == 1


def test_a_shared_redis_that_is_killed_and_comes_back(open_app: OpenApp, own_redis: RedisServer) -> None:
    one, other = (open_app(named_keys=KEYS, state_url=own_redis.url) for _ in range(2))
    assert [*ask(one), *ask(other), *ask(one), *ask(other)] == [200] * 4
    assert [*ask(one), *ask(other)] == [429] * 2
    own_redis.kill()
    # each counts for itself, what it let through before included
    assert (ask(one, 3), ask(other, 3)) == ([200, 200, 429], [200, 200, 429])
    for app in (one, other):
        assert not is_up(app)
        assert value(app.client, "rerank_state_errors_total") > 0
        assert_well(app)
    own_redis.start()
    wait_until(lambda: is_up(one) and is_up(other))
    third = open_app(named_keys=KEYS, state_url=own_redis.url)
    fourth = open_app(named_keys=KEYS, state_url=own_redis.url)
    assert [*ask(third, 3), *ask(fourth, 3)] == [200, 200, 200, 200, 429, 429]
    assert_well(one)


def test_a_shared_redis_that_hangs(open_app: OpenApp, own_redis: RedisServer) -> None:
    app = open_app(named_keys=KEYS, state_url=own_redis.url, state_seconds=1.0)
    wait_until(lambda: is_up(app))
    own_redis.freeze()
    assert ask(app, 5) == [200, 200, 200, 200, 429]
    assert not is_up(app)
    assert_well(app)
    own_redis.thaw()
    wait_until(lambda: is_up(app))


def test_a_shared_redis_that_is_not_there_at_the_start(
    open_app: OpenApp, own_redis: RedisServer, caplog: pytest.LogCaptureFixture
) -> None:
    own_redis.kill()
    app = open_app(named_keys=KEYS, state_url=own_redis.url.replace("//", "//:a-secret@"))
    assert ask(app, 5) == [200, 200, 200, 200, 429]
    assert_well(app)
    assert f"RERANK_STATE_URL: redis://***@127.0.0.1:{own_redis.port}/0 cannot be used" in caplog.text
    assert "secret" not in caplog.text + app.client.get("/metrics").text


def test_a_caller_that_fills_one_server_has_no_share_of_another_that_is_full(
    open_app: OpenApp, own_redis: RedisServer
) -> None:
    keys = {key_hash(name.upper()): Caller(name, admin=True) for name in ("greedy", "other", "modest")}
    options = {"named_keys": keys, "state_url": own_redis.url, "max_inflight_documents": 4}
    scorers = [GatedScorer(), GatedScorer()]
    there, here = (open_app(scorer, **options) for scorer in scorers)

    def send(app: AppUnderTest, key: str, documents: int) -> int:
        body = {"query": QUERY, "documents": ["a"] * documents}
        headers = {"Authorization": f"Bearer {key}"}
        return app.client.post("/v1/rerank", json=body, headers=headers).status_code

    warm = [app.meanwhile(send, app, "OTHER", 1) for app in (there, here)]
    assert all(scorer.reached.wait(PATIENCE) for scorer in scorers)
    running = [there.meanwhile(send, there, "GREEDY", 3), here.meanwhile(send, here, "OTHER", 3)]
    wait_until(lambda: hashed("greedy") in here.gateway.admission.elsewhere.by_caller)
    assert send(here, "GREEDY", 2) == 429
    running.append(here.meanwhile(send, here, "MODEST", 2))
    for scorer in scorers:
        scorer.gate.set()
    assert [each.result(PATIENCE) for each in (*warm, *running)] == [200] * 5

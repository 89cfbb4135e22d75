"""The application before the replicas, with replicas in this process."""

from __future__ import annotations

import asyncio
import gzip
import hashlib
import json
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from httpx2 import AsyncClient

from rerank.access.keys_file import read_keys_file
from rerank.cluster.calls import call_of
from rerank.cluster.configured import Configured
from rerank.cluster.ingress import front_app
from rerank.settings import Settings
from tests.support.app import DOCUMENTS, MODEL, OTHER_MODEL, QUERY, AppUnderTest, GatedScorer
from tests.support.local_cluster import LocalCluster, cards_file, serving
from tests.support.waiting import PATIENCE, eventually

BODY = {"model": MODEL.id, "query": QUERY, "documents": DOCUMENTS}

Served = tuple[AsyncClient, LocalCluster]


@pytest.fixture
async def served(tmp_path: Path) -> AsyncIterator[Served]:
    async with serving({"a": AppUnderTest(tmp_path), "b": AppUnderTest(tmp_path)}, rerank_models_dir=tmp_path) as both:
        yield both


async def test_answers_as_a_replica_does(served: Served) -> None:
    client, _ = served
    answer = await client.post("/v1/rerank", json=BODY, headers={"X-Request-Id": "mine"})
    assert answer.status_code == 200
    assert [result["index"] for result in answer.json()["results"]] == [1, 0, 2]
    assert answer.json()["id"] == "score-mine"
    assert answer.headers["X-Rerank-Model"] == MODEL.id


async def test_decodes_a_compressed_body_once(served: Served) -> None:
    client, cluster = served
    content = gzip.compress(json.dumps(BODY).encode())
    answer = await client.post("/v1/rerank", content=content, headers={"Content-Encoding": "gzip"})
    assert answer.status_code == 200
    wish = cluster.wishes[-1]
    assert (wish.model, bool(wish.affinity)) == (MODEL.id, True)


@pytest.mark.parametrize(
    ("path", "body", "status"),
    [
        ("/v1/rerank", b"{", 400),
        ("/v1/rerank", b"[" * 100_000, 400),
        ("/v1/rerank", b'{"model": "no-such-model", "query": "a", "documents": ["b"]}', 404),
        ("/rerank", b'{"query": "a", "texts": []}', 400),
        ("/no-such-path", b"", 404),
    ],
)
async def test_says_what_a_replica_says_of_a_wrong_request(served: Served, path: str, body: bytes, status: int) -> None:
    client, cluster = served
    answer = await client.post(path, content=body, headers={"Content-Type": "application/json"})
    assert answer.status_code == status
    assert len(cluster.wishes) == 1


@pytest.mark.parametrize(("method", "path"), [("POST", "/health"), ("OPTIONS", "/v1/rerank")])
async def test_what_needs_no_key_has_no_say_in_where_models_are(served: Served, method: str, path: str) -> None:
    client, cluster = served
    await client.request(method, path, json=BODY)
    assert [(wish.model, wish.tokens) for wish in cluster.wishes] == [(None, 0)]


async def test_a_model_that_the_key_does_not_allow_is_for_any_replica(tmp_path: Path) -> None:
    hashed = hashlib.sha256(b"limited-key").hexdigest()
    keys = tmp_path / "keys.toml"
    keys.write_text(f'[[key]]\nname = "limited"\nsha256 = "{hashed}"\nmodels = ["{OTHER_MODEL.id}"]\n')
    apps = {"a": AppUnderTest(tmp_path, named_keys=read_keys_file(keys))}
    async with serving(apps, rerank_models_dir=tmp_path, rerank_keys_file=keys) as (client, cluster):
        given = {"Authorization": "Bearer limited-key"}
        assert (await client.post("/v1/rerank", json=BODY, headers=given)).status_code == 403
        await client.post("/v1/rerank", json=BODY | {"model": OTHER_MODEL.id}, headers=given)
    assert [wish.model for wish in cluster.wishes] == [None, OTHER_MODEL.id]


async def test_is_healthy_while_one_replica_is(tmp_path: Path) -> None:
    apps = {"a": AppUnderTest(tmp_path), "b": AppUnderTest(tmp_path)}
    async with serving(apps, rerank_models_dir=tmp_path) as (client, cluster):
        services = apps["a"].asgi.state.services
        apps["a"].asgi.state.services = replace(services, trouble=lambda: "the device is lost")
        assert (await client.get("/health")).status_code == 200
        assert cluster.wishes[-1].tried == ["a", "b"]
        apps["b"].asgi.state.services = apps["a"].asgi.state.services
        assert (await client.get("/health")).status_code == 503


async def test_an_address_with_thousands_of_fields_is_answered(served: Served) -> None:
    client, _ = served
    assert (await client.get("/version?" + "&" * 5000)).status_code == 200


@pytest.mark.parametrize("number", ["0", "1001", "00001", "1" * 5000, "-1", "many"])
async def test_a_number_of_replicas_has_bounds(served: Served, number: str) -> None:
    client, _ = served
    answer = await client.post(f"/v1/models/{MODEL.id}/load", params={"replicas": number})
    assert (answer.status_code, "from 1 to 1000" in answer.text) == (400, True)


async def test_refuses_a_body_that_is_too_large_before_a_replica_sees_it(tmp_path: Path) -> None:
    async with serving({"a": AppUnderTest(tmp_path)}, rerank_models_dir=tmp_path, rerank_max_body_bytes="2000") as (
        client,
        cluster,
    ):
        answer = await client.post("/v1/rerank", content=b"x" * 5000)
        assert answer.status_code == 413
        # without a declared length it shows while it arrives
        answer = await client.post("/v1/rerank", content=_pieces(10))
        assert (answer.status_code, answer.json()["error"]["code"]) == (413, 413)
        assert not cluster.wishes


async def _pieces(number: int) -> AsyncIterator[bytes]:
    for _ in range(number):
        yield b"x" * 500


async def test_refuses_a_wrong_key_before_a_replica_sees_it(tmp_path: Path) -> None:
    apps = {"a": AppUnderTest(tmp_path, keys=("right-key",))}
    async with serving(apps, rerank_models_dir=tmp_path, rerank_api_key="right-key") as (client, cluster):
        wrong = await client.post("/v1/rerank", json=BODY, headers={"Authorization": "Bearer wrong"})
        assert wrong.status_code == 401
        assert not cluster.wishes
        right = await client.post("/v1/rerank", json=BODY, headers={"Authorization": "Bearer right-key"})
        assert right.status_code == 200


async def test_sends_a_request_of_a_lost_replica_to_another(served: Served) -> None:
    client, cluster = served
    cluster.lost.add("a")
    answer = await client.post("/v1/rerank", json=BODY)
    assert answer.status_code == 200
    assert cluster.wishes[-1].tried == ["a", "b"]


async def test_answers_503_once_every_replica_tried_is_lost(served: Served) -> None:
    client, cluster = served
    cluster.lost.update("ab")
    answer = await client.post("/v1/rerank", json=BODY)
    assert (answer.status_code, answer.headers["Retry-After"]) == (503, "10")
    assert len(cluster.wishes) == 3


async def test_sends_what_a_stopping_replica_refuses_to_another(served: Served) -> None:
    client, cluster = served
    cluster.replicas["a"].gateway.admission.close()
    assert (await client.post("/v1/rerank", json=BODY)).status_code == 200
    assert cluster.wishes[-1].tried == ["a", "b"]


async def test_sends_what_a_full_replica_refuses_to_another(tmp_path: Path) -> None:
    scorers = {name: GatedScorer() for name in "ab"}
    apps = {name: AppUnderTest(tmp_path, scorer, max_inflight_documents=1) for name, scorer in scorers.items()}
    async with serving(apps, rerank_models_dir=tmp_path) as (client, cluster):
        first, second = (asyncio.ensure_future(client.post("/v1/rerank", json=BODY)) for _ in range(2))
        # while a model loads it is another room that is full
        for scorer in scorers.values():
            await asyncio.to_thread(scorer.reached.wait, PATIENCE)
        third = await client.post("/v1/rerank", json=BODY)
        assert (third.status_code, third.headers["Retry-After"]) == (429, "1")
        assert cluster.wishes[-1].tried == ["a", "b"]
        for app in apps.values():
            app.release()
        assert {(await first).status_code, (await second).status_code} == {200}


async def test_drops_the_work_of_a_client_that_leaves(tmp_path: Path) -> None:
    scorer = GatedScorer()
    app = AppUnderTest(tmp_path, scorer)
    async with serving({"a": app}, rerank_models_dir=tmp_path) as (client, _):
        asking = asyncio.ensure_future(client.post("/v1/rerank", json=BODY))
        await asyncio.to_thread(scorer.reached.wait, 30)
        asking.cancel()
        await asyncio.wait([asking])
        await eventually(lambda: not app.gateway.admission.requests)


async def test_shows_where_each_model_is(served: Served) -> None:
    client, _ = served
    await client.post("/v1/rerank", json=BODY)
    listed = {info["id"]: info for info in (await client.get("/v1/models")).json()["data"]}
    assert listed[MODEL.id]["loaded"]
    assert [(each["replica"], each["state"]) for each in listed[MODEL.id]["replicas"]] == [("a", "ready")]
    assert listed[OTHER_MODEL.id]["replicas"] == []
    one = (await client.get(f"/v1/models/{MODEL.id}")).json()
    assert one["replicas"] == listed[MODEL.id]["replicas"]


@pytest.mark.parametrize(("asked", "loaded"), [("", ["a"]), ("?replicas=2", ["a", "b"]), ("?replicas=all", ["a", "b"])])
async def test_loads_a_model_on_as_many_replicas_as_asked_for(served: Served, asked: str, loaded: list[str]) -> None:
    client, _ = served
    answer = (await client.post(f"/v1/models/{MODEL.id}/load{asked}")).json()
    assert [each["replica"] for each in answer["replicas"]] == loaded


async def test_pins_and_unloads_a_model_wherever_it_is(served: Served) -> None:
    client, _ = served
    await client.post(f"/v1/models/{MODEL.id}/load?replicas=all")
    pinned = (await client.post(f"/v1/models/{MODEL.id}/pin")).json()
    assert [each["pinned"] for each in pinned["replicas"]] == [True, True]
    assert (await client.post(f"/v1/models/{MODEL.id}/unload")).json()["replicas"] == []


@pytest.mark.parametrize("number", ["0", "-1", "many", "1001", "9" * 5000, "²"])
async def test_names_a_wrong_number_of_replicas(served: Served, number: str) -> None:
    client, cluster = served
    answer = await client.post(f"/v1/models/{MODEL.id}/load", params={"replicas": number})
    assert (answer.status_code, answer.json()["error"]["param"]) == (400, "replicas")
    assert not cluster.wishes


async def test_labels_metrics_with_their_replica(served: Served) -> None:
    client, cluster = served
    await client.post("/v1/rerank", json=BODY)
    cluster.lost.add("a")
    await client.post("/v1/rerank", json=BODY)
    cluster.lost.clear()
    lines = (await client.get("/metrics")).text.splitlines()
    counted = [line for line in lines if line.startswith("rerank_requests_total") and MODEL.id in line]
    assert [line.split('replica="')[1][0] for line in counted] == ["a", "b"]
    assert any('deployment="ingress"' in line for line in lines)
    assert len(lines) == len(set(lines))


async def test_adds_up_the_load(served: Served) -> None:
    client, _ = served
    load = (await client.get("/load")).json()
    assert (load["server_load"], load["backlog_seconds"], sorted(load["replicas"])) == (0, 0, ["a", "b"])


async def test_is_ready_when_one_replica_is(served: Served) -> None:
    client, _ = served
    assert (await client.get(f"/ready?model={MODEL.id}")).status_code == 503
    await client.post(f"/v1/models/{MODEL.id}/load")
    assert (await client.get(f"/ready?model={MODEL.id}")).status_code == 200


async def test_is_not_healthy_without_a_replica(tmp_path: Path) -> None:
    async with serving({"a": AppUnderTest(tmp_path)}, rerank_models_dir=tmp_path) as (client, cluster):
        assert (await client.get("/health")).status_code == 200
        cluster.replicas.clear()
        assert (await client.get("/health")).status_code == 503
        assert (await client.get("/metrics")).status_code == 503


def test_hands_on_no_header_of_the_connection() -> None:
    given = [(b"connection", b"close"), (b"content-length", b"9"), (b"content-encoding", b"gzip"), (b"x-mine", b"1")]
    call = call_of({"type": "http", "path": "/", "headers": given, "extensions": {}}, b"abc")
    assert call.headers == ((b"x-mine", b"1"), (b"content-length", b"3"))
    assert "extensions" not in call.scope


async def test_closes_a_websocket(tmp_path: Path) -> None:
    sent: list[Any] = []

    async def receive() -> Any:
        return {"type": "websocket.connect"}

    async def send(message: Any) -> None:
        sent.append(message)

    cluster = LocalCluster({})
    settings = Settings(rerank_models_file=cards_file(tmp_path), rerank_models_dir=tmp_path)
    app = front_app(cluster, settings, Configured(settings))
    await app({"type": "websocket", "path": "/v1/rerank", "headers": [], "query_string": b""}, receive, send)
    assert [message["type"] for message in sent] == ["websocket.close"]

"""Keys of the application before the replicas: read again while it runs, and counted once."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from rerank.access.keyring import key_hash
from rerank.access.keys_file import read_keys_file
from rerank.scorers.fake import WordOverlapScorer
from tests.support.app import DOCUMENTS, MODEL, QUERY, AppUnderTest, GatedScorer, bearer
from tests.support.local_cluster import serving
from tests.support.redis_server import RedisServer
from tests.support.waiting import PATIENCE

BODY = {"model": MODEL.id, "query": QUERY, "documents": DOCUMENTS}


def keys_file(folder: Path, *keys: str) -> Path:
    file = folder / "keys.toml"
    entries = [f'[[key]]\nname = "{key}"\nsha256 = "{key_hash(key)}"\nrequests_per_minute = 2\n' for key in keys]
    file.write_text("\n".join(entries))
    return file


async def test_a_new_key_and_a_new_model_are_known_once_it_has_read_its_files_again(tmp_path: Path) -> None:
    keys = keys_file(tmp_path, "old")
    apps = {"a": AppUnderTest(tmp_path, keys=("old", "new"))}
    async with serving(apps, rerank_models_dir=tmp_path, rerank_keys_file=keys) as (client, cluster):
        assert (await client.post("/v1/rerank", json=BODY, headers=bearer("new"))).status_code == 401
        keys_file(tmp_path, "new")
        with (tmp_path / "models.toml").open("a") as cards:
            cards.write('[[model]]\nid = "maker/other"\naliases = ["nick"]\n')
        assert cluster.configured.reload()
        assert (await client.post("/v1/rerank", json=BODY, headers=bearer("old"))).status_code == 401
        assert (await client.post("/v1/rerank", json=BODY, headers=bearer("new"))).status_code == 200
        await client.post("/v1/rerank", json=BODY | {"model": "nick"}, headers=bearer("new"))
        assert cluster.wishes[-1].model == "maker/other"


@pytest.mark.parametrize(
    ("keys", "cards"), [("[[key]]", None), ("", None), ("gone", None), (None, "[[model]]"), (None, 'x = "y"')]
)
async def test_a_wrong_file_changes_neither_keys_nor_models(
    tmp_path: Path, keys: str | None, cards: str | None, caplog: pytest.LogCaptureFixture
) -> None:
    file = keys_file(tmp_path, "old")
    apps = {"a": AppUnderTest(tmp_path, keys=("old", "new"))}
    async with serving(apps, rerank_models_dir=tmp_path, rerank_keys_file=file) as (client, cluster):
        keys_file(tmp_path, "new")
        if keys is not None:
            file.write_text(keys)
        if keys == "gone":
            file.unlink()
        if cards is not None:
            (tmp_path / "models.toml").write_text(cards)
        assert not cluster.configured.reload()
        assert "models and keys unchanged" in caplog.text
        assert (await client.post("/v1/rerank", json=BODY, headers=bearer("old"))).status_code == 200
        assert (await client.post("/v1/rerank", json=BODY, headers=bearer("new"))).status_code == 401


async def test_a_request_that_a_full_replica_refuses_counts_once(tmp_path: Path, redis_server: RedisServer) -> None:
    keys = keys_file(tmp_path, "limited", "filling")
    named = read_keys_file(keys)
    gated = GatedScorer()
    scorers = {"a": gated, "b": WordOverlapScorer()}
    apps = {
        name: AppUnderTest(tmp_path, scorer, named_keys=named, max_inflight_documents=1, state_url=redis_server.url)
        for name, scorer in scorers.items()
    }
    async with serving(apps, rerank_models_dir=tmp_path, rerank_keys_file=keys) as (client, cluster):
        filling = asyncio.ensure_future(client.post("/v1/rerank", json=BODY, headers=bearer("filling")))
        # while a model loads it is another room that is full
        await asyncio.to_thread(gated.reached.wait, PATIENCE)
        answers = [await client.post("/v1/rerank", json=BODY, headers=bearer("limited")) for _ in range(3)]
        assert [answer.status_code for answer in answers] == [200, 200, 429]
        assert "The key limited has used up its 2 requests a minute" in answers[-1].text
        assert all(wish.tried == ["a", "b"] for wish in cluster.wishes[-2:])
        apps["a"].release()
        assert (await filling).status_code == 200

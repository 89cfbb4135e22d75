"""Models behind other servers, through the whole server; this one is its own upstream by every API it speaks."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path
from typing import Any

import pytest
import requests

from rerank.errors import SettingsError
from tests.support.fake_upstream import FakeUpstream, score_of
from tests.support.whole import whole_app, whole_server

QUERY = "Which city is the capital of France?"
DOCUMENTS = ["Paris is the capital of France.", "Cheese.", "Berlin is the capital of Germany.", "", "Cheese."]
PREFIXES = {"voyage": "/voyage", "infinity": "/infinity", "tei": "/tei"}
SPOKEN = (
    *("vllm", "cohere", "jina", "siliconflow", "voyage", "dashscope", "dashscope-compatible", "tei", "nvidia"),
    "infinity",
)
WORDS = "sentence-transformers/all-MiniLM-L6-v2"


def cards(url: str) -> str:
    return "".join(
        f'[[model]]\nid = "by-{api}"\nupstream = {{ api = "{api}", url = "{url}{PREFIXES.get(api, "")}", '
        f'model = "{WORDS}", max_documents = 3 }}\n'
        for api in SPOKEN
    )


@pytest.fixture(scope="module")
def near_and_far(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[str, str]]:
    """A server with a model, and one that has it as upstream by every API."""
    with ExitStack() as servers:
        far = servers.enter_context(whole_server(tmp_path_factory.mktemp("far")))
        folder = tmp_path_factory.mktemp("near")
        (folder / "models.toml").write_text(cards(far), encoding="utf-8")
        yield servers.enter_context(whole_server(folder)), far


def rerank(server: str, **fields: Any) -> Any:
    body = {"query": QUERY, "documents": DOCUMENTS} | fields
    return requests.post(f"{server}/v1/rerank", json=body, timeout=100)


@pytest.mark.parametrize("api", SPOKEN)
def test_this_server_is_its_own_upstream_by_every_api(api: str, near_and_far: tuple[str, str]) -> None:
    near, far = near_and_far
    ours, theirs = rerank(near, model=f"by-{api}").json(), rerank(far, model=WORDS).json()
    assert ours.get("model") == f"by-{api}", ours
    assert [one["index"] for one in ours["results"]] == [one["index"] for one in theirs["results"]]
    assert api == "nvidia" or [one["relevance_score"] for one in ours["results"]] == pytest.approx(
        [one["relevance_score"] for one in theirs["results"]], abs=1e-6
    )


def test_logits_come_from_an_api_that_has_them(near_and_far: tuple[str, str]) -> None:
    near, far = near_and_far
    ours = rerank(near, model="by-nvidia", use_activation=False).json()["results"]
    theirs = rerank(far, model=WORDS, use_activation=False).json()["results"]
    assert [one["relevance_score"] for one in ours] == pytest.approx(
        [one["relevance_score"] for one in theirs], abs=1e-6
    )


def test_logits_that_an_api_does_not_have_are_refused_by_name(near_and_far: tuple[str, str]) -> None:
    answer = rerank(near_and_far[0], model="by-cohere", use_activation=False)
    assert answer.status_code == 400
    assert "by-cohere" in answer.json()["error"]["message"]


@pytest.fixture
def upstream() -> Iterator[FakeUpstream]:
    with FakeUpstream() as upstream:
        yield upstream


@pytest.fixture
def server(upstream: FakeUpstream, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[str]:
    monkeypatch.setenv("FAR_KEY", "sk-very-secret")
    card = f'[[model]]\nid = "acme/far"\nupstream = {{ api = "vllm", url = "{upstream.url}", key_env = "FAR_KEY" }}\n'
    (tmp_path / "models.toml").write_text(card, encoding="utf-8")
    with whole_server(tmp_path, default_model="acme/far", open_metrics=True) as url:
        yield url


def test_an_upstream_is_shown_with_its_breaker(server: str, upstream: FakeUpstream) -> None:
    assert rerank(server).json()["results"][0]["relevance_score"] == score_of(max(DOCUMENTS, key=len))
    upstream.always_answers(500)
    assert [rerank(server, query=f"{number}").status_code for number in range(6)] == [502] * 6
    assert len(upstream.calls) == 6
    shown = requests.get(f"{server}/v1/models/acme/far", timeout=60).json()
    assert shown["upstream"] == {"api": "vllm", "host": upstream.url.removeprefix("http://"), "breaker": "open"}
    assert (shown["loaded"], shown["local"], shown["family"], shown["bytes"]) == (True, False, "upstream", None)
    metrics = requests.get(f"{server}/metrics", timeout=60).text
    assert 'rerank_upstream_up{model="acme/far"} 0.0' in metrics
    assert "sk-very-secret" not in metrics + str(shown)
    assert upstream.calls[0].headers["authorization"] == "Bearer sk-very-secret"


def test_what_an_upstream_does_not_say_of_truncation_is_left_out(server: str, upstream: FakeUpstream) -> None:
    for _ in range(2):
        assert all("truncated" not in result for result in rerank(server).json()["results"])
    results = upstream.scores(DOCUMENTS[:2])["results"]
    upstream.will_answer(body={"results": [one | {"truncated": not one["index"]} for one in results]})
    found = rerank(server, documents=DOCUMENTS[:2], query="another").json()["results"]
    assert {one["index"]: one["truncated"] for one in found} == {0: True, 1: False}
    assert len(upstream.calls) == 2


def test_neither_embeddings_nor_tokens_come_from_an_upstream(server: str, upstream: FakeUpstream) -> None:
    for path, body in (("/v1/embeddings", {"input": "a"}), ("/tokenize", {"prompt": "a"}), ("/classify", {})):
        answer = requests.post(server + path, json=body, timeout=60)
        assert answer.status_code == 400
        assert "a reranker on another server" in answer.json()["error"]["message"]
    assert upstream.calls == []


def test_a_request_that_has_passed_many_servers_goes_no_further(server: str, upstream: FakeUpstream) -> None:
    body = {"query": QUERY, "documents": DOCUMENTS}
    answer = requests.post(f"{server}/v1/rerank", json=body, headers={"X-Rerank-Hops": "3"}, timeout=60)
    assert (answer.status_code, answer.json()["error"]["type"]) == (508, "LoopDetectedError")
    assert upstream.calls == []
    for nonsense in ("-1", "x", "9" * 100, ""):
        answer = requests.post(f"{server}/v1/rerank", json=body, headers={"X-Rerank-Hops": nonsense}, timeout=60)
        assert answer.status_code == 200


@pytest.mark.parametrize(
    ("upstream_table", "said"),
    [
        ('{ api = "tei", url = "http://far", key_env = "NO_SUCH_KEY" }', "far: upstream: .*NO_SUCH_KEY .* is not set"),
        ('{ api = "tei", url = "http://far", key_file = "none.key" }', r"far: upstream: .*none\.key .* cannot be read"),
        (
            '{ api = "tei", url = "http://localhost:8000" }',
            "far: upstream: http://localhost:8000/rerank is this",
        ),
        ('{ api = "tei", url = "http://127.0.0.1:8000/x" }', "is this server"),
        ('{ api = "tei", url = "http://[::1]:8000/rerank" }', "is this server"),
    ],
)
def test_what_cannot_work_is_refused_at_start(upstream_table: str, said: str, tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text(f'[[model]]\nid = "far"\nupstream = {upstream_table}\n', encoding="utf-8")
    with pytest.raises(SettingsError, match=rf"models\.toml: .*{said}"):
        whole_app(models_dir=tmp_path / "models", models_file=file, model_device="cpu")


def test_another_port_on_this_machine_is_another_server(tmp_path: Path) -> None:
    file = tmp_path / "models.toml"
    file.write_text('[[model]]\nid = "far"\nupstream = { api = "tei", url = "http://localhost:8001" }\n', "utf-8")
    whole_app(models_dir=tmp_path / "models", models_file=file, model_device="cpu")

"""The models files of the guides to the gateway and to models, as they stand there."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

import rerank
from rerank.catalog.catalog import Catalog
from rerank.gateway.routing.plan import check_routes
from rerank_client import SyncRerankClient
from tests.support.fake_upstream import FakeUpstream
from tests.support.whole import whole_server

ROOT = Path(rerank.__file__).parents[1]
QUERY = "What is the capital of France?"
DOCUMENTS = ["I like cheese.", "Paris is the capital of France."]


def models_files(page: str) -> list[str]:
    return re.findall(r"```toml\n(.*?)```", (ROOT / page).read_text("utf-8"), re.DOTALL)


@pytest.mark.parametrize("page", ["docs/guides/gateway.md", "docs/guides/models.md", "docs/guides/models.zh-CN.md"])
def test_the_models_files_of_a_page_are_right(page: str, tmp_path: Path) -> None:
    files = models_files(page)
    assert files
    for text in files:
        (tmp_path / "models.toml").write_text(text, "utf-8")
        catalog = Catalog.open(tmp_path / "models", tmp_path / "models.toml")
        check_routes(catalog.cards(), catalog.resolve)


def test_an_api_a_local_model_and_cosine_answer_in_turn(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """What a program's RerankingConfig once said, as the page says it now."""
    *_, text = models_files("docs/guides/gateway.md")
    monkeypatch.setenv("DASHSCOPE_API_KEY", "sk-0123456789")
    settings = {"default_model": "rerank", "cache": "memory", "cache_ttl": "3600", "timeout": 30, "downloads": "off"}
    with FakeUpstream("dashscope") as upstream:
        # the page's own address is on the internet
        text = text.replace('api = "dashscope"', f'api = "dashscope", url = "{upstream.url}"')
        (tmp_path / "models.toml").write_text(text, "utf-8")
        with whole_server(tmp_path, **settings) as url, SyncRerankClient(url) as client:
            remote = client.rerank(QUERY, DOCUMENTS, top_n=20)
            again = client.rerank(QUERY, DOCUMENTS, top_n=20)
            upstream.always_answers(500)
            local = client.rerank(QUERY, [*DOCUMENTS, "Berlin is in Germany."], top_n=20)
    assert (remote.model, remote.degraded, remote.meta["cached"]) == ("gte", False, 0)
    assert (again.model, again.meta["cached"]) == ("gte", 2)
    assert (local.model, local.degraded) == ("sentence-transformers/all-MiniLM-L6-v2", True)
    assert local[0].document == DOCUMENTS[1]
    assert [attempt["outcome"] for attempt in local.meta["route"]] == ["UpstreamFailed", "DownloadForbidden", "ok"]

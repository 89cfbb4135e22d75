"""The models of this machine and those of a server, asked alike."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest

from rerank.errors import RerankError, SettingsError
from rerank.evaluation.needs import needed
from rerank.evaluation.rankers import Asked, EngineRankers, ServerRankers, open_rankers
from rerank.settings import Settings
from rerank_client import RerankResult, RerankResults
from tests.support.tiny_checkpoints import make_xlm_roberta

QUERY, DOCUMENTS = "what is a panda?", ["the giant panda", "machine learning", "panda " * 900]
CARDS = """
[[model]]
id = "blend"
ensemble = { models = ["tiny", "lexical"], fusion = "rrf" }

[[model]]
id = "elsewhere"
repo = "organisation/elsewhere"
"""


@asynccontextmanager
async def here(folder: Path) -> AsyncIterator[EngineRankers]:
    (folder / "models.toml").write_text(CARDS)
    choices: dict[str, Any] = {
        "rerank_models_dir": folder,
        "rerank_models_file": folder / "models.toml",
        "rerank_model_device": "cpu",
        "rerank_model_runtime": "torch",
    }
    async with open_rankers(Settings(_env_file=None, **choices)) as rankers:
        assert isinstance(rankers, EngineRankers)
        yield rankers


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("models")
    make_xlm_roberta(folder / "tiny")
    return folder


async def test_the_engine_ranks_with_what_is_asked_for(models: Path) -> None:
    async with here(models) as rankers:
        whole = await rankers.ask("TINY", QUERY, DOCUMENTS)
        chunked = await rankers.ask("tiny", QUERY, DOCUMENTS, Asked(max_chunks_per_doc=9))

        assert sorted(whole.order) == [0, 1, 2]
        assert whole.relevance[whole.order[0]] == max(whole.relevance)
        assert chunked.tokens > whole.tokens > 0
        assert await rankers.identity("TINY") == await rankers.identity("tiny") == "tiny"
        # keyword search has no weights
        assert (await rankers.version("blend")).split() == [await rankers.version("tiny")]


async def test_only_embedding_models_give_vectors(models: Path) -> None:
    async with here(models) as rankers:
        vectors = await rankers.embed("cosine", [QUERY, *DOCUMENTS])
        assert vectors is not None
        assert [len(vector) for vector in vectors] == [384] * 4
        for name in ("tiny", "blend", "lexical"):
            assert await rankers.embed(name, DOCUMENTS) is None


async def test_a_model_has_weights_and_an_ensemble_members(models: Path) -> None:
    async with here(models) as rankers:
        assert len(await rankers.weights("tiny")) == 32
        assert await rankers.weights("tiny") != await rankers.weights("lexical")
        assert await rankers.members("blend") == ("tiny", "lexical")
        with pytest.raises(SettingsError, match="blend is made of other models"):
            await rankers.weights("blend")
        with pytest.raises(SettingsError, match="tiny is not an ensemble"):
            await rankers.members("tiny")


async def test_a_model_that_is_not_on_disk_is_not_fetched(models: Path) -> None:
    async with here(models) as rankers:
        with pytest.raises(RerankError, match=r"elsewhere is not on disk; fetch it first: .*elsewhere"):
            await rankers.ask("elsewhere", QUERY, DOCUMENTS)


class FakeClient:
    """Answers with these results."""

    def __init__(self, results: RerankResults) -> None:
        self.results, self.options = results, dict[str, Any]()
        self.listed: list[dict[str, Any]] = [{"id": "BAAI/bge-reranker-base", "fingerprint": "12ab"}, {"id": "another"}]

    async def rerank(self, query: str, documents: list[str], **options: Any) -> RerankResults:
        self.options = options
        return self.results

    async def model(self, name: str) -> dict[str, Any] | None:
        return next((model for model in self.listed if model["id"].casefold() == name.casefold()), None)


def asked(results: list[RerankResult], **meta: Any) -> tuple[ServerRankers, FakeClient]:
    client = FakeClient(RerankResults(results, "another", meta))
    return ServerRankers(client), client  # type: ignore[arg-type]


async def test_a_servers_answer_is_put_into_the_callers_order() -> None:
    rankers, client = asked(
        [RerankResult(2, 0.9, None, {"tokens": 5}), RerankResult(0, 0.5, None, {"tokens": 7}), RerankResult(1, 0, None)]
    )

    ranked = await rankers.ask("name", QUERY, DOCUMENTS, Asked(instruction="find pandas"))

    assert (ranked.relevance, ranked.order, ranked.tokens) == ((0.5, 0.0, 0.9), (2, 0, 1), 12)
    assert client.options.pop("model") == "name"
    assert {name: value for name, value in client.options.items() if value is not None} == {
        "instruction": "find pandas"
    }
    assert await rankers.identity("baai/BGE-reranker-base") == "BAAI/bge-reranker-base"


async def test_a_servers_scores_are_the_ranking_whatever_order_they_come_in() -> None:
    rankers, _ = asked([RerankResult(1, 0.2, None), RerankResult(2, 0.7, None), RerankResult(0, 0.2, None)])

    assert (await rankers.ask("name", QUERY, DOCUMENTS)).order == (2, 1, 0)


async def test_what_a_server_says_of_tokens_counts_if_it_is_a_number() -> None:
    said = [4, "many", None]
    rankers, _ = asked([RerankResult(index, 0.5, None, {"tokens": tokens}) for index, tokens in enumerate(said)])

    assert (await rankers.ask("name", QUERY, DOCUMENTS)).tokens == 4


@pytest.mark.parametrize(("name", "version"), [("baai/bge-reranker-BASE", "12ab"), ("another", ""), ("alias", "")])
async def test_a_server_is_asked_once_before_it_tells_the_version(name: str, version: str) -> None:
    rankers, client = asked([RerankResult(0, 0.5, None)])

    assert await rankers.version(name) == version
    assert client.options["model"] == name


async def test_a_server_lists_weights_and_members() -> None:
    rankers, client = asked([RerankResult(0, 0.5, None)])
    client.listed = [
        {"id": "BAAI/bge-reranker-base", "fingerprint": "f" * 32, "family": "cross-encoder", "members": None},
        {"id": "blend", "fingerprint": None, "family": "ensemble", "members": ["a", "b"]},
    ]
    assert await rankers.weights("baai/bge-reranker-base") == "f" * 32
    assert await rankers.members("blend") == ("a", "b")
    for name in ("blend", "unknown"):
        with pytest.raises(RerankError, match=f"does not say which weights {name} has"):
            await rankers.weights(name)
    for name in ("baai/bge-reranker-base", "unknown"):
        with pytest.raises(SettingsError, match=f"{name} is not an ensemble"):
            await rankers.members(name)


@pytest.mark.parametrize("meta", [{"degraded": True}, {"partial": True}])
async def test_another_models_scores_and_half_answers_are_refused(meta: dict[str, Any]) -> None:
    rankers, _ = asked([RerankResult(index, 0.5, None) for index in range(3)], **meta)

    with pytest.raises(RerankError, match=r"name is not available as a whole: another answered"):
        await rankers.ask("name", QUERY, DOCUMENTS)


@pytest.mark.parametrize("indices", [(0, 1), (0, 1, 1)])
async def test_an_answer_with_documents_missing_is_refused(indices: tuple[int, ...]) -> None:
    rankers, _ = asked([RerankResult(index, 0.5, None) for index in indices])

    with pytest.raises(RerankError, match="the server ranked 2 of 3 documents"):
        await rankers.ask("name", QUERY, DOCUMENTS)


async def test_a_server_that_does_not_answer_is_an_error() -> None:
    with pytest.raises(RerankError, match="the server: "):
        async with open_rankers(Settings(_env_file=None), "http://127.0.0.1:9"):
            raise AssertionError


def test_a_package_that_is_missing_is_named_with_the_way_to_get_it() -> None:
    with pytest.raises(SettingsError, match=r"no_such_package is not installed; get it with: pip install '.*\[eval"):
        needed("no_such_package")

"""Products whose clients cannot be installed: the requests each makes, in order, and what it reads of the answers.

Taken from their sources: AstrBot 4.27, Dify's official plugins of 2026-08, RAGFlow 0.27, FastGPT, Open WebUI 0.12,
Cherry Studio, LightRAG 1.5, MaxKB, OpenSearch's and Elasticsearch's connectors, Weaviate, Milvus.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import pytest
from fastapi.testclient import TestClient

from .conftest import MODEL

QUERY = "what is machine learning?"
DOCUMENTS = ["Machine learning is a branch of AI", "Python is a programming language", "机器学习是人工智能的一个分支"]
COUNT = len(DOCUMENTS)
PLAIN = {"model": MODEL, "query": QUERY, "documents": DOCUMENTS}
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"


class Product:
    """A client as far as the wire goes."""

    def __init__(self, client: TestClient) -> None:
        self._client = client

    def get(self, path: str) -> Any:
        response = self._client.get(path)
        assert response.status_code == 200, response.text
        return response.json() if response.content else None

    def post(self, path: str, body: dict[str, Any], **headers: str) -> Any:
        response = self._client.post(path, json=body, headers=headers)
        assert response.status_code == 200, response.text
        assert response.headers["content-type"] == "application/json"
        return response.json()


Scores = dict[int, float]
"""By place in the request."""


def of(items: list[dict[str, Any]], key: str = "relevance_score") -> Scores:
    """Scores of items that hold a place and fall."""
    scores = [item[key] for item in items]
    assert items
    assert scores == sorted(scores, reverse=True)
    assert all(type(score) is float for score in scores)
    return {item["index"]: item[key] for item in items}


def astrbot_vllm(product: Product) -> Scores:
    assert product.post("/v1/rerank", {"query": "Apple", "documents": ["apple", "banana"], "model": MODEL})["results"]
    return of(product.post("/v1/rerank", PLAIN)["results"])


def astrbot_tei(product: Product) -> Scores:
    product.get("/health")
    body = {"query": QUERY, "texts": DOCUMENTS, "truncate": True, "truncation_direction": "right", "raw_scores": False}
    return of(product.post("/rerank", body), "score")


def astrbot_xinference(product: Product) -> Scores:
    assert product.get("/v1/cluster/auth") == {"auth": False}
    listed = product.get("/v1/models")["data"]
    (uid,) = [model["id"] for model in listed if model["model_name"] == MODEL]
    assert product.get(f"/v1/models/{uid}")["model_type"] == "rerank"
    nulls = dict.fromkeys(("top_n", "max_chunks_per_doc", "return_documents", "return_len"))
    return of(product.post("/v1/rerank", PLAIN | {"model": uid, "kwargs": "{}"} | nulls)["results"])


def astrbot_bailian(product: Product) -> Scores:
    nested = {"model": MODEL, "input": {"query": QUERY, "documents": DOCUMENTS}, "parameters": {"top_n": COUNT}}
    answer = product.post(NATIVE, nested)
    assert answer.get("code", "200") == "200"
    # the nested body goes to the flat address too, where a flat answer is expected
    flat = product.post("/compatible-api/v1/reranks", nested)
    assert not flat.get("code")
    assert of(flat["results"]) == of(answer["output"]["results"])
    return of(answer["output"]["results"])


def astrbot_nvidia(product: Product) -> Scores:
    body = {"model": MODEL, "query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}
    return of(product.post("/v1/retrieval/nvidia/reranking", body | {"truncate": "END"})["rankings"], "logit")


def dify_openai_compatible(product: Product) -> Scores:
    vision = [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS]
    answer = product.post("/v1/rerank", PLAIN | {"top_n": COUNT})
    assert of(product.post("/v1/rerank", PLAIN | {"documents": vision, "top_n": COUNT})["results"]) == of(
        answer["results"]
    )
    return of(answer["results"])


def with_documents(path: str, fields: dict[str, Any]) -> Callable[[Product], Scores]:
    """Clients that read the text back from ``document.text``."""

    def ask(product: Product) -> Scores:
        results = product.post(path, PLAIN | fields)["results"]
        assert [result["document"]["text"] for result in results] == [DOCUMENTS[result["index"]] for result in results]
        return of(results)

    return ask


def without_documents(path: str, fields: dict[str, Any]) -> Callable[[Product], Scores]:
    """Clients that read index and score only."""
    return lambda product: of(product.post(path, PLAIN | fields)["results"])


def dify_xinference(product: Product) -> Scores:
    assert product.get(f"/v1/models/{MODEL}")["model_type"] == "rerank"
    fields = {"top_n": None, "max_chunks_per_doc": None, "return_documents": True, "return_len": None, "kwargs": "{}"}
    return with_documents("/v1/rerank", fields)(product)


def dify_tei(product: Product) -> Scores:
    info = product.get("/info")
    assert "reranker" in info["model_type"]
    ranks = product.post("/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True})
    assert [rank["text"] for rank in ranks] == [DOCUMENTS[rank["index"]] for rank in ranks]
    return of(ranks, "score")


def dify_voyage(product: Product) -> Scores:
    answer = product.post("/voyage/v1/rerank", PLAIN | {"top_k": None, "return_documents": True})
    assert [item["document"] for item in answer["data"]] == [DOCUMENTS[item["index"]] for item in answer["data"]]
    return of(answer["data"])


def dify_ollama(product: Product) -> Scores:
    results = product.post("/api/rerank", PLAIN | {"top_n": COUNT})["results"]
    assert all(isinstance(result.get("document", ""), str) for result in results)
    return of(results)


def ragflow_tei(product: Product) -> Scores:
    """It sends eight texts at a time, and no model."""
    return of(
        product.post("/rerank", {"query": QUERY, "texts": DOCUMENTS, "raw_scores": False, "truncate": True}), "score"
    )


def fastgpt(product: Product) -> Scores:
    answer = product.post("/v1/rerank", PLAIN)
    assert isinstance(answer["meta"]["tokens"]["input_tokens"], int)
    return of(answer["results"])


def open_webui(product: Product) -> Scores:
    results = product.post("/v1/rerank", PLAIN | {"top_n": COUNT}, Authorization="Bearer ")["results"]
    by_place = sorted(results, key=lambda result: result["index"])
    assert [result["index"] for result in by_place] == list(range(COUNT))
    return of(results)


def cherry_studio_tei(product: Product) -> Scores:
    return of(product.post("/v1/rerank", {"query": QUERY, "texts": DOCUMENTS, "return_text": True}), "score")


def cherry_studio_voyage(product: Product) -> Scores:
    return of(product.post("/voyage/v1/rerank", PLAIN | {"top_k": COUNT})["data"])


def light_rag_aliyun(product: Product) -> Scores:
    nested = {"model": MODEL, "input": {"query": QUERY, "documents": DOCUMENTS}, "parameters": {"top_n": COUNT}}
    return of(product.post(NATIVE, nested)["output"]["results"])


def elasticsearch(product: Product) -> Scores:
    items = product.post(
        "/tei/rerank", {"query": QUERY, "documents": DOCUMENTS, "return_documents": True, "top_n": COUNT}
    )
    assert all(set(item) <= {"index", "score", "relevance_score", "text", "document"} for item in items)
    return of(items, "score")


def weaviate_transformers(product: Product) -> Scores:
    scores = product.post("/rerank", {"query": QUERY, "documents": DOCUMENTS, "property": ""})["scores"]
    assert [item["document"] for item in scores] == DOCUMENTS
    return {place: item["score"] for place, item in enumerate(scores)}


def weaviate_cohere(product: Product) -> Scores:
    answer = product.post("/v2/rerank", PLAIN | {"return_documents": False})
    assert isinstance(answer["meta"]["api_version"]["version"], str)
    assert all("document" not in result or isinstance(result["document"], dict) for result in answer["results"])
    return of(answer["results"])


def milvus(product: Product) -> Scores:
    """It names no model."""
    results = product.post("/rerank", {"query": QUERY, "documents": DOCUMENTS})["results"]
    assert {result["index"] for result in results} == set(range(COUNT))
    return of(results)


PRODUCTS: dict[str, Callable[[Product], Scores]] = {
    "AstrBot vLLM": astrbot_vllm,
    "AstrBot vLLM, top_n": without_documents("/v1/rerank", {"top_n": COUNT}),
    "AstrBot TEI": astrbot_tei,
    "AstrBot Xinference": astrbot_xinference,
    "AstrBot Bailian": astrbot_bailian,
    "Dify OpenAI-API-compatible": dify_openai_compatible,
    "Dify SDK base": without_documents("/v1/rerank", {"top_n": None, "return_documents": True}),
    "Dify LocalAI": with_documents("/v1/rerank", {"top_n": None}),
    "Dify Xinference": dify_xinference,
    "Dify TEI": dify_tei,
    "Dify Jina": without_documents(
        "/v1/rerank", {"documents": [{"text": text} for text in DOCUMENTS], "top_n": None, "return_documents": False}
    ),
    "Dify SiliconFlow": with_documents("/v1/rerank", {"top_n": None, "return_documents": True}),
    "Dify Cohere": with_documents("/v1/rerank", {"top_n": None, "return_documents": True}),
    "Dify Voyage": dify_voyage,
    "Dify GPUStack": with_documents("/v1/rerank", {"top_n": 3}),
    "Dify Ollama": dify_ollama,
    "RAGFlow VLLM": without_documents("/v1/v1/rerank", {"top_n": COUNT, "return_documents": False}),
    "RAGFlow New API": without_documents("/v1/rerank", {"top_n": COUNT}),
    "RAGFlow Xinference": without_documents("/v1/rerank", {"return_documents": "true", "return_len": "true"}),
    "RAGFlow LocalAI": without_documents("/rerank", {"top_n": COUNT}),
    "RAGFlow SILICONFLOW": without_documents(
        "/v1/rerank", {"top_n": COUNT, "return_documents": False, "max_chunks_per_doc": 1024, "overlap_tokens": 80}
    ),
    "RAGFlow HuggingFace": ragflow_tei,
    "FastGPT": fastgpt,
    "Open WebUI": open_webui,
    "Cherry Studio": without_documents("/v1/rerank", {"top_n": COUNT}),
    "Cherry Studio TEI": cherry_studio_tei,
    "Cherry Studio Voyage": cherry_studio_voyage,
    "MaxKB vLLM": with_documents("/v2/rerank", {}),
    "MaxKB SiliconCloud": with_documents("/v1/rerank", {"top_n": COUNT, "return_documents": True}),
    "LightRAG": without_documents("/v1/rerank", {"top_n": COUNT, "return_documents": False}),
    "LightRAG aliyun": light_rag_aliyun,
    "OpenSearch": without_documents("/v1/rerank", {"top_n": COUNT}),
    "Elasticsearch": elasticsearch,
    "Weaviate transformers": weaviate_transformers,
    "Weaviate Cohere": weaviate_cohere,
    "Milvus vLLM": milvus,
    "Milvus TEI": ragflow_tei,
}


@pytest.fixture(scope="module")
def plain(client: TestClient) -> Scores:
    return {item["index"]: item["relevance_score"] for item in client.post("/v1/rerank", json=PLAIN).json()["results"]}


@pytest.mark.parametrize("strict", [False], indirect=True)
@pytest.mark.parametrize("name", PRODUCTS)
def test_a_product_gets_the_scores_of_a_plain_request(client: TestClient, plain: Scores, name: str) -> None:
    assert PRODUCTS[name](Product(client)) == pytest.approx(plain, abs=1e-9)


@pytest.mark.parametrize("strict", [False], indirect=True)
def test_nvidias_logits_rank_as_the_scores_do(client: TestClient, plain: Scores) -> None:
    logits = astrbot_nvidia(Product(client))
    assert sorted(logits, key=logits.__getitem__) == sorted(plain, key=plain.__getitem__)


@pytest.mark.parametrize("strict", [False], indirect=True)
def test_every_reader_of_errors_finds_a_sentence(client: TestClient) -> None:
    body = json.loads(client.post("/v1/rerank", json=PLAIN | {"model": "nope"}).content)
    assert body["error"]["message"] == body["message"] == body["detail"]

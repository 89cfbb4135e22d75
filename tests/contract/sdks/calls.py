"""Reranks through other people's SDKs. Runs in a virtual environment that has them and nothing of this project.

    python calls.py < job.json

The job names a query, documents, situations (each with the server's address, a key and a model) and the calls to make
in each. Prints a JSON object: for each call and situation its ranking as ``[index, score]`` pairs, or the class and
text of the exception.
"""

from __future__ import annotations

import asyncio
import atexit
import json
import socket
import subprocess
import sys
import tempfile
import time
import urllib.error
import urllib.request
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

Ranking = Sequence[tuple[int, float]]


@dataclass(frozen=True)
class Job:
    """What to rank, and where."""

    situation: str
    url: str
    key: str
    model: str
    query: str
    documents: list[str]


CALLS: dict[str, Callable[[Job], Ranking]] = {}


def call(function: Callable[[Job], Ranking]) -> Callable[[Job], Ranking]:
    """Make a function known by its name."""
    CALLS[function.__name__] = function
    return function


def main() -> None:
    """Make the calls of the job on standard input."""
    asked = json.load(sys.stdin)
    common = {"query": asked["query"], "documents": asked["documents"]}
    jobs = {name: Job(name, **place, **common) for name, place in asked["situations"].items()}
    proxied.extend(jobs.values())
    answers = {
        name: {situation: outcome(CALLS[name], jobs[situation]) for situation in situations}
        for name, situations in asked["calls"].items()
    }
    print(json.dumps(answers))


def outcome(function: Callable[[Job], Ranking], job: Job) -> dict[str, Any]:
    """The ranking, or what was raised."""
    try:
        return {"ranking": [[index, score] for index, score in function(job)]}
    except Exception as error:
        kind = type(error)
        return {"error": f"{kind.__module__}.{kind.__qualname__}", "text": str(error)}


def by_place(answer: Any) -> Ranking:
    """Of an answer whose results have ``index`` and ``relevance_score``."""
    return [(result.index, result.relevance_score) for result in answer.results]


# ---------------------------------------------------------------- cohere, both majors

NO_RETRIES = {"max_retries": 0}


@call
def cohere_v1(job: Job) -> Ranking:
    import cohere

    client = cohere.Client(job.key, base_url=job.url)
    asked = {"model": job.model, "query": job.query, "documents": job.documents}
    answer = client.rerank(**asked, return_documents=True, request_options=NO_RETRIES)
    assert [result.document.text for result in answer.results] == [job.documents[r.index] for r in answer.results]
    return by_place(answer)


@call
def cohere_v1_objects(job: Job) -> Ranking:
    import cohere

    documents = [{"title": "", "text": text} for text in job.documents]
    client = cohere.Client(job.key, base_url=f"{job.url}/v1")
    asked = {"model": job.model, "query": job.query, "documents": documents, "rank_fields": ["text"]}
    return by_place(client.rerank(**asked, request_options=NO_RETRIES))


@call
def cohere_v2(job: Job) -> Ranking:
    import cohere

    client = cohere.ClientV2(job.key, base_url=job.url)
    asked = {"model": job.model, "query": job.query, "documents": job.documents}
    answer = client.rerank(**asked, top_n=len(job.documents), request_options=NO_RETRIES)
    assert answer.meta.api_version.version == "2"
    return by_place(answer)


@call
def cohere_v1_async(job: Job) -> Ranking:
    import cohere

    client = cohere.AsyncClient(job.key, base_url=job.url)
    asked = {"model": job.model, "query": job.query, "documents": job.documents}
    return by_place(asyncio.run(client.rerank(**asked, request_options=NO_RETRIES)))


@call
def cohere_v2_async(job: Job) -> Ranking:
    import cohere

    client = cohere.AsyncClientV2(job.key, base_url=job.url)
    asked = {"model": job.model, "query": job.query, "documents": job.documents}
    return by_place(asyncio.run(client.rerank(**asked, request_options=NO_RETRIES)))


# ---------------------------------------------------------------- infinity and LangChain


def infinity_client(job: Job) -> Any:
    from infinity_client import AuthenticatedClient

    return AuthenticatedClient(base_url=job.url, token=job.key, raise_on_unexpected_status=True)


@call
def infinity_sdk(job: Job) -> Ranking:
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    body = RerankInput(query=job.query, documents=job.documents, model=job.model)
    return by_place(rerank.sync(client=infinity_client(job), body=body))


@call
def infinity_sdk_prefixed(job: Job) -> Ranking:
    from infinity_client import AuthenticatedClient
    from infinity_client.api.default import rerank
    from infinity_client.models import RerankInput

    client = AuthenticatedClient(f"{job.url}/infinity", token=job.key, raise_on_unexpected_status=True)
    body = RerankInput(query=job.query, documents=job.documents, model=job.model, return_documents=True)
    answer = rerank.sync(client=client, body=body)
    assert [result.document for result in answer.results] == [job.documents[r.index] for r in answer.results]
    return by_place(answer)


def of_rows(rows: Sequence[dict[str, Any]]) -> Ranking:
    return [(row["index"], row["relevance_score"]) for row in rows]


@call
def langchain_infinity(job: Job) -> Ranking:
    from infinity_client import Client
    from langchain_community.document_compressors import InfinityRerank

    # it takes no authenticated client
    client = Client(base_url=job.url, headers={"Authorization": f"Bearer {job.key}"}, raise_on_unexpected_status=True)
    ranker = InfinityRerank(client=client, model=job.model, top_n=len(job.documents))
    return of_rows(ranker.rerank(job.documents, job.query))


@call
def langchain_jina(job: Job) -> Ranking:
    from langchain_community.document_compressors import jina_rerank

    # it has no setting for its address
    jina_rerank.JINA_API_URL = f"{job.url}/v1/rerank"
    ranker = jina_rerank.JinaRerank(jina_api_key=job.key, model=job.model, top_n=len(job.documents))
    return of_rows(ranker.rerank(job.documents, job.query))


@call
def langchain_cohere(job: Job) -> Ranking:
    from langchain_cohere import CohereRerank

    ranker = CohereRerank(cohere_api_key=job.key, model=job.model, base_url=job.url, top_n=None)
    return of_rows(ranker.rerank(job.documents, job.query))


@call
def langchain_dashscope(job: Job) -> Ranking:
    import dashscope
    from langchain_community.document_compressors.dashscope_rerank import DashScopeRerank

    dashscope.base_http_api_url = f"{job.url}/api/v1"
    ranker = DashScopeRerank(dashscope_api_key=job.key, top_n=len(job.documents))
    # whatever model it is made with, it asks for gte-rerank
    ranker.model = job.model
    return of_rows(ranker.rerank(job.documents, job.query))


# ---------------------------------------------------------------- LlamaIndex


def ranked_nodes(processor: Any, job: Job) -> Ranking:
    from llama_index.core.schema import NodeWithScore, TextNode

    nodes = [NodeWithScore(node=TextNode(text=text, id_=str(place))) for place, text in enumerate(job.documents)]
    ranked = processor.postprocess_nodes(nodes, query_str=job.query)
    return [(int(node.node.node_id), float(node.score)) for node in ranked]


@call
def llama_index_cohere(job: Job) -> Ranking:
    from llama_index.postprocessor.cohere_rerank import CohereRerank

    count = len(job.documents)
    ranker = CohereRerank(api_key=job.key, model=job.model, top_n=count, base_url=job.url, max_retries=1)
    return ranked_nodes(ranker, job)


@call
def llama_index_tei(job: Job) -> Ranking:
    from llama_index.postprocessor.tei_rerank import TextEmbeddingInference

    count = len(job.documents)
    ranker = TextEmbeddingInference(base_url=job.url, top_n=count, auth_token=job.key, model_name=job.model)
    return ranked_nodes(ranker, job)


@call
def llama_index_xinference(job: Job) -> Ranking:
    from llama_index.postprocessor.xinference_rerank import XinferenceRerank

    return ranked_nodes(XinferenceRerank(model=job.model, base_url=job.url, top_n=len(job.documents)), job)


@call
def llama_index_jina(job: Job) -> Ranking:
    from llama_index.postprocessor.jinaai_rerank import JinaRerank

    ranker = JinaRerank(api_key=job.key, model=job.model, top_n=len(job.documents), base_url=f"{job.url}/v1")
    return ranked_nodes(ranker, job)


@call
def llama_index_dashscope(job: Job) -> Ranking:
    import dashscope
    from llama_index.postprocessor.dashscope_rerank import DashScopeRerank

    dashscope.base_http_api_url = f"{job.url}/api/v1"
    return ranked_nodes(DashScopeRerank(api_key=job.key, model=job.model, top_n=len(job.documents)), job)


# ---------------------------------------------------------------- Haystack


def ranked_documents(ranker: Any, job: Job) -> Ranking:
    from haystack import Document

    documents = [Document(id=str(place), content=text) for place, text in enumerate(job.documents)]
    if hasattr(ranker, "warm_up"):
        ranker.warm_up()
    ranked = ranker.run(query=job.query, documents=documents)["documents"]
    return [(int(document.id), document.score) for document in ranked]


@call
def haystack_cohere(job: Job) -> Ranking:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.cohere import CohereRanker

    ranker = CohereRanker(model=job.model, api_key=Secret.from_token(job.key), api_base_url=job.url)
    return ranked_documents(ranker, job)


@call
def haystack_jina(job: Job) -> Ranking:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.jina import JinaRanker

    address = f"{job.url}/v1/rerank"
    ranker = JinaRanker(model=job.model, api_key=Secret.from_token(job.key), base_url=address)
    return ranked_documents(ranker, job)


@call
def haystack_tei(job: Job) -> Ranking:
    from haystack.utils import Secret
    from haystack_integrations.components.rankers.huggingface_api import HuggingFaceTEIRanker

    ranker = HuggingFaceTEIRanker(url=job.url, token=Secret.from_token(job.key), max_retries=0)
    return ranked_documents(ranker, job)


# ---------------------------------------------------------------- DashScope, Voyage, Xinference, OpenAI


@call
def dashscope_sdk(job: Job) -> Ranking:
    import dashscope

    answer = dashscope.TextReRank.call(
        model=job.model,
        query=job.query,
        documents=job.documents,
        return_documents=True,
        api_key=job.key,
        base_address=f"{job.url}/api/v1",
    )
    if answer.status_code != 200:
        # the SDK's way of saying an error is an answer with a code
        raise DashScopeRefusal(answer)
    results = answer.output.results
    # as an attribute it is None, whatever the server sent
    assert [result["document"]["text"] for result in results] == [job.documents[result.index] for result in results]
    return [(result.index, result.relevance_score) for result in results]


class DashScopeRefusal(Exception):
    """An answer of the DashScope SDK that says what went wrong."""

    def __init__(self, answer: Any) -> None:
        super().__init__(f"{answer.code}: {answer.message}")
        self.status_code = answer.status_code


@call
def voyage_sdk(job: Job) -> Ranking:
    import voyageai

    client = voyageai.Client(api_key=job.key, base_url=f"{job.url}/voyage/v1", max_retries=0)
    return by_place(client.rerank(job.query, job.documents, job.model))


@call
def xinference_sdk(job: Job) -> Ranking:
    from xinference_client import RESTfulClient

    model = RESTfulClient(job.url, api_key=job.key).get_model(job.model)
    answer = model.rerank(job.documents, job.query, return_documents=True)
    assert all(result["document"]["text"] == job.documents[result["index"]] for result in answer["results"])
    return of_rows(answer["results"])


# ---------------------------------------------------------------- vectors, ranked by their cosine


def by_cosine(query: Sequence[float], documents: Sequence[Sequence[float]]) -> Ranking:
    """Documents by falling cosine of vectors of length 1, as the server ranks them: from 0 to 1."""
    cosines = [sum(one * other for one, other in zip(query, document, strict=True)) for document in documents]
    return sorted(enumerate((1 + cosine) / 2 for cosine in cosines), key=lambda scored: -scored[1])


@call
def openai_embeddings(job: Job) -> Ranking:
    import openai

    client = openai.OpenAI(base_url=f"{job.url}/v1", api_key=job.key, max_retries=0)
    answer = client.embeddings.create(model=job.model, input=[job.query, *job.documents])
    query, *documents = (item.embedding for item in answer.data)
    return by_cosine(query, documents)


@call
def langchain_openai_embeddings(job: Job) -> Ranking:
    from langchain_openai import OpenAIEmbeddings

    model = OpenAIEmbeddings(
        model=job.model, base_url=f"{job.url}/v1", api_key=job.key, max_retries=0, check_embedding_ctx_length=False
    )
    return by_cosine(model.embed_query(job.query), model.embed_documents(job.documents))


@call
def llama_index_openai_embeddings(job: Job) -> Ranking:
    from llama_index.embeddings.openai_like import OpenAILikeEmbedding

    model = OpenAILikeEmbedding(model_name=job.model, api_base=f"{job.url}/v1", api_key=job.key, max_retries=0)
    return by_cosine(model.get_query_embedding(job.query), model.get_text_embedding_batch(job.documents))


@call
def llama_index_tei_embeddings(job: Job) -> Ranking:
    from llama_index.embeddings.text_embeddings_inference import TextEmbeddingsInference

    model = TextEmbeddingsInference(base_url=job.url, model_name=job.model, auth_token=job.key)
    return by_cosine(model.get_query_embedding(job.query), model.get_text_embedding_batch(job.documents))


@call
def openai_models(job: Job) -> Ranking:
    import openai

    client = openai.OpenAI(base_url=f"{job.url}/v1", api_key=job.key, max_retries=0)
    listed = [model.id for model in client.models.list()]
    assert f"sentence-transformers/{job.model}" in listed
    return []


# ---------------------------------------------------------------- LiteLLM

PROVIDERS = {
    "hosted_vllm": "/v1",
    "cohere": "",
    "jina_ai": "",
    "infinity": "/infinity",
    "huggingface": "",
    "voyage": "/voyage",
    "dashscope": "/v1",
}


def litellm_arguments(provider: str, job: Job) -> dict[str, Any]:
    return {
        "model": f"{provider}/{job.model}",
        "query": job.query,
        "documents": job.documents,
        "api_base": f"{job.url}{PROVIDERS[provider]}",
        "api_key": job.key,
    }


def of_litellm(answer: Any) -> Ranking:
    return of_rows(answer.results)


def litellm_call(provider: str, *, is_async: bool) -> Callable[[Job], Ranking]:
    def rerank(job: Job) -> Ranking:
        import litellm

        litellm.suppress_debug_info = True
        arguments = litellm_arguments(provider, job)
        if is_async:
            return of_litellm(asyncio.run(litellm.arerank(**arguments)))
        return of_litellm(litellm.rerank(**arguments))

    return rerank


for _provider in PROVIDERS:
    CALLS[f"litellm_{_provider}"] = litellm_call(_provider, is_async=False)
    CALLS[f"litellm_{_provider}_async"] = litellm_call(_provider, is_async=True)


@call
def litellm_proxy(job: Job) -> Ranking:
    """Through LiteLLM's own proxy, as any HTTP client would."""
    body = {"model": job.situation, "query": job.query, "documents": job.documents}
    headers = {"Content-Type": "application/json", "Authorization": "Bearer sk-proxy"}
    request = urllib.request.Request(f"{proxy()}/v1/rerank", json.dumps(body).encode(), headers)
    try:
        with urllib.request.urlopen(request, timeout=60) as answer:
            return of_rows(json.load(answer)["results"])
    except urllib.error.HTTPError as error:
        raise ProxyRefusal(error.code) from error


class ProxyRefusal(Exception):
    """The proxy answered with a status that is no success."""


proxied: list[Job] = []
"""The situations, each of which the proxy has a model for."""


@cache
def proxy() -> str:
    """The address of a LiteLLM proxy in front of the server, which runs until this program ends."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    models = [
        {
            "model_name": job.situation,
            "litellm_params": {
                "model": f"hosted_vllm/{job.model}",
                "api_base": f"{job.url}/v1",
                "api_key": job.key,
            },
            "model_info": {"mode": "rerank"},
        }
        for job in proxied
    ]
    settings = {"general_settings": {"master_key": "sk-proxy"}, "router_settings": {"num_retries": 0}}
    file = Path(tempfile.mkdtemp()) / "config.yaml"
    # JSON is YAML
    file.write_text(json.dumps({"model_list": models, **settings}))
    command = [str(Path(sys.executable).with_name("litellm")), "--config", str(file), "--port", str(port)]
    process = subprocess.Popen([*command, "--host", "127.0.0.1"], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    atexit.register(process.kill)
    url = f"http://127.0.0.1:{port}"
    wait_until_alive(url, process)
    return url


def wait_until_alive(url: str, process: subprocess.Popen[bytes]) -> None:
    # its first start compiles thousands of files; a second proxy, started because the first is slow, would be slower
    for _ in range(3000):
        if process.poll() is not None:
            raise RuntimeError(f"the proxy ended with {process.returncode}")
        try:
            urllib.request.urlopen(f"{url}/health/liveliness", timeout=5)
        except OSError:
            time.sleep(0.1)
        else:
            return
    raise TimeoutError("the proxy did not start")


if __name__ == "__main__":
    main()

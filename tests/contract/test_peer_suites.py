"""The cases of vLLM's online scoring and tokenization tests and of llama.cpp's rerank tests, against the whole server.

Written anew from what those tests send and expect: vLLM `tests/entrypoints/pooling/scoring/test_*_online.py` and
`tests/entrypoints/openai/test_tokenization.py`, llama.cpp `tools/server/tests/unit/test_rerank.py`. Scores are compared
with sentence-transformers' on the same checkpoint.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

import pytest
import requests
import torch
from sentence_transformers import CrossEncoder
from transformers import AutoTokenizer, PreTrainedTokenizerBase

from tests.support.tiny_checkpoints import make_qwen3, make_xlm_roberta
from tests.support.whole import whole_server

CROSS, QWEN, BI = "cross", "qwen", "all-MiniLM-L6-v2"
LENGTH = 100
QUESTIONS = ["What is the capital of France?", "What is the capital of Germany?"]
STATEMENTS = ["The capital of France is Paris.", "The capital of Germany is Berlin."]
DOCUMENTS = ["The capital of Brazil is Brasilia.", "The capital of France is Paris."]
SENTENCE = "This product was excellent and exceeded my expectations"
SPELLINGS = [
    ("queries", QUESTIONS[0], "documents", STATEMENTS[0]),
    ("queries", QUESTIONS[0], "documents", STATEMENTS),
    ("queries", QUESTIONS, "documents", STATEMENTS),
    ("queries", QUESTIONS, "items", STATEMENTS),
    ("text_1", QUESTIONS, "text_2", STATEMENTS),
    ("data_1", QUESTIONS, "data_2", STATEMENTS),
    ("queries", QUESTIONS[0], "items", STATEMENTS[0]),
]
MACHINES = [
    "A machine is a physical system that uses power to apply forces and control movement to perform an action.",
    "Learning is the process of acquiring new understanding, knowledge, behaviors, skills, values and attitudes.",
    "Machine learning is a field of study in artificial intelligence concerned with statistical algorithms that can "
    "learn from data and generalize to unseen data.",
    "Paris, capitale de la France, est une grande ville européenne et un centre mondial de l'art et de la mode.",
]


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("peers") / "models"
    make_xlm_roberta(folder / CROSS, positions=LENGTH + 2, limit_in_tokenizer=False)
    make_qwen3(folder / QWEN)
    return folder


@pytest.fixture(scope="module", params=[False, True], ids=["usual", "strict"])
def server(request: pytest.FixtureRequest, models: Path) -> Iterator[Server]:
    with whole_server(
        models.parent,
        default_model=CROSS,
        model_runtime="torch",
        strict_vllm=request.param,
        enable_tokenizer_info_endpoint=True,
    ) as url:
        yield Server(url, strict=request.param)


@pytest.fixture(scope="module")
def lenient(server: Server) -> Server:
    """llama.cpp's and TEI's bodies are understood where the server is not strict."""
    if server.strict:
        pytest.skip("strict")
    return server


class Server:
    """Asks a running server."""

    def __init__(self, url: str, *, strict: bool) -> None:
        self.url = url
        self.strict = strict

    def post(self, path: str, **body: Any) -> requests.Response:
        return requests.post(self.url + path, json=body, timeout=110)

    def ok(self, path: str, **body: Any) -> Any:
        response = self.post(path, **body)
        assert response.status_code == 200, response.text
        return response.json()

    def refusal(self, path: str, **body: Any) -> dict[str, Any]:
        response = self.post(path, **body)
        assert response.status_code == 400, response.text
        error: dict[str, Any] = response.json()["error"]
        return error


@pytest.fixture(scope="module")
def reference(models: Path) -> CrossEncoder:
    model: CrossEncoder = CrossEncoder(str(models / CROSS), device="cpu")
    return model


@pytest.fixture(scope="module")
def tokenizer(models: Path) -> PreTrainedTokenizerBase:
    read: PreTrainedTokenizerBase = AutoTokenizer.from_pretrained(models / CROSS)
    return read


def predicted(reference: CrossEncoder, pairs: Sequence[tuple[str, str]]) -> list[float]:
    scores: list[float] = reference.predict(list(pairs), activation_fn=torch.nn.Sigmoid()).tolist()
    return scores


def ranked(answer: Any) -> list[float]:
    """Scores in the order of the documents."""
    return [item["relevance_score"] for item in sorted(answer["results"], key=lambda item: item["index"])]


class TestVllmScoring:
    @pytest.mark.parametrize(("first", "left", "second", "right"), SPELLINGS)
    def test_score_in_seven_spellings(
        self, server: Server, reference: CrossEncoder, first: str, left: Any, second: str, right: Any
    ) -> None:
        answer = server.ok("/score", model=CROSS, **{first: left, second: right})
        rights = [right] if isinstance(right, str) else right
        lefts = [left] * len(rights) if isinstance(left, str) else left
        wanted = predicted(reference, list(zip(lefts, rights, strict=True)))
        assert answer["id"]
        assert [item["score"] for item in answer["data"]] == pytest.approx(wanted, rel=0.01)

    def test_rerank(self, server: Server, reference: CrossEncoder) -> None:
        answer = server.ok("/rerank", model=CROSS, query=QUESTIONS[0], documents=DOCUMENTS)
        assert ranked(answer) == pytest.approx(predicted(reference, [(QUESTIONS[0], text) for text in DOCUMENTS]), 0.01)

    def test_rerank_top_n(self, server: Server) -> None:
        documents = [*DOCUMENTS, "Cross-encoder models are neat"]
        whole = server.ok("/rerank", model=CROSS, query=QUESTIONS[0], documents=documents)["results"]
        best = server.ok("/rerank", model=CROSS, query=QUESTIONS[0], documents=documents, top_n=2)["results"]
        assert best == whole[:2]

    @pytest.mark.parametrize("model", [CROSS, BI])
    def test_a_query_longer_than_the_model_reads(self, server: Server, model: str) -> None:
        long = QUESTIONS[0] * 100
        rerank = server.refusal("/rerank", model=model, query=long, documents=DOCUMENTS)
        score = server.refusal("/score", model=model, queries=long, documents=DOCUMENTS)
        assert "Please reduce the length of the input prompt" in rerank["message"]
        assert "Please reduce the length of the input prompt" in score["message"]

    def test_a_longer_truncation_than_the_model_reads(self, server: Server) -> None:
        error = server.refusal("/score", queries=QUESTIONS[0], documents=DOCUMENTS, truncate_prompt_tokens=LENGTH + 1)
        assert "Please request a smaller truncation size." in error["message"]

    def test_invocations_as_rerank(self, server: Server) -> None:
        body = {"model": CROSS, "query": QUESTIONS[0], "documents": DOCUMENTS}
        there, here = server.ok("/rerank", **body), server.ok("/invocations", **body)
        assert there.keys() == here.keys()
        assert here["results"] == there["results"]

    def test_invocations_as_score(self, server: Server) -> None:
        body = {"model": CROSS, "queries": QUESTIONS[0], "documents": STATEMENTS[0]}
        there, here = server.ok("/score", **body), server.ok("/invocations", **body)
        assert there.keys() == here.keys()
        assert here["data"] == there["data"]

    def test_use_activation(self, server: Server) -> None:
        body = {"model": CROSS, "query": QUESTIONS[0], "documents": DOCUMENTS}
        usual = ranked(server.ok("/rerank", **body))
        active = ranked(server.ok("/rerank", **body, use_activation=True))
        raw = ranked(server.ok("/rerank", **body, use_activation=False))
        assert usual == active
        assert [1 / (1 + math.exp(-logit)) for logit in raw] == pytest.approx(active)
        assert raw != pytest.approx(active, abs=1e-2)

    @pytest.mark.parametrize("model", [CROSS, QWEN])
    def test_max_tokens_per_doc_reduces_tokens(self, server: Server, model: str) -> None:
        body = {"model": model, "query": "q", "documents": ["machine learning " * 5]}
        free = server.ok("/rerank", **body)["usage"]["prompt_tokens"]
        limited = server.ok("/rerank", **body, max_tokens_per_doc=5)["usage"]["prompt_tokens"]
        assert 0 < limited < free

    def test_max_tokens_per_doc_spares_a_long_document_from_refusal(self, server: Server) -> None:
        documents = ["The capital of France is Paris. " * 50, DOCUMENTS[0]]
        answer = server.ok("/rerank", query="capital?", documents=documents, max_tokens_per_doc=10)
        assert len(answer["results"]) == 2

    @pytest.mark.parametrize("tokens", [-5, "many"])
    def test_max_tokens_per_doc_is_validated(self, server: Server, tokens: Any) -> None:
        error = server.refusal("/rerank", query="q", documents=DOCUMENTS, max_tokens_per_doc=tokens)
        assert "max_tokens_per_doc" in error["message"]

    @pytest.mark.parametrize("model", [CROSS, BI])
    @pytest.mark.parametrize("task", ["embed", "token_embed", "classify", "token_classify", "plugin"])
    def test_pooling_is_not_supported(self, server: Server, model: str, task: str) -> None:
        error = server.refusal("/pooling", model=model, input=SENTENCE, encoding_format="float", task=task)
        assert error["type"] == "BadRequestError"
        assert error["message"].startswith(f"Unsupported task: {task!r}")

    def test_a_bi_encoder_ranks_the_answer_first(self, server: Server) -> None:
        documents = [*DOCUMENTS, "Cross-encoder models are neat"]
        answer = server.ok("/rerank", model=BI, query=QUESTIONS[0], documents=documents, top_n=2)
        assert [item["index"] for item in answer["results"]] == [1, 0]

    def test_qwen3_reads_its_template(self, server: Server, models: Path) -> None:
        prompt = (
            "<|im_start|>system\nJudge whether the Document meets the requirements based on the Query and the Instruct "
            'provided. Note that the answer can only be "yes" or "no".<|im_end|>\n<|im_start|>user\n'
            "<Instruct>: Given a web search query, retrieve relevant passages that answer the query\n"
            f"<Query>: {QUESTIONS[0]}\n<Document>: {STATEMENTS[0]}"
            "<|im_end|>\n<|im_start|>assistant\n<think>\n\n</think>\n\n"
        )
        wanted = len(AutoTokenizer.from_pretrained(models / QWEN).encode(prompt))
        score = server.ok("/score", model=QWEN, queries=QUESTIONS[0], documents=STATEMENTS[0])
        rerank = server.ok("/rerank", model=QWEN, query=QUESTIONS[0], documents=[STATEMENTS[0]])
        assert (score["usage"]["prompt_tokens"], rerank["usage"]["prompt_tokens"]) == (wanted, wanted)
        assert score["data"][0]["score"] == pytest.approx(rerank["results"][0]["relevance_score"], rel=0.01)


class TestVllmTokenization:
    def test_the_served_model_is_listed(self, server: Server) -> None:
        assert requests.get(f"{server.url}/v1/models", timeout=60).json()["data"][0]["id"] == CROSS

    @pytest.mark.parametrize("special", [None, True, False])
    def test_tokenize(self, server: Server, tokenizer: PreTrainedTokenizerBase, special: bool | None) -> None:
        options = {} if special is None else {"add_special_tokens": special}
        tokens = tokenizer.encode(SENTENCE, add_special_tokens=special is not False)
        assert server.ok("/tokenize", model=CROSS, prompt=SENTENCE, **options) == {
            "count": len(tokens),
            "max_model_len": LENGTH,
            "tokens": tokens,
            "token_strs": None,
        }

    def test_token_strings(self, server: Server, tokenizer: PreTrainedTokenizerBase) -> None:
        answer = server.ok("/tokenize", prompt=SENTENCE, return_token_strs=True)
        assert answer["token_strs"] == tokenizer.convert_ids_to_tokens(tokenizer.encode(SENTENCE))

    def test_detokenize(self, server: Server, tokenizer: PreTrainedTokenizerBase) -> None:
        tokens = tokenizer.encode("machine learning", add_special_tokens=False)
        assert server.ok("/detokenize", model=CROSS, tokens=tokens) == {"prompt": "machine learning"}

    def test_tokenizer_info(self, server: Server) -> None:
        info = requests.get(f"{server.url}/tokenizer_info", timeout=60).json()
        assert isinstance(info["tokenizer_class"], str)
        assert info["tokenizer_class"]


class TestLlamaCpp:
    def test_rerank(self, lenient: Server) -> None:
        answer = lenient.ok("/rerank", model=BI, query="Machine learning is", documents=MACHINES)
        order = [item["index"] for item in answer["results"]]
        assert (len(order), order[0], order[-1]) == (4, 2, 3)

    def test_rerank_in_teis_format(self, lenient: Server) -> None:
        answer = lenient.ok("/rerank", model=BI, query="Machine learning is", texts=MACHINES)
        order = [item["index"] for item in answer]
        assert (len(order), order[0], order[-1]) == (4, 2, 3)

    @pytest.mark.parametrize("documents", [[], None, 123, [1, 2, 3]])
    def test_invalid_documents(self, server: Server, documents: Any) -> None:
        assert server.refusal("/rerank", query="Machine learning is", documents=documents)

    @pytest.mark.parametrize(
        ("query", "documents"),
        [
            ("Machine learning is", ["A machine", "Learning is"]),
            ("Which city?", ["Machine learning is ", "Paris, capitale de la"]),
        ],
    )
    def test_usage(self, server: Server, tokenizer: PreTrainedTokenizerBase, query: str, documents: list[str]) -> None:
        usage = server.ok("/rerank", query=query, documents=documents)["usage"]
        wanted = sum(len(tokenizer(query, document)["input_ids"]) for document in documents)
        assert usage == {"prompt_tokens": wanted, "total_tokens": wanted}

    @pytest.mark.parametrize(("top_n", "count"), [(None, 4), (2, 2), (4, 4), (99, 4)])
    def test_top_n(self, lenient: Server, top_n: int | None, count: int) -> None:
        options = {} if top_n is None else {"top_n": top_n}
        body = {"model": BI, "query": "Machine learning is"} | options
        assert len(lenient.ok("/rerank", **body, documents=MACHINES)["results"]) == count
        assert len(lenient.ok("/rerank", **body, texts=MACHINES)) == count

    @pytest.mark.parametrize("path", ["/embeddings", "/v1/embeddings"])
    def test_embeddings_are_rejected(self, server: Server, path: str) -> None:
        assert "is a reranker" in server.refusal(path, input="hello")["message"]

"""Each dialect's clients find what they read, and nothing they stumble over."""

from __future__ import annotations

import re
from typing import Any

import pytest
from fastapi.testclient import TestClient
from httpx2 import Response

from rerank.api.dialects.main import MainDialect
from rerank.core import DEFAULT_OPTIONS, ScoringOptions
from tests.support.app import (
    DOCUMENTS,
    MODEL,
    PATIENCE,
    QUERY,
    AppUnderTest,
    BrokenScorer,
    FixedScorer,
    GatedScorer,
    error_message,
    indices,
)

from .conftest import OpenApp

ASKED = {"query": QUERY, "documents": DOCUMENTS}
TEXTS = {"query": QUERY, "texts": DOCUMENTS}
PASSAGES = {"query": {"text": QUERY}, "passages": [{"text": text} for text in DOCUMENTS]}
NESTED = {"model": MODEL.id, "input": ASKED, "parameters": {}}
ORDER = [1, 0, 2]
NATIVE = "/api/v1/services/rerank/text-rerank/text-rerank"
COMPATIBLE = ("/v1/reranks", "/reranks", "/compatible-api/v1/reranks", "/compatible-mode/v1/reranks")
OBJECT = ("/v1/rerank", "/v2/rerank", "/rerank", "/reranking", "/v1/reranking", "/v1/v1/rerank", "/v1/v2/rerank")

FLAT = (*OBJECT, *COMPATIBLE, "/api/v1/rerank", "/api/rerank", "/infinity/rerank", "/voyage/v1/rerank")
BODIES: dict[str, dict[str, Any]] = {
    **dict.fromkeys(FLAT, ASKED),
    "/tei/rerank": TEXTS,
    "/v1/ranking": PASSAGES,
}
"""A body for every address that scores a query with documents."""


def post(client: TestClient, path: str, body: Any) -> Any:
    response = client.post(path, json=body)
    assert response.status_code == 200, response.text
    return response.json()


@pytest.fixture
def scores(app: AppUnderTest) -> list[float]:
    """What the plain endpoint says, in the documents' order."""
    results = app.rerank().json()["results"]
    return [item["relevance_score"] for item in sorted(results, key=lambda item: item["index"])]


def in_order(items: list[dict[str, Any]], key: str = "relevance_score") -> list[float]:
    """Scores of items in the documents' order; the items themselves are to be sorted."""
    assert [item["index"] for item in items] == ORDER
    return [item[key] for item in sorted(items, key=lambda item: item["index"])]


class Listening(FixedScorer):
    """Keeps the instructions that it is given."""

    def __init__(self, *logits: float) -> None:
        super().__init__(*logits)
        self.heard: list[str | None] = []

    def encode(self, pairs: Any, options: ScoringOptions = DEFAULT_OPTIONS) -> Any:
        self.heard.append(options.instruction)
        return super().encode(pairs, options)


class TestObject:
    @pytest.mark.parametrize("path", OBJECT)
    @pytest.mark.parametrize("slash", ["", "/"])
    def test_is_answered_at_every_address(self, client: TestClient, path: str, slash: str) -> None:
        assert indices(client.post(path + slash, json=ASKED)) == ORDER

    @pytest.mark.parametrize(
        "documents",
        [
            [{"content": [{"type": "text", "text": text}]} for text in DOCUMENTS],
            [{"content": text} for text in DOCUMENTS],
            [{"page_content": text, "metadata": {}} for text in DOCUMENTS],
        ],
    )
    def test_takes_documents_of_many_forms(self, app: AppUnderTest, documents: Any, scores: list[float]) -> None:
        assert in_order(app.rerank(documents=documents).json()["results"]) == scores

    def test_joins_the_fields_that_rank(self, app: AppUnderTest, scores: list[float]) -> None:
        documents = [{"title": text.split()[0], "body": text.partition(" ")[2], "id": 7} for text in DOCUMENTS]
        results = app.rerank(documents=documents, rank_fields=["title", "body"]).json()["results"]
        assert in_order(results) == scores
        assert results[0]["document"]["text"] == f"{documents[1]['title']}\n{documents[1]['body']}"

    @pytest.mark.parametrize("name", ["documents", "docs"])
    @pytest.mark.parametrize("alone", [True, False])
    def test_joins_the_fields_of_one_object_and_of_docs(self, app: AppUnderTest, name: str, alone: bool) -> None:
        document = {"title": "Paris", "body": "France"}
        body = {"query": QUERY, name: document if alone else [document], "rank_fields": ["body", "title", "body"]}
        [result] = app.post("/v1/rerank", body).json()["results"]
        assert result["document"]["text"] == "France\nParis"

    def test_spells_the_fields_as_json_does(self, app: AppUnderTest) -> None:
        document = {"yes": True, "none": None, "list": [1.5, "é"], "object": {"a": False}, "text": "t"}
        [result] = app.rerank(documents=[document], rank_fields=[*document]).json()["results"]
        assert result["document"]["text"] == 'true\n[1.5, "é"]\n{"a": false}\nt'

    def test_reads_the_text_where_no_field_ranks(self, app: AppUnderTest) -> None:
        [result] = app.rerank(documents=[{"text": "t", "n": 1}], rank_fields=["nope"]).json()["results"]
        assert result["document"]["text"] == "t"

    def test_joins_no_more_than_a_body_may_hold(self, open_app: OpenApp) -> None:
        app = open_app(max_body_bytes=1000)
        # four letters here are 18 as they are written out
        raw = f'{{"query": "q", "documents": [{{"n": [{",".join(["1e15"] * 150)}]}}], "rank_fields": ["n"]}}'
        response = app.client.post("/v1/rerank", content=raw)
        error_message(response, 400, "BadRequestError")
        assert response.json()["error"]["param"] == "rank_fields"

    def test_names_a_document_without_text(self, app: AppUnderTest) -> None:
        response = app.rerank(documents=["a", {"content": [{"type": "image_url", "image_url": {"url": "x"}}]}])
        assert "documents.1" in error_message(response, 400, "Bad Request")

    @pytest.mark.parametrize(
        "fields",
        [
            {"raw_scores": True},
            {"use_activation": False},
            {"raw_scores": "true"},
        ],
    )
    def test_gives_raw_scores(self, app: AppUnderTest, fields: dict[str, Any]) -> None:
        assert in_order(app.rerank(**fields).json()["results"])[1] == 2.0

    @pytest.mark.parametrize("body", [NESTED, NESTED | {"parameters": {"top_n": 3, "instruct": "Find it"}}])
    def test_takes_a_nested_body_and_answers_flat(self, client: TestClient, body: dict[str, Any]) -> None:
        assert indices(client.post("/v1/rerank", json=body)) == ORDER

    @pytest.mark.parametrize(("side", "first"), [("left", 1), ("Left", 1), ("right", 0), (None, 0)])
    def test_cuts_the_end_it_is_told_to(self, app: AppUnderTest, side: str | None, first: int) -> None:
        documents = [f"{QUERY} {'x ' * 20}", f"{'x ' * 20} {QUERY}"]
        body = app.rerank(documents=documents, max_tokens_per_doc=6, truncation_side=side).json()
        assert body["results"][0]["index"] == first

    @pytest.mark.parametrize("name", ["instruction", "instruct", "chat_template_kwargs"])
    def test_takes_an_instruction_by_any_name(self, open_app: OpenApp, name: str) -> None:
        given = {"instruction": "Find it"} if name == "chat_template_kwargs" else "Find it"
        scorer = Listening(1.0)
        assert open_app(scorer).rerank(documents=["a"], **{name: given}).status_code == 200
        assert scorer.heard[-1] == "Find it"


class TestTei:
    @pytest.mark.parametrize(("path", "body"), [("/rerank", TEXTS), ("/v1/rerank", TEXTS), ("/tei/rerank", TEXTS)])
    def test_gives_an_array(self, client: TestClient, path: str, body: Any, scores: list[float]) -> None:
        answer = post(client, path, body)
        assert in_order(answer, "score") == scores
        assert all(list(item) == ["index", "score"] for item in answer)

    def test_gives_texts_on_request(self, client: TestClient) -> None:
        answer = post(client, "/rerank", TEXTS | {"return_text": True, "raw_scores": True, "truncate": True})
        assert [item["text"] for item in answer] == [DOCUMENTS[index] for index in ORDER]
        assert answer[0]["score"] == 2.0

    def test_takes_documents_under_its_prefix(self, client: TestClient) -> None:
        answer = post(client, "/tei/rerank", ASKED | {"top_n": 2})
        assert [item["index"] for item in answer] == ORDER[:2]
        assert all(set(item) == {"index", "score"} for item in answer)

    @pytest.mark.parametrize("path", ["/rerank", "/tei/rerank"])
    @pytest.mark.parametrize(
        ("body", "status", "kind"),
        [
            ({"query": "a", "texts": []}, 400, "Empty"),
            ({"query": "a", "texts": [3]}, 422, "Validation"),
            ({"texts": ["a"]}, 422, "Validation"),
            ({"query": "a", "texts": ["a " * 600], "truncate": False}, 422, "Validation"),
            ({"query": "a", "texts": ["a"], "model": "nope"}, 404, "NotFound"),
        ],
    )
    def test_says_errors_its_way(self, client: TestClient, path: str, body: Any, status: int, kind: str) -> None:
        response = client.post(path, json=body)
        said = response.json()
        assert (response.status_code, said["error_type"]) == (status, kind)
        assert list(said) == ["error", "error_type", "message"]
        assert said["error"] == said["message"]
        assert isinstance(said["error"], str)

    def test_says_that_a_body_is_no_json(self, client: TestClient) -> None:
        response = client.post("/tei/rerank", content=b"{", headers={"Content-Type": "application/json"})
        assert (response.status_code, response.json()["error_type"]) == (400, "Validation")

    def test_says_424_where_the_model_failed(self, open_app: OpenApp) -> None:
        app = open_app(BrokenScorer(ValueError("secret")))
        response = app.post("/tei/rerank", TEXTS)
        assert (response.status_code, response.json()["error_type"]) == (424, "Backend")
        assert "request id" in response.json()["error"]
        assert "secret" not in response.text

    def test_says_429_where_there_is_no_room(self, open_app: OpenApp) -> None:
        scorer = GatedScorer()
        app = open_app(scorer, max_inflight_documents=4)
        running = app.rerank_meanwhile()
        app.scheduler.wait_for_jobs(1)
        response = app.post("/rerank", TEXTS)
        scorer.gate.set()
        assert running.result(PATIENCE).status_code == 200
        assert (response.status_code, response.json()["error_type"]) == (429, "Overloaded")
        assert int(response.headers["Retry-After"]) > 0

    @pytest.mark.parametrize("path", ["/info", "/tei/info"])
    def test_describes_the_model(self, client: TestClient, path: str) -> None:
        info = client.get(path).json()
        assert (info["model_id"], list(info["model_type"])) == (MODEL.id, ["reranker"])
        assert isinstance(info["max_client_batch_size"], int)

    def test_names_the_precision_as_torch_does(self, app: AppUnderTest, client: TestClient) -> None:
        app.rerank()
        assert client.get(f"/v1/models/{MODEL.id}").json()["precision"] == "fp32"
        assert client.get("/tei/info").json()["model_dtype"] == "float32"

    def test_says_which_texts_a_budget_in_a_header_left_out(self, open_app: OpenApp) -> None:
        scorer = GatedScorer()
        app = open_app(scorer)
        busy = app.rerank_meanwhile()
        assert scorer.reached.wait(PATIENCE)
        answer = app.client.post("/tei/rerank", json=TEXTS, headers={"X-Rerank-Budget-Ms": "1"})
        scorer.gate.set()
        assert busy.result(PATIENCE).status_code == 200
        assert [rank["scored"] for rank in answer.json()] == [False] * 3

    def test_is_well(self, client: TestClient) -> None:
        assert client.get("/tei/health").status_code == client.get("/health").status_code == 200


class TestDashScope:
    def test_answers_its_sdk(self, client: TestClient, scores: list[float]) -> None:
        answer = post(client, NATIVE, NESTED)
        assert list(answer) == ["output", "usage", "request_id"]
        assert in_order(answer["output"]["results"]) == scores
        keys = ["index", "relevance_score", "tokens", "truncated"]
        assert all(list(item) == keys for item in answer["output"]["results"])
        assert answer["usage"]["total_tokens"] > 0

    def test_gives_documents_as_objects(self, client: TestClient) -> None:
        body = NESTED | {"parameters": {"top_n": 1, "return_documents": True}}
        (item,) = post(client, NATIVE, body)["output"]["results"]
        assert item["document"] == {"text": DOCUMENTS[1]}

    @pytest.mark.parametrize("path", COMPATIBLE)
    @pytest.mark.parametrize("body", [ASKED, NESTED])
    def test_answers_flat_where_the_address_is(
        self, client: TestClient, path: str, body: Any, scores: list[float]
    ) -> None:
        answer = post(client, path, body)
        assert in_order(answer["results"]) == scores
        assert "code" not in answer

    @pytest.mark.parametrize("path", [NATIVE, *COMPATIBLE])
    @pytest.mark.parametrize(
        ("body", "status", "code"),
        [
            (NESTED | {"input": {"query": "a", "documents": []}}, 400, "InvalidParameter"),
            (NESTED | {"input": {"query": "a"}}, 400, "InvalidParameter"),
            (NESTED | {"model": "nope"}, 404, "ModelNotFound"),
        ],
    )
    def test_says_errors_its_way(self, client: TestClient, path: str, body: Any, status: int, code: str) -> None:
        response = client.post(path, json=body)
        assert (response.status_code, response.json()["code"]) == (status, code)
        assert list(response.json()) == ["code", "message", "request_id"]
        assert response.json()["request_id"] == response.headers["X-Request-Id"]

    def test_says_that_a_key_is_wrong(self, open_app: OpenApp) -> None:
        response = open_app(keys=("key",)).post(NATIVE, NESTED)
        assert (response.status_code, response.json()["code"]) == (401, "InvalidApiKey")


class TestRerankerApi:
    @pytest.mark.parametrize("main", MainDialect)
    def test_has_texts_in_its_results(self, open_app: OpenApp, main: MainDialect) -> None:
        client = open_app(main_dialect=main).client
        answer = post(client, "/api/v1/rerank", ASKED | {"top_k": 2})
        assert list(answer) == ["id", "model", "results", "usage"]
        keys = ["index", "relevance_score", "tokens", "truncated", "text"]
        assert [list(item) for item in answer["results"]] == [keys] * 2
        assert [item["text"] for item in answer["results"]] == [DOCUMENTS[index] for index in ORDER[:2]]

    def test_has_the_scores_of_the_others(self, client: TestClient, scores: list[float]) -> None:
        assert in_order(post(client, "/api/v1/rerank", ASKED)["results"]) == scores

    def test_leaves_texts_out_on_request(self, client: TestClient) -> None:
        answer = post(client, "/api/v1/rerank", ASKED | {"return_documents": False})
        assert [list(item) for item in answer["results"]] == [["index", "relevance_score", "tokens", "truncated"]] * 3

    def test_wants_the_key_and_says_errors_as_the_others(self, open_app: OpenApp) -> None:
        app = open_app(keys=("key",))
        error_message(app.post("/api/v1/rerank", ASKED), 401, "AuthenticationError")
        bearer = {"Authorization": "Bearer key"}
        error_message(app.client.post("/api/v1/rerank", json={}, headers=bearer), 400, "Bad Request")
        unknown = app.client.post("/api/v1/rerank", json=ASKED | {"model": "nope"}, headers=bearer)
        error_message(unknown, 404, "NotFoundError")

    def test_keeps_the_limits(self, open_app: OpenApp) -> None:
        app = open_app(max_documents=2)
        assert app.post("/api/v1/rerank", ASKED).status_code == 400


class TestEmptyQuery:
    """Is a query; only a missing one is none."""

    @pytest.mark.parametrize("main", MainDialect)
    @pytest.mark.parametrize("query", ["", " ", "\n\u3000"], ids=ascii)
    def test_is_scored_at_every_address(self, open_app: OpenApp, main: MainDialect, query: str) -> None:
        client = open_app(main_dialect=main).client
        for path, body in BODIES.items():
            assert client.post(path, json=body | {"query": query}).status_code == 200, path
        assert client.post(NATIVE, json=NESTED | {"input": ASKED | {"query": query}}).status_code == 200
        assert client.post("/score", json={"text_1": query, "text_2": DOCUMENTS}).status_code == 200

    @pytest.mark.parametrize("main", MainDialect)
    def test_is_not_a_missing_one(self, open_app: OpenApp, main: MainDialect) -> None:
        client = open_app(main_dialect=main).client
        for path, body in BODIES.items():
            for missing in ({}, {"query": None}):
                asked = {name: value for name, value in body.items() if name != "query"} | missing
                assert client.post(path, json=asked).status_code in (400, 422), path


class TestStringDocuments:
    def test_infinity(self, client: TestClient, scores: list[float]) -> None:
        answer = post(client, "/infinity/rerank", ASKED | {"return_documents": True})
        assert (answer["object"], answer["model"]) == ("rerank", MODEL.id)
        assert in_order(answer["results"]) == scores
        assert [item["document"] for item in answer["results"]] == [DOCUMENTS[index] for index in ORDER]
        assert {item["document"] for item in post(client, "/infinity/rerank", ASKED)["results"]} == {None}

    def test_voyage(self, client: TestClient, scores: list[float]) -> None:
        answer = post(client, "/voyage/v1/rerank", ASKED | {"return_documents": True, "top_k": None})
        assert in_order(answer["data"]) == scores
        assert answer["data"][0]["document"] == DOCUMENTS[1]
        assert len(post(client, "/voyage/v1/rerank", ASKED | {"top_k": 2})["data"]) == 2
        too_long = client.post("/voyage/v1/rerank", json={"query": "a", "documents": ["a " * 600], "truncation": False})
        assert isinstance(too_long.json()["detail"], str)

    def test_ollama(self, client: TestClient, scores: list[float]) -> None:
        answer = post(client, "/api/rerank", ASKED | {"return_documents": True})
        assert in_order(answer["results"]) == scores
        assert all("document" not in item for item in answer["results"])


@pytest.mark.parametrize(
    "path", ["/v1/ranking", "/v1/retrieval/nvidia/reranking", "/v1/retrieval/acme/words_1/reranking", "/rerank"]
)
@pytest.mark.parametrize("fields", [{}, {"truncate": "END"}, {"truncate": "none"}, {"model": MODEL.id}])
def test_nvidia(client: TestClient, path: str, fields: dict[str, str]) -> None:
    answer = post(client, path, PASSAGES | fields)
    assert in_order(answer["rankings"], "logit") == [-2.0, 2.0, -2.0]


def test_nvidia_refuses_what_is_too_long_when_told_to(client: TestClient) -> None:
    body = {"query": "a", "passages": ["a " * 600], "truncate": "NONE"}
    assert "documents.0" in error_message(client.post("/v1/ranking", json=body), 400, "BadRequestError")


def test_weaviate(app: AppUnderTest, scores: list[float]) -> None:
    client = app.client
    answer = post(client, "/rerank", ASKED | {"property": ""})
    assert answer == {"scores": [{"document": d, "score": s} for d, s in zip(DOCUMENTS, scores, strict=True)]}
    wrong = client.post("/rerank", json={"query": "a", "documents": [], "property": ""})
    assert (wrong.status_code, list(wrong.json())) == (400, ["error"])
    assert client.get("/.well-known/ready").status_code == client.get("/.well-known/live").status_code == 204
    assert client.get("/meta").json()["model"] == MODEL.id


class TestXinference:
    """The requests its client makes, in order."""

    def test_is_told_that_a_key_is_needed(self, open_app: OpenApp) -> None:
        assert open_app(keys=("key",)).client.get("/v1/cluster/auth").json() == {"auth": True}
        assert open_app().client.get("/v1/cluster/auth").json() == {"auth": False}

    def test_finds_its_model(self, client: TestClient) -> None:
        listed = client.get("/v1/models").json()["data"]
        (found,) = [model for model in listed if model["model_name"] == "words"]
        assert client.get(f"/v1/models/{found['id']}").json()["model_type"] == "rerank"
        body = ASKED | {"model": found["id"], "return_documents": "true", "return_len": "true", "top_n": None}
        results = post(client, "/v1/rerank", body)["results"]
        assert [item["document"]["text"] for item in results] == [DOCUMENTS[index] for index in ORDER]


class TestOtherMainDialects:
    def test_sglang(self, open_app: OpenApp, scores: list[float]) -> None:
        app = open_app(main_dialect=MainDialect.SGLANG)
        for response in (app.post("/v1/rerank", ASKED), app.client.put("/v1/rerank", json=ASKED)):
            assert in_order(response.json(), "score") == scores
            assert response.json()[0]["document"] == DOCUMENTS[1]
        assert "document" not in app.rerank(return_documents=False).json()[0]
        assert indices(app.post("/rerank", ASKED)) == ORDER

    @pytest.mark.parametrize("path", ["/v1/rerank", "/v2/rerank", "/rerank"])
    def test_strict_vllm_answers_nothing_else(self, open_app: OpenApp, path: str) -> None:
        app = open_app(main_dialect=MainDialect.STRICT_VLLM)
        answer = app.post(path, ASKED | {"return_documents": False}).json()
        assert list(answer) == ["id", "model", "usage", "results"]
        assert answer["results"][0]["document"] == {"text": DOCUMENTS[1], "multi_modal": None}

    @pytest.mark.parametrize(
        "fields",
        [{"top_n": None}, {"documents": [{"text": "a"}]}, {"documents": ["a " * 600]}, {"model": "nope"}],
    )
    def test_strict_vllm_refuses_what_vllm_refuses(self, open_app: OpenApp, fields: dict[str, Any]) -> None:
        response = open_app(main_dialect=MainDialect.STRICT_VLLM).rerank(**fields)
        assert response.status_code == (404 if "model" in fields else 400)
        assert list(response.json()) == ["error"]
        assert list(response.json()["error"]) == ["message", "type", "param", "code"]

    @pytest.mark.parametrize("fields", [{"truncation_side": "middle"}, {"chat_template_kwargs": {"instruction": 5}}])
    def test_strict_vllm_checks_every_option_that_it_takes(self, open_app: OpenApp, fields: dict[str, Any]) -> None:
        assert open_app(main_dialect=MainDialect.STRICT_VLLM).rerank(**fields).status_code == 400

    @pytest.mark.parametrize(("side", "first"), [("left", 1), ("right", 0), (None, 0)])
    def test_strict_vllm_cuts_the_end_it_is_told_to(self, open_app: OpenApp, side: str | None, first: int) -> None:
        documents = [f"{QUERY} {'x ' * 20}", f"{'x ' * 20} {QUERY}"]
        app = open_app(main_dialect=MainDialect.STRICT_VLLM)
        body = app.rerank(documents=documents, max_tokens_per_doc=6, truncation_side=side).json()
        assert body["results"][0]["index"] == first

    def test_strict_vllm_takes_the_instruction_of_the_template_first(self, open_app: OpenApp) -> None:
        scorer = Listening(1.0)
        app = open_app(scorer, main_dialect=MainDialect.STRICT_VLLM)
        given = {"instruction": "Find that", "chat_template_kwargs": {"instruction": "Find it"}}
        assert app.rerank(documents=["a"], **given).status_code == 200
        assert scorer.heard[-1] == "Find it"

    def test_strict_vllm_lists_the_nearest_models_and_points_to_nothing_else(self, open_app: OpenApp) -> None:
        usual = open_app().rerank(model="nope").json()["error"]["message"]
        strict = open_app(main_dialect=MainDialect.STRICT_VLLM).rerank(model="nope").json()["error"]["message"]
        listed, point, elsewhere = usual.partition(" These are 10 of ")
        assert (strict, bool(point)) == (listed, True)
        assert elsewhere.endswith("; /v1/models and `rerank models` list all.")

    def test_strict_vllm_says_one_word_without_a_key(self, open_app: OpenApp) -> None:
        app = open_app(main_dialect=MainDialect.STRICT_VLLM, keys=("key",))
        assert (app.rerank().status_code, app.rerank().json()) == (401, {"error": "Unauthorized"})
        assert app.post("/tei/rerank", TEXTS).json()["error_type"] == "Unauthorized"

    def test_strict_vllm_shows_plain_cards(self, open_app: OpenApp) -> None:
        app = open_app(main_dialect=MainDialect.STRICT_VLLM)
        (card, *_) = app.client.get("/v1/models").json()["data"]
        assert list(card) == ["id", "object", "created", "owned_by", "root", "parent", "max_model_len", "permission"]

    @pytest.mark.parametrize("main", [MainDialect.SGLANG, MainDialect.STRICT_VLLM])
    def test_the_other_dialects_stay(self, open_app: OpenApp, main: MainDialect) -> None:
        app = open_app(main_dialect=main)
        assert isinstance(app.post("/tei/rerank", TEXTS).json(), list)
        assert app.post("/reranking", TEXTS).status_code == 200
        assert app.post(NATIVE, NESTED).status_code == 200


@pytest.mark.parametrize("path", [*OBJECT, *COMPATIBLE, NATIVE, "/tei/rerank", "/infinity/rerank", "/api/rerank"])
@pytest.mark.parametrize(
    ("header", "status"),
    [("Bearer key", 200), ("bearer key", 200), ("key", 200), ("Bearer wrong", 401), ("Bearer None", 401), (None, 401)],
)
def test_every_dialect_wants_the_key(locked: TestClient, path: str, header: str | None, status: int) -> None:
    headers = {"Authorization": header} if header else {}
    assert locked.post(path, json=ASKED, headers=headers).status_code == status


@pytest.fixture(scope="session")
def locked(tmp_path_factory: pytest.TempPathFactory) -> Any:
    with AppUnderTest(tmp_path_factory.mktemp("models"), keys=("key",)) as app:
        yield app.client


@pytest.mark.parametrize("path", ["/v1/rerank", "/tei/rerank", NATIVE, "/v1/ranking", "/infinity/rerank"])
def test_whole_scores_keep_their_point(open_app: OpenApp, path: str) -> None:
    app = open_app(FixedScorer(40.0))
    body = {"query": "a", "passages" if path == "/v1/ranking" else "documents": ["a"]}
    response: Response = app.post(path, body)
    assert re.search(r'"(relevance_)?(score|logit)":(1|40)\.0\b', response.text)

"""The dialect of small rerank services for Qwen3-Reranker: ``top_k`` in, each result's text next to its score."""

from __future__ import annotations

from typing import NotRequired

from fastapi import Request, Response
from pydantic import ConfigDict
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from rerank.api.dialects.details import Details, details
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, DocumentsBody
from rerank.api.dialects.scoring import dialect_router, json_answer, score
from rerank.api.services import ServicesDep
from rerank.results import ScoringResult
from rerank.telemetry import request_id_var

EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS],
    "top_k": 1,
}


ANSWER_EXAMPLE = {
    "id": "8a2f0c",
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "results": [{"index": 1, "relevance_score": 0.928, "tokens": 18, "truncated": False, "text": EXAMPLE_DOCUMENTS[1]}],
    "usage": {"total_tokens": 36},
}


class RerankerApiBody(DocumentsBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})


class Result(Details):
    """A document's place in the request, its relevance and its text."""

    index: int
    relevance_score: float
    text: NotRequired[str]


class Usage(TypedDict):
    """Tokens read."""

    total_tokens: int


class RerankerApiAnswer(TypedDict):
    """Documents by falling relevance."""

    id: str
    model: str
    results: list[Result]
    usage: Usage


def answer(body: RerankerApiBody, result: ScoringResult) -> RerankerApiAnswer:
    """The ranking; texts are left out where the request says so."""
    results = []
    for scored in result.ranked:
        item: Result = {"index": scored.index, "relevance_score": scored.relevance_score, **details(scored)}  # type: ignore[typeddict-item]
        if body.return_documents:
            item["text"] = body.documents[scored.index]
        results.append(item)
    return RerankerApiAnswer(
        id=request_id_var.get(), model=result.model, results=results, usage=Usage(total_tokens=result.tokens)
    )


router = dialect_router("Reranker API", RerankerAPI=ANSWER_EXAMPLE)


@router.post("/api/v1/rerank", summary="Order documents, with texts in the results", response_model=RerankerApiAnswer)
async def rerank(body: RerankerApiBody, request: Request, services: ServicesDep) -> Response:
    """Each result has its text at the top level."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


DIALECT = Dialect("Reranker API", (router,))

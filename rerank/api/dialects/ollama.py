"""The dialect of Dify's Ollama plugin. Results hold no documents: it would read them as strings."""

from __future__ import annotations

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

EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS],
}


ANSWER_EXAMPLE = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "results": [
        {"index": 1, "relevance_score": 0.928, "tokens": 18, "truncated": False},
        {"index": 0, "relevance_score": 0.702, "tokens": 18, "truncated": False},
    ],
}


class OllamaBody(DocumentsBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})


class Result(Details):
    """A document's place in the request, and its relevance."""

    index: int
    relevance_score: float


class OllamaAnswer(TypedDict):
    """Documents by falling relevance."""

    model: str
    results: list[Result]


def answer(result: ScoringResult) -> OllamaAnswer:
    """The ranking."""
    return OllamaAnswer(
        model=result.model,
        results=[
            Result(index=scored.index, relevance_score=scored.relevance_score, **details(scored))
            for scored in result.ranked
        ],
    )


router = dialect_router("Ollama", Ollama=ANSWER_EXAMPLE)


@router.post("/api/rerank", summary="Order documents, where Ollama's clients look for it", response_model=OllamaAnswer)
async def rerank(body: OllamaBody, request: Request, services: ServicesDep) -> Response:
    """Results never hold documents."""
    return json_answer(answer(await score(request, services, body.scoring_request())))


DIALECT = Dialect("Ollama", (router,))

"""Voyage AI's dialect: ``top_k`` in, results in ``data``, documents as strings."""

from __future__ import annotations

from typing import Literal, NotRequired

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
    "top_k": 1,
    "return_documents": True,
}


ANSWER_EXAMPLE = {
    "object": "list",
    "data": [
        {
            "index": 1,
            "relevance_score": 0.928,
            "tokens": 18,
            "truncated": False,
            "document": EXAMPLE_DOCUMENTS[1],
        },
    ],
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "usage": {"total_tokens": 36},
}


class VoyageBody(DocumentsBody):
    """A query and the documents to order by it; `truncation: false` refuses what is too long."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    return_documents: bool = False


class Result(Details):
    """A document's place in the request, and its relevance."""

    index: int
    relevance_score: float
    document: NotRequired[str]


class Usage(TypedDict):
    """Tokens read."""

    total_tokens: int


class VoyageAnswer(TypedDict):
    """Documents by falling relevance."""

    object: Literal["list"]
    data: list[Result]
    model: str
    usage: Usage


def answer(body: VoyageBody, result: ScoringResult) -> VoyageAnswer:
    """The ranking."""
    data = []
    for scored in result.ranked:
        item: Result = {"index": scored.index, "relevance_score": scored.relevance_score, **details(scored)}  # type: ignore[typeddict-item]
        if body.return_documents:
            item["document"] = body.documents[scored.index]
        data.append(item)
    return VoyageAnswer(object="list", data=data, model=result.model, usage=Usage(total_tokens=result.tokens))


router = dialect_router("Voyage", Voyage=ANSWER_EXAMPLE)


@router.post("/voyage/v1/rerank", summary="Order documents as Voyage does", response_model=VoyageAnswer)
async def rerank(body: VoyageBody, request: Request, services: ServicesDep) -> Response:
    """Results stand in `data`."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


DIALECT = Dialect("Voyage", (router,))

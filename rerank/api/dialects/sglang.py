"""SGLang's dialect: vLLM's path, but the answer is a bare array. Only as the main dialect."""

from __future__ import annotations

from typing import NotRequired

from fastapi import Request, Response
from pydantic import ConfigDict
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, DocumentsBody
from rerank.api.dialects.scoring import dialect_router, json_answer, score
from rerank.api.services import ServicesDep
from rerank.results import ScoringResult
from rerank.telemetry import request_id_var

EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS],
}


ANSWER_EXAMPLE = [
    {"score": 0.928, "index": 1, "meta_info": {"id": "8a2f0c"}, "document": EXAMPLE_DOCUMENTS[1]},
    {"score": 0.702, "index": 0, "meta_info": {"id": "8a2f0c"}, "document": EXAMPLE_DOCUMENTS[0]},
]


class SglangBody(DocumentsBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})


class MetaInfo(TypedDict):
    """The request's id."""

    id: str


class Result(TypedDict):
    """A document's place in the request, and its relevance."""

    score: float
    document: NotRequired[str]
    index: int
    meta_info: MetaInfo


def answer(body: SglangBody, result: ScoringResult) -> list[Result]:
    """The ranking, as an array."""
    results = []
    for scored in result.ranked:
        found = Result(score=scored.relevance_score, index=scored.index, meta_info=MetaInfo(id=request_id_var.get()))
        if body.return_documents:
            found["document"] = body.documents[scored.index]
        results.append(found)
    return results


router = dialect_router("SGLang", SGLang=ANSWER_EXAMPLE)


@router.post("/v1/rerank", summary="Order documents as SGLang does", response_model=list[Result])
@router.put("/v1/rerank", summary="The same", response_model=list[Result])
async def rerank(body: SglangBody, request: Request, services: ServicesDep) -> Response:
    """The answer is an array."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


DIALECT = Dialect("SGLang", (router,))

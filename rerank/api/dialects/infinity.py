"""The dialect of infinity_emb, for clients that want documents as strings: LiteLLM's ``infinity/`` for one."""

from __future__ import annotations

import time
from typing import Literal

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
    "return_documents": True,
}


ANSWER_EXAMPLE = {
    "object": "rerank",
    "results": [
        {"relevance_score": 0.928, "index": 1, "tokens": 18, "truncated": False, "document": EXAMPLE_DOCUMENTS[1]},
        {"relevance_score": 0.702, "index": 0, "tokens": 18, "truncated": False, "document": EXAMPLE_DOCUMENTS[0]},
    ],
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "usage": {"prompt_tokens": 36, "total_tokens": 36},
    "id": "infinity-8a2f0c",
    "created": 1795184233,
}


class InfinityBody(DocumentsBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    return_documents: bool = False


class Result(Details):
    """A document's place in the request, and its relevance."""

    relevance_score: float
    index: int
    document: str | None


class Usage(TypedDict):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class InfinityAnswer(TypedDict):
    """Documents by falling relevance."""

    object: Literal["rerank"]
    results: list[Result]
    model: str
    usage: Usage
    id: str
    created: int


def answer(body: InfinityBody, result: ScoringResult) -> InfinityAnswer:
    """The ranking; the document is a string, or null where it is not wanted."""
    return InfinityAnswer(
        object="rerank",
        results=[
            Result(
                relevance_score=scored.relevance_score,
                index=scored.index,
                document=body.documents[scored.index] if body.return_documents else None,
                **details(scored),
            )
            for scored in result.ranked
        ],
        model=result.model,
        usage=Usage(prompt_tokens=result.tokens, total_tokens=result.tokens),
        id=f"infinity-{request_id_var.get()}",
        created=int(time.time()),
    )


router = dialect_router("Infinity", Infinity=ANSWER_EXAMPLE)


@router.post("/infinity/rerank", summary="Order documents as Infinity does", response_model=InfinityAnswer)
async def rerank(body: InfinityBody, request: Request, services: ServicesDep) -> Response:
    """Documents come back as strings."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


DIALECT = Dialect("Infinity", (router,))

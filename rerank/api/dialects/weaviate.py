"""The dialect of Weaviate's reranker-transformers module."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from fastapi import APIRouter, Request, Response
from pydantic import ConfigDict, Field
from pydantic.config import JsonDict
from typing_extensions import TypedDict

import rerank
from rerank.api.dialects.dialect import Dialect, SharedBody
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, ScoringBody
from rerank.api.dialects.texts import Text, Texts
from rerank.api.errors import Problem
from rerank.api.routes import Route
from rerank.api.services import ServicesDep, caller_of
from rerank.core import Pair, ScoringRequest
from rerank.results import ScoringResult
from rerank.schemas import Schema

EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS],
    "property": "",
}


ANSWER_EXAMPLE = {
    "scores": [
        {"document": EXAMPLE_DOCUMENTS[0], "score": 0.702},
        {"document": EXAMPLE_DOCUMENTS[1], "score": 0.928},
    ]
}


class WeaviateBody(ScoringBody):
    """A query and documents; recognised by `property` without `model`."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    query: Text = Field(description="What the documents are compared with.")
    documents: Texts = Field(description="Strings.")

    def scoring_request(self) -> ScoringRequest:
        """The query with each document."""
        return self.request_for([Pair(self.query, document) for document in self.documents])


class DocumentScore(TypedDict):
    """A document and its relevance."""

    document: str
    score: float


class WeaviateAnswer(TypedDict):
    """Scores in the order of the documents."""

    scores: list[DocumentScore]


def answer(body: WeaviateBody, result: ScoringResult) -> WeaviateAnswer:
    """Weaviate matches scores with documents by their place, so nothing is sorted."""
    pairs = zip(body.documents, result.scores, strict=True)
    return WeaviateAnswer(scores=[DocumentScore(document=document, score=score) for document, score in pairs])


def render_error(problem: Problem) -> tuple[int, dict[str, Any]]:
    """One string."""
    return problem.status, {"error": problem.message}


class WeaviateError(Schema):
    """An error."""

    error: str


class Meta(Schema):
    """The model, as the module describes it."""

    model: str
    version: str


router = APIRouter(route_class=Route, tags=["Weaviate"])


@router.get("/.well-known/ready", summary="200 while the server is alive", status_code=204, responses={503: {}})
@router.get("/.well-known/live", summary="The same", status_code=204, responses={503: {}})
async def ready(services: ServicesDep) -> Response:
    """Weaviate waits for it when it starts."""
    return Response(status_code=503 if services.trouble() else 204)


@router.get("/meta", summary="The default model, for Weaviate")
async def meta(request: Request, services: ServicesDep) -> Meta:
    """Weaviate shows it among its modules."""
    return Meta(model=services.gateway.default_for(caller_of(request)).card.id, version=rerank.__version__)


def _is_weaviate(body: Mapping[str, Any]) -> bool:
    return "property" in body and not body.get("model")


DIALECT = Dialect(
    "Weaviate",
    (router,),
    render_error,
    public_paths=frozenset({"/meta", "/.well-known/ready", "/.well-known/live"}),
    shared=SharedBody(_is_weaviate, WeaviateBody, answer, WeaviateAnswer, ANSWER_EXAMPLE, WeaviateError),
)

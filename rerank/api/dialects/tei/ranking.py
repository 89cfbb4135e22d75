"""Reranking as in text-embeddings-inference: ``texts`` in, an array out; and the server's description."""

from __future__ import annotations

from typing import NotRequired

from fastapi import APIRouter, Depends, Request, Response
from pydantic import AliasChoices, ConfigDict, Field
from pydantic.config import JsonDict

import rerank
from rerank.api.bodies import JsonRoute
from rerank.api.dialects.details import RareDetails, rare_details
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, ScoringBody
from rerank.api.dialects.scoring import answers, json_answer, require_json, score
from rerank.api.dialects.tei.errors import RESPONSES
from rerank.api.dialects.texts import Text, Texts
from rerank.api.models import model_info
from rerank.api.services import ServicesDep, caller_of
from rerank.core import Pair, ScoringRequest
from rerank.results import ScoringResult
from rerank.schemas import Schema
from rerank.units import torch_precision_name

EXAMPLE: JsonDict = {
    "query": EXAMPLE_QUERY,
    "texts": [*EXAMPLE_DOCUMENTS],
    "return_text": True,
}


ANSWER_EXAMPLE = [
    {"index": 1, "score": 0.928, "text": EXAMPLE_DOCUMENTS[1]},
    {"index": 0, "score": 0.702, "text": EXAMPLE_DOCUMENTS[0]},
]


class TeiBody(ScoringBody):
    """A query and the texts to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    query: Text = Field(description="What the texts are compared with.")
    texts: Texts = Field(validation_alias=AliasChoices("texts", "documents"), description="Strings.")
    return_text: bool = Field(
        default=False,
        validation_alias=AliasChoices("return_text", "return_documents"),
        description="true: put each text into its result.",
    )
    top_n: int = Field(
        default=0, ge=0, description="How many results to return; 0: all. Not in TEI, but LiteLLM sends it."
    )

    def scoring_request(self) -> ScoringRequest:
        """The query with each text."""
        return self.request_for([Pair(self.query, text) for text in self.texts], self.top_n)


class Rank(RareDetails):
    """A text's place in the request, and its relevance; details only with chunks, a budget or a partial answer."""

    index: int
    score: float
    text: NotRequired[str]


class ModelType(Schema):
    """The model's task; an object with one key."""

    reranker: dict[str, dict[str, str | int]]


class Info(Schema):
    """The default model, as clients of TEI look it up."""

    model_id: str
    model_sha: str | None
    model_dtype: str
    model_type: ModelType
    served_model_name: str
    max_concurrent_requests: int
    max_input_length: int | None
    max_batch_tokens: int | None
    max_batch_requests: int | None
    max_client_batch_size: int
    auto_truncate: bool
    tokenization_workers: int | None
    version: str
    sha: str | None
    docker_label: str | None


def answer(body: TeiBody, result: ScoringResult) -> list[Rank]:
    """Texts by falling relevance."""
    ranks = []
    for scored in result.ranked:
        found = Rank(index=scored.index, score=scored.relevance_score)
        if body.return_text:
            found["text"] = body.texts[scored.index]
        # Elasticsearch refuses fields that it does not know
        if body.max_chunks_per_doc or body.budget_ms or result.partial:
            found |= rare_details(scored)  # type: ignore[typeddict-item]
        ranks.append(found)
    return ranks


router = APIRouter(route_class=JsonRoute, tags=["TEI"])


@router.post(
    "/tei/rerank",
    summary="Order texts as text-embeddings-inference does",
    response_model=list[Rank],
    responses=RESPONSES | answers(TEI=ANSWER_EXAMPLE),
    dependencies=[Depends(require_json)],
)
async def rerank_texts(body: TeiBody, request: Request, services: ServicesDep) -> Response:
    """An array, whatever the documents are called. `/rerank` answers so too where the body has `texts`."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


@router.get("/info", summary="The default model, as TEI describes its own")
@router.get("/tei/info", summary="The same, under TEI's prefix")
async def info(request: Request, services: ServicesDep) -> Info:
    """The default model. Some fields are known only once it is loaded."""
    known = await model_info(services, services.gateway.default_for(caller_of(request)).card)
    limits = services.gateway.limits
    return Info(
        model_id=known.id,
        model_sha=None,
        model_dtype=torch_precision_name(known.precision or "fp32"),
        model_type=ModelType(reranker={"id2label": {"0": "LABEL_0"}, "label2id": {"LABEL_0": 0}}),
        served_model_name=known.id,
        max_concurrent_requests=limits.max_documents,
        max_input_length=known.max_model_len,
        max_batch_tokens=None,
        max_batch_requests=None,
        max_client_batch_size=limits.max_documents,
        auto_truncate=True,
        tokenization_workers=None,
        version=rerank.__version__,
        sha=None,
        docker_label=None,
    )


@router.get("/tei/health", summary="200 while the server is alive", response_class=Response)
async def health(services: ServicesDep) -> Response:
    """As `/health`, under TEI's prefix."""
    return Response(status_code=503 if services.trouble() else 200)

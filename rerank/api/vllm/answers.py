"""What vLLM's clients get back, with what Jina's and Cohere's clients need beside it."""

from __future__ import annotations

import time
from typing import Literal, NotRequired

from pydantic import BaseModel
from typing_extensions import TypedDict

from rerank.api.vllm.bodies import RerankBody
from rerank.core import ScoringResult
from rerank.gateway.ranking import rank
from rerank.telemetry import request_id_var

# Of these there are as many as documents, and a dictionary is made faster than a model.


class DocumentEcho(TypedDict):
    """A document as it was sent."""

    text: str
    multi_modal: None


class RankedDocument(TypedDict):
    """A document's place in the request, its text, and its relevance."""

    index: int
    document: NotRequired[DocumentEcho]
    relevance_score: float


class Usage(BaseModel):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class ScoreUsage(Usage):
    """Tokens read, with the fields OpenAI's clients expect."""

    completion_tokens: int = 0
    prompt_tokens_details: None = None
    completion_tokens_details: None = None


class ApiVersion(BaseModel):
    """The version of Cohere's API this body can be read as."""

    version: str = "2"
    is_experimental: bool = False


class BilledUnits(BaseModel):
    """What Cohere's clients count."""

    input_tokens: int
    output_tokens: int = 0
    search_units: int = 1
    classifications: int = 0


class MetaTokens(BaseModel):
    """Tokens read, where Cohere's clients look for them."""

    input_tokens: int
    output_tokens: int = 0


class Meta(BaseModel):
    """What Cohere's clients read, and why this model answered."""

    api_version: ApiVersion = ApiVersion()
    billed_units: BilledUnits
    tokens: MetaTokens
    model_reason: str


class RerankAnswer(BaseModel):
    """Documents by falling relevance."""

    id: str
    model: str
    usage: Usage
    results: list[RankedDocument]
    object: Literal["rerank"] = "rerank"
    created: int
    meta: Meta


class ScoredPair(TypedDict):
    """A pair's score, in request order."""

    index: int
    object: Literal["score"]
    score: float


class ScoreAnswer(BaseModel):
    """Scores in request order."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[ScoredPair]
    usage: ScoreUsage
    meta: Meta


def ranking_answer(body: RerankBody, result: ScoringResult) -> RerankAnswer:
    """The ranking as the request wants it: how many results, with or without their texts."""
    return RerankAnswer(
        id=_answer_id(),
        model=result.model,
        usage=Usage(prompt_tokens=result.tokens, total_tokens=result.tokens),
        results=[
            _ranked(body, scored.index, scored.relevance_score)
            for scored in rank(result.logits, result.scores, body.top_n)
        ],
        object="rerank",
        created=int(time.time()),
        meta=_meta(result),
    )


def score_answer(result: ScoringResult) -> ScoreAnswer:
    """The scores in request order."""
    return ScoreAnswer(
        id=_answer_id(),
        created=int(time.time()),
        model=result.model,
        data=[ScoredPair(index=index, object="score", score=value) for index, value in enumerate(result.scores)],
        usage=ScoreUsage(prompt_tokens=result.tokens, total_tokens=result.tokens),
        meta=_meta(result),
    )


def _ranked(body: RerankBody, index: int, relevance_score: float) -> RankedDocument:
    if not body.return_documents:
        # the key is left out, not null: some clients read a null as an object
        return RankedDocument(index=index, relevance_score=relevance_score)
    echo = DocumentEcho(text=body.documents[index], multi_modal=None)
    return RankedDocument(index=index, document=echo, relevance_score=relevance_score)


def _meta(result: ScoringResult) -> Meta:
    return Meta(
        billed_units=BilledUnits(input_tokens=result.tokens),
        tokens=MetaTokens(input_tokens=result.tokens),
        model_reason=result.model_reason,
    )


def _answer_id() -> str:
    return f"score-{request_id_var.get()}"

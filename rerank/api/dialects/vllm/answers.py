"""Answers for vLLM's clients, with the additional fields of Jina's and Cohere's."""

from __future__ import annotations

import time
from typing import Any, Literal, NotRequired, Protocol

from typing_extensions import TypedDict

from rerank.api.dialects.details import Details, details
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS
from rerank.results import ScoringResult
from rerank.schemas import Schema
from rerank.telemetry import request_id_var


class HasDocuments(Protocol):
    """The part of a request that its answer needs."""

    @property
    def documents(self) -> list[str]:
        """The texts, in order."""
        ...

    @property
    def return_documents(self) -> bool:
        """True to put texts into the results."""
        ...


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


class Usage(Schema):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class ScoreUsage(Usage):
    """Tokens read, with the fields OpenAI's clients expect."""

    completion_tokens: int = 0
    prompt_tokens_details: None = None
    completion_tokens_details: None = None


class ApiVersion(Schema):
    """The version of Cohere's API this body can be read as."""

    version: str = "2"
    is_experimental: bool = False


class BilledUnits(Schema):
    """Units that Cohere's clients count."""

    input_tokens: int
    output_tokens: int = 0
    search_units: int = 1
    classifications: int = 0


class MetaTokens(Schema):
    """Tokens read, where Cohere's clients look for them."""

    input_tokens: int
    output_tokens: int = 0


class AttemptMeta(TypedDict):
    """A model that was asked."""

    model: str
    outcome: str
    """`ok`, or the class of the error."""
    ms: float


class StageMeta(TypedDict):
    """The work of a model that contributed."""

    model: str
    documents: int
    tokens: int
    seconds: float


class Meta(Schema):
    """Fields that Cohere's clients read, and how the answer came about."""

    api_version: ApiVersion = ApiVersion()
    billed_units: BilledUnits
    tokens: MetaTokens
    model_reason: str
    degraded: bool
    """true: another model answered than the first choice, or an ensemble lacks a member."""
    partial: bool
    """true: the time budget did not suffice for every document."""
    calibrated: bool
    """true: relevance is calibrated, that of every model that contributed."""
    cached: int
    """Pairs whose score was in the cache."""
    route: list[AttemptMeta]
    stages: list[StageMeta]


class PlainRerankAnswer(Schema):
    """Documents by falling relevance, as vLLM says it."""

    id: str
    model: str
    usage: Usage
    results: list[RankedDocument]


class DetailedDocument(RankedDocument, Details):
    """The same, with details."""


class RerankAnswer(PlainRerankAnswer):
    """The same, with the additional fields of other clients."""

    results: list[DetailedDocument]  # type: ignore[assignment]
    object: Literal["rerank"] = "rerank"
    created: int
    meta: Meta


class ScoredPair(TypedDict):
    """A pair's score, in request order."""

    index: int
    object: Literal["score"]
    score: float


class PlainScoreAnswer(Schema):
    """Scores in request order, as vLLM says it."""

    id: str
    object: Literal["list"] = "list"
    created: int
    model: str
    data: list[ScoredPair]
    usage: ScoreUsage


class ScoreAnswer(PlainScoreAnswer):
    """The same, with why this model answered."""

    meta: Meta


_META = {
    "api_version": {"version": "2", "is_experimental": False},
    "billed_units": {"input_tokens": 36, "output_tokens": 0, "search_units": 1, "classifications": 0},
    "tokens": {"input_tokens": 36, "output_tokens": 0},
    "model_reason": "default: RERANK_DEFAULT_MODEL names it",
    "degraded": False,
    "partial": False,
    "calibrated": False,
    "cached": 0,
    "route": [{"model": "sentence-transformers/all-MiniLM-L6-v2", "outcome": "ok", "ms": 4.1}],
    "stages": [
        {"model": "sentence-transformers/all-MiniLM-L6-v2", "documents": 2, "tokens": 36, "seconds": 0.004},
    ],
}
_RESULTS: list[dict[str, Any]] = [
    {"index": 1, "document": {"text": EXAMPLE_DOCUMENTS[1], "multi_modal": None}, "relevance_score": 0.928},
    {"index": 0, "document": {"text": EXAMPLE_DOCUMENTS[0], "multi_modal": None}, "relevance_score": 0.702},
]
PLAIN_RERANK_EXAMPLE = {
    "id": "score-8a2f0c",
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "usage": {"prompt_tokens": 36, "total_tokens": 36},
    "results": _RESULTS,
}
RERANK_ANSWER_EXAMPLE = PLAIN_RERANK_EXAMPLE | {
    "object": "rerank",
    "created": 1795184233,
    "meta": _META,
    "results": [result | {"tokens": 18, "truncated": False} for result in _RESULTS],
}
PLAIN_SCORE_EXAMPLE = {
    "id": "score-8a2f0c",
    "object": "list",
    "created": 1795184233,
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "data": [{"index": 0, "object": "score", "score": 0.81}, {"index": 1, "object": "score", "score": 0.62}],
    "usage": {
        "prompt_tokens": 14,
        "total_tokens": 14,
        "completion_tokens": 0,
        "prompt_tokens_details": None,
        "completion_tokens_details": None,
    },
}
SCORE_ANSWER_EXAMPLE = PLAIN_SCORE_EXAMPLE | {"meta": _META}


def plain_rerank_answer(body: HasDocuments, result: ScoringResult) -> PlainRerankAnswer:
    """The ranking, with or without texts as the request wants it."""
    # not validated: its parts are already, and validating them again takes as long as making the answer
    return PlainRerankAnswer.model_construct(
        id=_answer_id(),
        model=result.model,
        usage=Usage(prompt_tokens=result.tokens, total_tokens=result.tokens),
        results=[_ranked(body, scored.index, scored.relevance_score) for scored in result.ranked],
    )


def rerank_answer(body: HasDocuments, result: ScoringResult) -> RerankAnswer:
    """The same, for the clients of vLLM, Jina, Cohere and similar APIs."""
    plain = dict(plain_rerank_answer(body, result))
    plain["results"] = [item | details(scored) for item, scored in zip(plain["results"], result.ranked, strict=True)]
    return RerankAnswer.model_construct(**plain, created=int(time.time()), meta=_meta(result))


def plain_score_answer(result: ScoringResult) -> PlainScoreAnswer:
    """The scores in request order."""
    return PlainScoreAnswer(
        id=_answer_id(),
        created=int(time.time()),
        model=result.model,
        data=[ScoredPair(index=index, object="score", score=value) for index, value in enumerate(result.scores)],
        usage=ScoreUsage(prompt_tokens=result.tokens, total_tokens=result.tokens),
    )


def score_answer(result: ScoringResult) -> ScoreAnswer:
    """The same, and why this model answered."""
    return ScoreAnswer(**dict(plain_score_answer(result)), meta=_meta(result))


def _ranked(body: HasDocuments, index: int, relevance_score: float) -> RankedDocument:
    if not body.return_documents:
        # the key is left out, not null: some clients read a null as an object
        return {"index": index, "relevance_score": relevance_score}
    echo: DocumentEcho = {"text": body.documents[index], "multi_modal": None}
    return {"index": index, "document": echo, "relevance_score": relevance_score}


def _meta(result: ScoringResult) -> Meta:
    return Meta(
        billed_units=BilledUnits(input_tokens=result.tokens),
        tokens=MetaTokens(input_tokens=result.tokens),
        model_reason=result.model_reason,
        degraded=result.degraded,
        partial=result.partial,
        calibrated=result.calibrated,
        cached=result.cached,
        route=[
            AttemptMeta(model=attempt.model, outcome=attempt.outcome, ms=round(attempt.seconds * 1000, 1))
            for attempt in result.route
        ],
        stages=[
            StageMeta(model=cost.model, documents=cost.documents, tokens=cost.tokens, seconds=round(cost.seconds, 4))
            for cost in result.stages
        ],
    )


def _answer_id() -> str:
    return f"score-{request_id_var.get()}"

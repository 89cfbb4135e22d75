"""The endpoints of vLLM's dialect: rerank and score."""

from __future__ import annotations

from fastapi import APIRouter, Depends, Request

from rerank.api.errors import ERROR_RESPONSES
from rerank.api.services import Running, Services, unless_client_leaves
from rerank.api.vllm.answers import RerankAnswer, ScoreAnswer, ranking_answer, score_answer
from rerank.api.vllm.bodies import RerankBody, ScoreBody
from rerank.core import ScoringRequest, ScoringResult
from rerank.errors import InvalidRequest


async def require_json(request: Request) -> None:
    """Refuse a body that does not say it is JSON, with words that help; an absent header passes for JSON."""
    kind = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if kind != "application/json" and not kind.endswith("+json"):
        raise InvalidRequest("Unsupported Media Type: send the body with the header Content-Type: application/json")


_RESPONSES = {status: response for status, response in ERROR_RESPONSES.items() if status != 403}

router = APIRouter(responses=_RESPONSES, tags=["rerank"], dependencies=[Depends(require_json)])


@router.post("/v1/rerank", summary="Order documents by their relevance to a query")
@router.post("/v2/rerank", summary="The same, where Cohere's v2 clients look for it")
@router.post("/rerank", summary="The same, where Jina's clients look for it")
async def rerank(body: RerankBody, request: Request, services: Running) -> RerankAnswer:
    """Score each document with the query and return the best first; equal ones keep their order."""
    result = await _score(request, services, body.scoring_request())
    return ranking_answer(body, result)


@router.post("/v1/score", summary="Score pairs of texts")
@router.post("/score", summary="The same, without a version")
async def score(body: ScoreBody, request: Request, services: Running) -> ScoreAnswer:
    """Score one text with each of a list, or two lists item by item; the order stays."""
    return score_answer(await _score(request, services, body.scoring_request()))


async def _score(request: Request, services: Services, wanted: ScoringRequest) -> ScoringResult:
    request.state.facts = {"documents": len(wanted.pairs)}
    result = await unless_client_leaves(request, services.gateway.score(wanted))
    request.state.facts |= {"model": result.model, "tokens": result.tokens}
    return result

"""vLLM's score endpoint."""

from __future__ import annotations

from fastapi import Request, Response

from rerank.api.dialects.scoring import dialect_router, json_answer, score
from rerank.api.dialects.vllm.answers import SCORE_ANSWER_EXAMPLE, ScoreAnswer, score_answer
from rerank.api.dialects.vllm.bodies import ScoreBody
from rerank.api.services import ServicesDep

router = dialect_router("rerank", vLLM=SCORE_ANSWER_EXAMPLE)


@router.post("/v1/score", summary="Score pairs of texts", response_model=ScoreAnswer)
@router.post("/score", summary="The same, without a version", response_model=ScoreAnswer)
async def score_pairs(body: ScoreBody, request: Request, services: ServicesDep) -> Response:
    """Score one text with each of a list, or two lists item by item; the order stays."""
    return json_answer(score_answer(await score(request, services, body.scoring_request())))

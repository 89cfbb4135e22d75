"""Results of a request from the answer of its plan, and the work that they take. Pure."""

from __future__ import annotations

from rerank.catalog.cards import ModelCard
from rerank.core import ScoringRequest
from rerank.gateway.admission import Work
from rerank.gateway.chunks import ChunkRules
from rerank.gateway.estimate import estimated_tokens, held_bytes
from rerank.gateway.ranking import rank, with_floor
from rerank.gateway.routing.plan import Plan, estimated_work
from rerank.gateway.routing.run import Answer, Run
from rerank.results import ScoringResult


def work_of(plan: Plan, request: ScoringRequest, rules: ChunkRules) -> Work:
    """Estimated work of a request's first choice of models."""
    pairs = request.pairs
    of_model: dict[int | None, int] = {}

    def tokens(card: ModelCard) -> int:
        chunking = rules.chunking(card, request.chunking, len(pairs))
        length = card.max_length and card.max_length * (chunking.most if chunking else 1)
        if length not in of_model:
            of_model[length] = estimated_tokens(pairs, length)
        return of_model[length]

    return Work(len(pairs), int(estimated_work(plan, len(pairs), request.top_n, tokens)), held_bytes(pairs))


def result_of(request: ScoringRequest, answer: Answer, run: Run, reason: str) -> ScoringResult:
    """The ranking, and the truth about how it came about. ``reason``: why the request's model was chosen."""
    failed = [f"{attempt.model} ({attempt.outcome})" for attempt in run.attempts if attempt.outcome != "ok"]
    scores = answer.scores if run.activated else with_floor(answer.scores)
    return ScoringResult(
        scores=tuple([score.relevance for score in scores]),
        ranked=tuple(rank(scores, request.top_n, request.min_score)),
        tokens=sum([stage.tokens for stage in run.stages]),
        model=answer.card.id,
        model_reason=f"{reason}; not available: {', '.join(failed)}" if answer.degraded and failed else reason,
        route=tuple(run.attempts),
        stages=tuple(run.stages),
        degraded=answer.degraded,
        partial=answer.partial,
        calibrated=answer.calibrated,
        cached=run.cached,
    )

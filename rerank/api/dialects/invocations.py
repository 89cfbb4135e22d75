"""SageMaker's address for every task, recognised by the fields of the body."""

from __future__ import annotations

from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Discriminator, Tag

from rerank.api.bodies import JsonRoute, present
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.scoring import answers, require_json
from rerank.api.dialects.shared import ANSWER, ANSWER_EXAMPLES, ERRORS, AnyBody, SharedRoute, rerank
from rerank.api.dialects.vllm import embeddings, score, strict
from rerank.api.dialects.vllm.answers import (
    PLAIN_RERANK_EXAMPLE,
    PLAIN_SCORE_EXAMPLE,
    SCORE_ANSWER_EXAMPLE,
    PlainRerankAnswer,
    PlainScoreAnswer,
    ScoreAnswer,
)
from rerank.api.dialects.vllm.bodies import ScoreBody
from rerank.api.dialects.vllm.unsupported import UnsupportedBody, refusal
from rerank.api.errors import TAG_SUFFIX
from rerank.api.services import ServicesDep

_RERANK, _SCORE, _EMBED, _GENERATE = (f"{name}{TAG_SUFFIX}" for name in ("rerank", "score", "embed", "generate"))
_TASKS = {
    _SCORE: ("text_1", "data_1", "queries"),
    _RERANK: ("query",),
    _EMBED: ("input", "inputs"),
    _GENERATE: ("messages", "prompt"),
}


def task_of(body: Any) -> str:
    """The task of a body; an unrecognised one counts as a rerank request, whose error says what is missing."""
    said = present(body)
    if isinstance(said, dict) and not isinstance(said.get("input"), dict):
        return next((task for task, fields in _TASKS.items() if any(name in said for name in fields)), _RERANK)
    return _RERANK


InvocationBody = Annotated[
    Annotated[AnyBody, Tag(_RERANK)]
    | Annotated[ScoreBody, Tag(_SCORE)]
    | Annotated[embeddings.EmbeddingsBody, Tag(_EMBED)]
    | Annotated[UnsupportedBody, Tag(_GENERATE)],
    Discriminator(task_of),
]
StrictInvocationBody = Annotated[
    Annotated[strict.StrictRerankBody, Tag(_RERANK)]
    | Annotated[strict.StrictScoreBody, Tag(_SCORE)]
    | Annotated[embeddings.StrictEmbeddingsBody, Tag(_EMBED)]
    | Annotated[UnsupportedBody, Tag(_GENERATE)],
    Discriminator(task_of),
]


class StrictInvocationRoute(JsonRoute):
    """A route that recognises a body's task."""

    def recognise(self, request: Request, body: Any) -> None:
        """See ``JsonRoute.recognise``."""
        request.state.task = task_of(body).removesuffix(TAG_SUFFIX)


class InvocationRoute(SharedRoute):
    """The same, which answers a rerank body in the dialect of the body."""

    def recognise(self, request: Request, body: Any) -> None:
        """See ``JsonRoute.recognise``."""
        request.state.task = task_of(body).removesuffix(TAG_SUFFIX)
        if request.state.task == "rerank":
            super().recognise(request, body)


async def invoke(body: InvocationBody, request: Request, services: ServicesDep) -> Response:
    """A rerank body is answered as at `/rerank`, a score body as at `/score`, one with `input` as at `/embeddings`."""
    match body:
        case ScoreBody():
            return await score.score_pairs(body, request, services)
        case embeddings.EmbeddingsBody():
            return await embeddings.embeddings(body, request, services)
        case UnsupportedBody():
            raise await refusal(body, request.state.task, request, services)
        case _:
            return await rerank(body, request, services)


async def invoke_strictly(body: StrictInvocationBody, request: Request, services: ServicesDep) -> Response:
    """A rerank body is answered as at `/rerank`, a score body as at `/score`, one with `input` as at `/embeddings`."""
    match body:
        case strict.StrictRerankBody():
            return await strict.rerank(body, request, services)
        case strict.StrictScoreBody():
            return await strict.score_pairs(body, request, services)
        case embeddings.EmbeddingsBody():
            return await embeddings.embeddings(body, request, services)
        case _:
            raise await refusal(body, request.state.task, request, services)


_ASKED = [Depends(require_json)]
_SUMMARY = "Rerank, score or embed, where SageMaker looks for it"

router = APIRouter(route_class=InvocationRoute, tags=["rerank"], responses=ERRORS, dependencies=_ASKED)
router.post(
    "/invocations",
    summary=_SUMMARY,
    response_model=ANSWER | ScoreAnswer | embeddings.EmbeddingsAnswer,
    responses=answers(**ANSWER_EXAMPLES, score=SCORE_ANSWER_EXAMPLE, embeddings=embeddings.ANSWER_EXAMPLE),
)(invoke)

strict_router = APIRouter(
    route_class=StrictInvocationRoute, tags=["vLLM, strictly"], responses=strict.RESPONSES, dependencies=_ASKED
)
strict_router.post(
    "/invocations",
    summary=_SUMMARY,
    response_model=PlainRerankAnswer | PlainScoreAnswer | embeddings.EmbeddingsAnswer,
    responses=answers(rerank=PLAIN_RERANK_EXAMPLE, score=PLAIN_SCORE_EXAMPLE, embeddings=embeddings.ANSWER_EXAMPLE),
)(invoke_strictly)

DIALECT = Dialect("rerank", (router,))
STRICT_DIALECT = Dialect("vLLM, strictly", (strict_router,), strict.render_error)

"""vLLM exactly: it rejects what vLLM rejects, and answers have vLLM's fields only. Only as the main dialect.

Three things stay as they are everywhere here: every path needs the key where one is set (vLLM leaves some open), an
XLM-RoBERTa model reads the 512 tokens it has positions for (vLLM counts 514), and options that have no effect here are
not checked.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, Literal

from fastapi import APIRouter, Depends, Request, Response
from pydantic import (
    AliasChoices,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    FailFast,
    Field,
    ValidationInfo,
    model_validator,
)

from rerank.api.bodies import JsonRoute, check_length
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import Instruction, Name, instructed
from rerank.api.dialects.scoring import answers, json_answer, require_json, score
from rerank.api.dialects.texts import Encodable
from rerank.api.dialects.vllm.answers import (
    PLAIN_RERANK_EXAMPLE,
    PLAIN_SCORE_EXAMPLE,
    PlainRerankAnswer,
    PlainScoreAnswer,
    plain_rerank_answer,
    plain_score_answer,
)
from rerank.api.dialects.vllm.bodies import RERANK_EXAMPLE, SCORE_EXAMPLE, pairs_of
from rerank.api.errors import ERROR_RESPONSES, ErrorBody, ErrorDetail, Problem
from rerank.api.models import VllmModelList, list_models
from rerank.api.services import ServicesDep
from rerank.core import Pair, ScoringOptions, ScoringRequest, Truncation
from rerank.errors import ModelNotFound


def _listed(value: Any, info: ValidationInfo) -> Any:
    if isinstance(value, list):
        check_length(value, info.field_name)
    return [value] if isinstance(value, str) else value


Texts = Annotated[list[Encodable], FailFast(), BeforeValidator(_listed, json_schema_input_type=str | list[str])]


class StrictBody(BaseModel):
    """Fields that rerank and score share."""

    model_config = ConfigDict(extra="ignore")

    model: Name | None = None
    truncate_prompt_tokens: int | None = Field(
        default=None, ge=-1, description="Absent: a pair too long for the model is refused."
    )
    truncation_side: Literal["left", "right"] | None = None
    max_tokens_per_doc: int = Field(default=0, ge=0)
    use_activation: bool | None = None
    instruction: Instruction | None = None

    @model_validator(mode="before")
    @classmethod
    def _instructed(cls, body: Any) -> Any:
        return instructed(body)

    def request_for(self, pairs: Sequence[Pair], top_n: int = 0) -> ScoringRequest:
        """These pairs, to be scored as the body says."""
        return ScoringRequest(
            pairs=tuple(pairs),
            model=self.model or None,
            options=ScoringOptions(
                Truncation(
                    self.truncate_prompt_tokens,
                    self.max_tokens_per_doc or None,
                    allowed=self.truncate_prompt_tokens is not None,
                    side=self.truncation_side or "right",
                ),
                self.instruction or None,
            ),
            top_n=top_n,
            activated=self.use_activation is not False,
        )


class StrictRerankBody(StrictBody):
    """A query and the documents to rank."""

    model_config = ConfigDict(json_schema_extra={"examples": [RERANK_EXAMPLE]})

    query: Encodable
    documents: Texts
    top_n: int = Field(default=0, ge=0)

    @property
    def return_documents(self) -> bool:
        """vLLM always does."""
        return True

    def scoring_request(self) -> ScoringRequest:
        """The query with each document."""
        return self.request_for([Pair(self.query, document) for document in self.documents], self.top_n)


class StrictScoreBody(StrictBody):
    """Two texts, a text and a list, or two lists of one length."""

    model_config = ConfigDict(json_schema_extra={"examples": [SCORE_EXAMPLE]})

    queries: Texts = Field(validation_alias=AliasChoices("text_1", "data_1", "queries"))
    documents: Texts = Field(validation_alias=AliasChoices("text_2", "data_2", "documents", "items"))

    def scoring_request(self) -> ScoringRequest:
        """Pairs from one query and many documents, or from two lists of one length. Raises InvalidRequest."""
        return self.request_for(pairs_of(self.queries, self.documents))


class StrictError(BaseModel):
    """An error."""

    error: ErrorDetail


class StrictUnauthorized(BaseModel):
    """No key, or a wrong one."""

    error: str


def render_error(problem: Problem) -> tuple[int, dict[str, Any]]:
    """vLLM's error object alone; without a key, its one word."""
    if problem.status == 401:
        return 401, {"error": "Unauthorized"}
    # vLLM's message does not say where models are listed
    elsewhere = problem.error.elsewhere if isinstance(problem.error, ModelNotFound) else ""
    message = problem.message.removesuffix(elsewhere)
    detail = ErrorDetail(message=message, type=problem.type, param=problem.param, code=problem.status)
    return problem.status, StrictError(error=detail).model_dump()


RERANK_PATHS = ("/v1/rerank", "/v2/rerank", "/rerank")
SCORE_PATHS = ("/v1/score", "/score")
RESPONSES: dict[int | str, dict[str, Any]] = {
    401: {"model": StrictUnauthorized},
    **{status: {"model": StrictError} for status in (400, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504, 508)},
}

EITHER: dict[int | str, dict[str, Any]] = {
    status: ERROR_RESPONSES[status] | {"model": ErrorBody | response["model"]} for status, response in RESPONSES.items()
}
"""Errors of addresses whose bodies are the same, strict or not."""

router = APIRouter(route_class=JsonRoute, tags=["vLLM, strictly"], responses=RESPONSES)


async def rerank(body: StrictRerankBody, request: Request, services: ServicesDep) -> Response:
    """Score each document with the query; the best first."""
    return json_answer(plain_rerank_answer(body, await score(request, services, body.scoring_request())))


async def score_pairs(body: StrictScoreBody, request: Request, services: ServicesDep) -> Response:
    """Score one text with each of a list, or two lists item by item; the order stays."""
    return json_answer(plain_score_answer(await score(request, services, body.scoring_request())))


_asked = [Depends(require_json)]
for _path in RERANK_PATHS:
    router.post(
        _path,
        summary="Rerank",
        response_model=PlainRerankAnswer,
        dependencies=_asked,
        responses=answers(vLLM=PLAIN_RERANK_EXAMPLE),
    )(rerank)
for _path in SCORE_PATHS:
    router.post(
        _path,
        summary="Score",
        response_model=PlainScoreAnswer,
        dependencies=_asked,
        responses=answers(vLLM=PLAIN_SCORE_EXAMPLE),
    )(score_pairs)


@router.get("/v1/models", summary="All models the server knows", response_model=VllmModelList)
async def models(request: Request, services: ServicesDep) -> Any:
    """vLLM's cards, with nothing else on them."""
    return await list_models(request, services)


DIALECT = Dialect("vLLM, strictly", (router,), render_error)

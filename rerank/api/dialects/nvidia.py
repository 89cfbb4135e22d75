"""NVIDIA NIM's dialect: ``passages`` in, ``rankings`` with raw logits out."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any

from fastapi import Request, Response
from pydantic import ConfigDict, Field, model_validator
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from rerank.api.dialects.dialect import Dialect, SharedBody
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, MAX_WORD, ScoringBody
from rerank.api.dialects.scoring import dialect_router, json_answer, score
from rerank.api.dialects.texts import Text, Texts
from rerank.api.models import MODEL_IN_PATH
from rerank.api.services import ServicesDep
from rerank.catalog.rerank_apis import NIM_PATH
from rerank.core import Pair, ScoringRequest
from rerank.results import ScoringResult

EXAMPLE: JsonDict = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "query": {"text": EXAMPLE_QUERY},
    "passages": [{"text": text} for text in EXAMPLE_DOCUMENTS],
}


ANSWER_EXAMPLE = {
    "rankings": [{"index": 1, "logit": 0.856}, {"index": 0, "logit": 0.404}],
    "usage": {"prompt_tokens": 36, "total_tokens": 36},
}


class NvidiaBody(ScoringBody):
    """A query and the passages to rank. `truncate` is `END` (the default here) or `NONE`, in any case."""

    model_config = ConfigDict(json_schema_extra={"examples": [EXAMPLE]})

    query: Text = Field(description="What the passages are compared with.")
    passages: Texts = Field(description="Objects with a field `text`, or strings.")

    @model_validator(mode="before")
    @classmethod
    def _truncate_in_words(cls, body: Any) -> Any:
        cut = body.get("truncate") if isinstance(body, dict) else None
        if isinstance(cut, str) and len(cut) <= MAX_WORD and cut.upper() in _CUTS:
            return body | {"truncate": _CUTS[cut.upper()]}
        return body

    def scoring_request(self) -> ScoringRequest:
        """The query with each passage; clients of NIM expect logits, but only their order matters to them."""
        logits = self.model_copy(update={"raw_scores": True})
        request = logits.request_for([Pair(self.query, passage) for passage in self.passages])
        return replace(request, logits_only=False)


_CUTS = {"END": True, "NONE": False}


class Ranking(TypedDict):
    """A passage's place in the request, and its raw logit."""

    index: int
    logit: float


class Usage(TypedDict):
    """Tokens read."""

    prompt_tokens: int
    total_tokens: int


class NvidiaAnswer(TypedDict):
    """Passages by falling relevance."""

    rankings: list[Ranking]
    usage: Usage


def answer(body: NvidiaBody, result: ScoringResult) -> NvidiaAnswer:
    """The ranking of all passages."""
    del body
    return NvidiaAnswer(
        rankings=[Ranking(index=scored.index, logit=scored.relevance_score) for scored in result.ranked],
        usage=Usage(prompt_tokens=result.tokens, total_tokens=result.tokens),
    )


router = dialect_router("NVIDIA", NVIDIA=ANSWER_EXAMPLE)


@router.post(NIM_PATH, summary="Order passages as NVIDIA's NIM does", response_model=NvidiaAnswer)
async def rerank(body: NvidiaBody, request: Request, services: ServicesDep) -> Response:
    """Scores are raw logits, as NIM's are."""
    return json_answer(answer(body, await score(request, services, body.scoring_request())))


@router.post(
    f"/v1/retrieval/{MODEL_IN_PATH}/reranking",
    summary="The same, with the model in the path",
    response_model=NvidiaAnswer,
)
async def rerank_at_model(model: str, body: NvidiaBody, request: Request, services: ServicesDep) -> Response:
    """The path is only there to be found: the model is the body's, or the default one."""
    del model
    return await rerank(body, request, services)


def _is_nvidia(body: Mapping[str, Any]) -> bool:
    return "passages" in body and "documents" not in body


DIALECT = Dialect("NVIDIA", (router,), shared=SharedBody(_is_nvidia, NvidiaBody, answer, NvidiaAnswer, ANSWER_EXAMPLE))

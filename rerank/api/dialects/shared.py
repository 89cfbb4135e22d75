"""The addresses that several dialects share: a request's body says which one it speaks, and is answered in it.

Documents called ``texts`` are TEI's way and ``passages`` NVIDIA's; ``property`` without a model is Weaviate's. All
others are vLLM's, Jina's, Cohere's and those of the many that copied them, DashScope's nested bodies among them.
"""

from __future__ import annotations

from collections.abc import Collection
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Discriminator, Tag

from rerank.api.bodies import JsonRoute
from rerank.api.dialects import nvidia, tei, weaviate
from rerank.api.dialects.scoring import answers, json_answer, require_json, score
from rerank.api.dialects.vllm.answers import RERANK_ANSWER_EXAMPLE, RerankAnswer, rerank_answer
from rerank.api.dialects.vllm.bodies import RerankBody
from rerank.api.errors import ERROR_RESPONSES, FORM_TAG, ErrorBody, Shape, common_shape, use_shape
from rerank.api.services import Running
from rerank.core import ScoringResult

PATHS = {
    "/v1/rerank": "Order documents by their relevance to a query",
    "/rerank": "The same, where Jina's and TEI's clients look for it",
    "/v2/rerank": "The same, where Cohere's v2 clients look for it",
    "/reranking": "The same, where llama.cpp's clients look for it",
    "/v1/reranking": "The same, where llama.cpp's clients look for it",
    "/v1/v1/rerank": "The same, for Cohere's v1 clients with a base URL that ends in /v1",
    "/v1/v2/rerank": "The same, for Cohere's v2 clients with a base URL that ends in /v1",
}
_VLLM, _TEI, _NVIDIA, _WEAVIATE = (f"{name}{FORM_TAG}" for name in ("vLLM", "TEI", "NVIDIA", "Weaviate"))
SharedError = ErrorBody | tei.TeiError | weaviate.WeaviateError
_SHAPES: dict[str, Shape] = {_VLLM: common_shape, _TEI: tei.error, _NVIDIA: common_shape, _WEAVIATE: weaviate.error}


def form_of(body: Any) -> str:
    """Which dialect a body speaks; what is no object passes for vLLM's, which says what is wrong with it."""
    if isinstance(body, dict) and "input" not in body:
        if "property" in body and not body.get("model"):
            return _WEAVIATE
        if "documents" not in body:
            return _TEI if "texts" in body else _NVIDIA if "passages" in body else _VLLM
    return _VLLM


SharedBody = Annotated[
    Annotated[RerankBody, Tag(_VLLM)]
    | Annotated[tei.TeiBody, Tag(_TEI)]
    | Annotated[nvidia.NvidiaBody, Tag(_NVIDIA)]
    | Annotated[weaviate.WeaviateBody, Tag(_WEAVIATE)],
    Discriminator(form_of),
]
ERRORS: dict[int | str, dict[str, Any]] = {
    **{status: response | {"model": SharedError} for status, response in ERROR_RESPONSES.items()},
    **{status: tei.RESPONSES[status] for status in (422, 424)},
}
SharedAnswer = RerankAnswer | list[tei.Rank] | nvidia.NvidiaAnswer | weaviate.WeaviateAnswer
ANSWER_EXAMPLES = {
    "vLLM": RERANK_ANSWER_EXAMPLE,
    "TEI": tei.ANSWER_EXAMPLE,
    "NVIDIA": nvidia.ANSWER_EXAMPLE,
    "Weaviate": weaviate.ANSWER_EXAMPLE,
}


class SharedRoute(JsonRoute):
    """A route that answers, and says errors, in the dialect of the body."""

    def recognise(self, request: Request, body: Any) -> None:
        """See ``JsonRoute.recognise``."""
        form = form_of(body)
        use_shape(request.scope, _SHAPES[form])
        request.state.dialect = form.removesuffix(FORM_TAG)


async def rerank(body: SharedBody, request: Request, services: Running) -> Response:
    """Score each document with the query and return the best first; equal ones keep their order.

    The body says by its fields which dialect it speaks, and is answered in it.
    """
    return json_answer(answer_of(body, await score(request, services, body.scoring_request())))


def answer_of(body: SharedBody, result: ScoringResult) -> SharedAnswer:
    """The result in the dialect of the body."""
    match body:
        case tei.TeiBody():
            return tei.answer(body, result)
        case nvidia.NvidiaBody():
            return nvidia.answer(body, result)
        case weaviate.WeaviateBody():
            return weaviate.answer(body, result)
        case RerankBody():
            return rerank_answer(body, result)


def make_router(without: Collection[str] = ()) -> APIRouter:
    """All shared addresses but those that another dialect has taken."""
    router = APIRouter(
        route_class=SharedRoute,
        tags=["rerank"],
        responses=ERRORS | answers(**ANSWER_EXAMPLES),
        dependencies=[Depends(require_json)],
    )
    for path, summary in PATHS.items():
        if path not in without:
            router.post(path, summary=summary, response_model=SharedAnswer)(rerank)
    return router

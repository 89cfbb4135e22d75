"""The addresses that several dialects share: a request's body shows its dialect, and is answered in it.

Documents called ``texts`` are TEI's way and ``passages`` NVIDIA's; ``property`` without a model is Weaviate's. All
others are vLLM's, Jina's, Cohere's and those of the many that copied them, DashScope's nested bodies among them.
"""

from __future__ import annotations

import operator
from collections.abc import Collection
from functools import reduce
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import APIRouter, Depends, Request, Response
from pydantic import Discriminator, Tag

from rerank.api.bodies import JsonRoute, present
from rerank.api.dialects import vllm
from rerank.api.dialects.dialect import AsksForScores, Dialect, SharedBody
from rerank.api.dialects.scoring import answers, json_answer, require_json, score
from rerank.api.dialects.table import DIALECTS
from rerank.api.errors import ERROR_RESPONSES, TAG_SUFFIX, use_error_renderer
from rerank.api.services import ServicesDep

PATHS = {
    "/v1/rerank": "Order documents by their relevance to a query",
    "/rerank": "The same, where Jina's and TEI's clients look for it",
    "/v2/rerank": "The same, where Cohere's v2 clients look for it",
    "/reranking": "The same, where llama.cpp's clients look for it",
    "/v1/reranking": "The same, where llama.cpp's clients look for it",
    "/v1/v1/rerank": "The same, for Cohere's v1 clients with a base URL that ends in /v1",
    "/v1/v2/rerank": "The same, for Cohere's v2 clients with a base URL that ends in /v1",
}
_DIALECTS = {dialect.name: dialect for dialect in (vllm.DIALECT, *DIALECTS)}
_SHARED: dict[str, SharedBody] = {name: dialect.shared for name, dialect in _DIALECTS.items() if dialect.shared}


def dialect_of(body: Any) -> str:
    """Name of a body's dialect; what is no flat object passes for vLLM's, which says what is wrong with it."""
    said = present(body)
    flat = said if isinstance(said, dict) and "input" not in said else {}
    return next((name for name, shared in _SHARED.items() if shared.recognises(flat)), vllm.DIALECT.name)


ANSWER_EXAMPLES = {name: shared.example for name, shared in _SHARED.items()}
ANSWER: Any = reduce(operator.or_, [shared.answer for shared in _SHARED.values()])
_ERROR = reduce(operator.or_, dict.fromkeys(shared.error for shared in _SHARED.values()))
ERRORS: dict[int | str, dict[str, Any]] = reduce(
    operator.or_,
    [dict(shared.own_errors) for shared in _SHARED.values()],
    {status: response | {"model": _ERROR} for status, response in ERROR_RESPONSES.items()},
)
if TYPE_CHECKING:
    AnyBody = AsksForScores
else:
    AnyBody = Annotated[
        reduce(operator.or_, [Annotated[shared.body, Tag(name + TAG_SUFFIX)] for name, shared in _SHARED.items()]),
        Discriminator(lambda body: dialect_of(body) + TAG_SUFFIX),
    ]


class SharedRoute(JsonRoute):
    """A route that answers, and renders errors, in the dialect of the body."""

    def recognise(self, request: Request, body: Any) -> None:
        """See ``JsonRoute.recognise``."""
        name = dialect_of(body)
        use_error_renderer(request.scope, _DIALECTS[name].render_error)
        request.state.dialect = name


async def rerank(body: AnyBody, request: Request, services: ServicesDep) -> Response:
    """Score each document with the query and return the best first; equal ones keep their order.

    The fields of the body show its dialect; the answer is in the same one.
    """
    result = await score(request, services, body.scoring_request())
    return json_answer(_SHARED[request.state.dialect].render(body, result))


def dialect(without: Collection[str] = ()) -> Dialect:
    """The shared addresses, without those that another dialect has taken."""
    router = APIRouter(
        route_class=SharedRoute,
        tags=["rerank"],
        responses=ERRORS | answers(**ANSWER_EXAMPLES),
        dependencies=[Depends(require_json)],
    )
    for path, summary in PATHS.items():
        if path not in without:
            router.post(path, summary=summary, response_model=ANSWER)(rerank)
    return Dialect("rerank", (router,))

"""Alibaba's DashScope (Bailian): its native API, and the flat one it calls compatible."""

from __future__ import annotations

from typing import Any, Literal, NotRequired

from fastapi import APIRouter, Depends, Request, Response
from pydantic import ConfigDict
from pydantic.config import JsonDict
from typing_extensions import TypedDict

from rerank.api.bodies import JsonRoute
from rerank.api.dialects.details import Details, details
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import EXAMPLE_DOCUMENTS, EXAMPLE_QUERY, DocumentsBody
from rerank.api.dialects.scoring import answers, json_answer, require_json, score
from rerank.api.errors import Problem
from rerank.api.services import ServicesDep
from rerank.catalog.rerank_apis import DASHSCOPE_COMPATIBLE_PATH, DASHSCOPE_PATH
from rerank.results import ScoringResult
from rerank.schemas import Schema
from rerank.telemetry import request_id_var

NATIVE_EXAMPLE: JsonDict = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "input": {"query": EXAMPLE_QUERY, "documents": [*EXAMPLE_DOCUMENTS]},
    "parameters": {"top_n": 1, "return_documents": True},
}
COMPATIBLE_EXAMPLE: JsonDict = {
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "query": EXAMPLE_QUERY,
    "documents": [*EXAMPLE_DOCUMENTS],
    "top_n": 1,
}


_RESULT = {"index": 1, "relevance_score": 0.928, "tokens": 18, "truncated": False}
NATIVE_ANSWER_EXAMPLE = {
    "output": {"results": [_RESULT | {"document": {"text": EXAMPLE_DOCUMENTS[1]}}]},
    "usage": {"total_tokens": 36},
    "request_id": "8a2f0c",
}
COMPATIBLE_ANSWER_EXAMPLE = {
    "object": "list",
    "results": [_RESULT],
    "model": "sentence-transformers/all-MiniLM-L6-v2",
    "id": "8a2f0c",
    "usage": {"total_tokens": 36},
}


class NativeBody(DocumentsBody):
    """`query` and `documents` in `input`, `top_n`, `return_documents` and `instruct` in `parameters`; or all flat."""

    model_config = ConfigDict(json_schema_extra={"examples": [NATIVE_EXAMPLE]})

    return_documents: bool = False


class CompatibleBody(NativeBody):
    """Everything flat; or nested as in the native API."""

    model_config = ConfigDict(json_schema_extra={"examples": [COMPATIBLE_EXAMPLE]})


class Text(TypedDict):
    """A document as it was sent."""

    text: str


class Result(Details):
    """A document's place in the request, and its relevance."""

    index: int
    relevance_score: float
    document: NotRequired[Text]


class Usage(TypedDict):
    """Tokens read."""

    total_tokens: int


class Output(TypedDict):
    """Documents by falling relevance."""

    results: list[Result]


class NativeAnswer(TypedDict):
    """The fields that the SDK reads. No `code`: its clients take one for an error."""

    output: Output
    usage: Usage
    request_id: str


class CompatibleAnswer(TypedDict):
    """Documents by falling relevance. No `code`: its clients take one for an error."""

    object: Literal["list"]
    results: list[Result]
    model: str
    id: str
    usage: Usage


class DashScopeError(Schema):
    """An error."""

    code: str
    message: str
    request_id: str


def native_answer(body: NativeBody, result: ScoringResult) -> NativeAnswer:
    """The ranking, nested."""
    return NativeAnswer(
        output=Output(results=_results(body, result)),
        usage=Usage(total_tokens=result.tokens),
        request_id=request_id_var.get(),
    )


def compatible_answer(body: CompatibleBody, result: ScoringResult) -> CompatibleAnswer:
    """The ranking, flat."""
    return CompatibleAnswer(
        object="list",
        results=_results(body, result),
        model=result.model,
        id=request_id_var.get(),
        usage=Usage(total_tokens=result.tokens),
    )


def _results(body: NativeBody, result: ScoringResult) -> list[Result]:
    found = []
    for scored in result.ranked:
        item: Result = {"index": scored.index, "relevance_score": scored.relevance_score, **details(scored)}  # type: ignore[typeddict-item]
        if body.return_documents:
            item["document"] = Text(text=body.documents[scored.index])
        found.append(item)
    return found


def render_error(problem: Problem) -> tuple[int, dict[str, Any]]:
    """DashScope's codes, flat."""
    code = _CODES.get(problem.status, "InternalError")
    return problem.status, {"code": code, "message": problem.message, "request_id": request_id_var.get()}


_CODES = {
    400: "InvalidParameter",
    401: "InvalidApiKey",
    403: "AccessDenied",
    404: "ModelNotFound",
    408: "RequestTimeOut",
    413: "InvalidParameter",
    429: "Throttling",
    503: "ModelUnavailable",
    504: "RequestTimeOut",
}
_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": DashScopeError, "description": f"`code` is {_CODES.get(status, 'InternalError')}"}
    for status in (400, 401, 403, 404, 408, 413, 415, 429, 500, 502, 503, 504, 508)
}
COMPATIBLE_PATHS = (DASHSCOPE_COMPATIBLE_PATH, "/compatible-mode/v1/reranks", "/v1/reranks", "/reranks")

router = APIRouter(
    route_class=JsonRoute, tags=["DashScope"], responses=_RESPONSES, dependencies=[Depends(require_json)]
)


@router.post(
    DASHSCOPE_PATH,
    summary="Order documents, as the DashScope SDK asks",
    response_model=NativeAnswer,
    responses=answers(DashScope=NATIVE_ANSWER_EXAMPLE),
)
async def rerank_native(body: NativeBody, request: Request, services: ServicesDep) -> Response:
    """Results stand in `output`."""
    return json_answer(native_answer(body, await score(request, services, body.scoring_request())))


async def rerank_compatible(body: CompatibleBody, request: Request, services: ServicesDep) -> Response:
    """Results stand at the top."""
    return json_answer(compatible_answer(body, await score(request, services, body.scoring_request())))


for _path in COMPATIBLE_PATHS:
    router.post(
        _path,
        summary="Order documents, flat",
        response_model=CompatibleAnswer,
        responses=answers(DashScope=COMPATIBLE_ANSWER_EXAMPLE),
    )(rerank_compatible)


DIALECT = Dialect("DashScope", (router,), render_error)

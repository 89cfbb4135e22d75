"""The table of HTTP statuses, and the error body that most clients can read.

A dialect whose clients need another body has an ``ErrorRenderer`` of its own.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from typing import Any

from fastapi import FastAPI, Request
from fastapi.exception_handlers import http_exception_handler
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse, Response
from starlette.exceptions import HTTPException
from starlette.types import Scope

from rerank.api.encodings import ACCEPTED
from rerank.errors import (
    AddressTooLong,
    BodyTooLarge,
    BodyTooSlow,
    DeadlineExceeded,
    Forbidden,
    InvalidRequest,
    ModelNotFound,
    ModelUnavailable,
    OutOfOrder,
    Overloaded,
    PairTooLarge,
    RerankError,
    ScoringFailed,
    ServerStopping,
    Unauthorized,
    UnknownEncoding,
    UpstreamFailed,
    UpstreamLoop,
)
from rerank.schemas import Schema
from rerank.telemetry import request_id_var
from rerank.telemetry.events import RequestRecord

STATUSES: dict[type[RerankError], tuple[int, str]] = {
    BodyTooLarge: (413, "RequestTooLargeError"),
    BodyTooSlow: (408, "RequestTimeoutError"),
    UnknownEncoding: (415, "UnsupportedMediaTypeError"),
    AddressTooLong: (414, "BadRequestError"),
    InvalidRequest: (400, "BadRequestError"),
    Unauthorized: (401, "AuthenticationError"),
    Forbidden: (403, "PermissionDeniedError"),
    ModelNotFound: (404, "NotFoundError"),
    Overloaded: (429, "RateLimitError"),
    ScoringFailed: (500, "InternalServerError"),
    UpstreamFailed: (502, "BadGatewayError"),
    UpstreamLoop: (508, "LoopDetectedError"),
    PairTooLarge: (503, "ServiceUnavailableError"),
    ModelUnavailable: (503, "ServiceUnavailableError"),
    ServerStopping: (503, "ServiceUnavailableError"),
    OutOfOrder: (503, "ServiceUnavailableError"),
    DeadlineExceeded: (504, "TimeoutError"),
}
"""Status and type of each error class; a class not listed takes its parent's."""

TAG_SUFFIX = " body"
"""End of the tags by which pydantic tells bodies at one address apart; no field's name ends so."""
_SHOWN_PROBLEMS = 5
_SHOWN_INPUT = 60


class ErrorDetail(Schema):
    """The error, as vLLM and the OpenAI API render it."""

    message: str
    type: str
    param: str | None
    code: int


class ErrorBody(Schema):
    """The error, and its message again where Cohere's (`message`) and Jina's (`detail`) clients look for it."""

    error: ErrorDetail
    message: str
    detail: str


ERROR_RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": ErrorBody, "description": meaning}
    for status, meaning in {
        400: "The request is wrong; `error.param` names the field",
        401: "No key, or a wrong one",
        403: "The key does not allow this, or none does",
        404: "No such model; the message lists those there are, the nearest first",
        408: "The body did not come in time",
        413: "The body is too large",
        415: "The body's Content-Encoding is not supported",
        429: "Too much work; see `Retry-After`",
        500: "The server's fault; the message holds the request's id",
        502: "The server that has the model failed",
        503: "The model is not available now; the message says what to do",
        504: "The request took longer than TIMEOUT",
        508: "The servers that the model is asked from lead back to this one",
    }.items()
}


@dataclass(frozen=True, slots=True)
class Problem:
    """A request's error, before a dialect renders it."""

    status: int
    type: str
    """As vLLM calls it."""
    message: str
    param: str | None = None
    """The field at fault, with the document's index where there is one."""
    error: RerankError | None = None
    """None if validation rejected the body."""


ErrorRenderer = Callable[[Problem], tuple[int, dict[str, Any]]]
"""A dialect's status and body for a problem."""


def common_error(problem: Problem) -> tuple[int, dict[str, Any]]:
    """A body in which the clients of vLLM, OpenAI, Cohere, Jina, Voyage and Xinference all find the message."""
    error = ErrorDetail(message=problem.message, type=problem.type, param=problem.param, code=problem.status)
    return problem.status, ErrorBody(error=error, message=problem.message, detail=problem.message).model_dump()


def error_response(error: RerankError, render: ErrorRenderer) -> JSONResponse:
    """The answer for a known error. A fault of the server names the request's id, which the log has too."""
    status, error_type = _status(error)
    message = f"{error.message} (request id {request_id_var.get()})" if status == 500 else error.message
    headers = {}
    if error.retry_after is not None:
        headers["Retry-After"] = str(math.ceil(error.retry_after))
    if isinstance(error, ServerStopping):
        # the client's next request should reach another server
        headers["Connection"] = "close"
    if isinstance(error, UnknownEncoding):
        headers["Accept-Encoding"] = ACCEPTED
    if status == 401:
        headers["WWW-Authenticate"] = "Bearer"
    shown, body = render(Problem(status, error_type, message, error.param, error))
    return JSONResponse(body, shown, headers)


def internal_error_response(render: ErrorRenderer) -> JSONResponse:
    """The answer for an unexpected error: without details."""
    return error_response(ScoringFailed("Internal server error."), render)


def record_of(scope: Scope) -> RequestRecord:
    """The record of a request."""
    record: RequestRecord = scope.setdefault("state", {}).setdefault("record", RequestRecord())
    return record


def error_renderer(scope: Scope) -> ErrorRenderer:
    """The renderer of a request's errors, as set when it arrived or when its body was recognised."""
    render: ErrorRenderer = scope.get("state", {}).get("error_renderer", common_error)
    return render


def use_error_renderer(scope: Scope, render: ErrorRenderer) -> None:
    """Render a request's errors so."""
    scope.setdefault("state", {})["error_renderer"] = render


def add_error_handlers(app: FastAPI) -> None:
    """Answer every known error by the table."""

    async def on_rerank_error(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RerankError):
            raise error
        # the message stays out of the log: it may quote what the caller sent
        record_of(request.scope).error = type(error).__name__
        return error_response(error, error_renderer(request.scope))

    async def on_invalid_body(request: Request, error: Exception) -> JSONResponse:
        if not isinstance(error, RequestValidationError):
            raise error
        record_of(request.scope).error = ".".join(str(part) for part in _without_tag(error.errors()[0]["loc"]))
        return _invalid_body(error.errors(), error_renderer(request.scope))

    async def on_http_error(request: Request, error: Exception) -> Response:
        if not isinstance(error, HTTPException):
            raise error
        if error.status_code in (404, 405):
            # an unknown route is answered as vLLM answers it
            return await http_exception_handler(request, error)
        refused = _unreadable(error.__cause__)
        record_of(request.scope).error = type(refused).__name__
        return error_response(refused, error_renderer(request.scope))

    app.add_exception_handler(RerankError, on_rerank_error)
    app.add_exception_handler(RequestValidationError, on_invalid_body)
    app.add_exception_handler(HTTPException, on_http_error)


def _unreadable(cause: BaseException | None) -> InvalidRequest:
    """The error for a body that the framework could not read: too many values, not UTF-8, or nested too deep."""
    if isinstance(cause, InvalidRequest):
        return cause
    if isinstance(cause, UnicodeDecodeError):
        return InvalidRequest(f"The body is not UTF-8 (byte {cause.start}): send JSON in UTF-8.")
    return InvalidRequest("The body could not be read as JSON.")


def _status(error: RerankError) -> tuple[int, str]:
    for error_class in type(error).__mro__:
        if error_class in STATUSES:
            return STATUSES[error_class]
    return STATUSES[ScoringFailed]


def _invalid_body(problems: Sequence[dict[str, Any]], render: ErrorRenderer) -> JSONResponse:
    """400, as in vLLM: its clients expect another structure in a 422."""
    problems = [problem | {"loc": _without_tag(problem["loc"])} for problem in problems]
    shown = [_explain(problem) for problem in problems[:_SHOWN_PROBLEMS]]
    if len(problems) > len(shown):
        shown.append(f"and {len(problems) - len(shown)} more")
    count = f"{len(problems)} validation error{'s' if len(problems) > 1 else ''}"
    location = ".".join(str(part) for part in problems[0]["loc"])
    status, body = render(Problem(400, "Bad Request", f"{count}: {'; '.join(shown)}", location))
    return JSONResponse(body, status)


def _without_tag(location: tuple[int | str, ...]) -> tuple[int | str, ...]:
    """The place of a problem in the body as it was sent, without pydantic's tags."""
    return tuple(part for part in location if not str(part).endswith(TAG_SUFFIX))


def _explain(problem: dict[str, Any]) -> str:
    if problem["type"] == "json_invalid":
        reason = problem.get("ctx", {}).get("error", problem["msg"])
        return f"the body is not valid JSON: {reason} (character {problem['loc'][-1]})"
    if problem["loc"] == ("body",):
        return f"the body must be a JSON object, sent with Content-Type: application/json ({problem['msg']})"
    field = ".".join(str(part) for part in problem["loc"][1:])
    if problem["type"] == "missing":
        return f"{field}: {problem['msg']}"
    return f"{field}: {problem['msg']} (got {_shown(problem['input'])})"


def _shown(value: Any) -> str:
    """The beginning of a value as JSON spells it. No more of it is spelled than is shown."""
    shown = ""
    for piece in _spelled(value):
        shown += piece
        if len(shown) > _SHOWN_INPUT:
            return f"{shown[:_SHOWN_INPUT]}..."
    return shown


def _spelled(value: Any) -> Iterator[str]:
    """JSON in pieces, each at least a character long: of a value nested deep, only what is asked for is entered."""
    if isinstance(value, dict):
        yield "{"
        for number, (name, item) in enumerate(value.items()):
            yield f"{', ' if number else ''}{_spelled_plain(name)}: "
            yield from _spelled(item)
        yield "}"
    elif isinstance(value, list):
        yield "["
        for number, item in enumerate(value):
            yield ", " if number else ""
            yield from _spelled(item)
        yield "]"
    else:
        yield _spelled_plain(value)


def _spelled_plain(value: Any) -> str:
    # escaped, because a lone surrogate could not be sent
    return json.dumps(value[: _SHOWN_INPUT + 1] if isinstance(value, str) else value, default=repr)

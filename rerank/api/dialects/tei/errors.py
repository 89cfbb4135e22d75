"""TEI's errors: 422 for what is wrong with a request, 424 for what the model could not do."""

from __future__ import annotations

from typing import Any, Literal

from rerank.api.errors import Problem
from rerank.errors import NothingToScore
from rerank.schemas import Schema


class TeiError(Schema):
    """An error."""

    error: str
    error_type: Literal["Validation", "Empty", "Overloaded", "Backend", "Unhealthy", "Unauthorized", "NotFound"]
    message: str


def render_error(problem: Problem) -> tuple[int, dict[str, Any]]:
    """TEI's statuses: 422 for what is wrong with the request, 424 for what the model could not do."""
    status, error_type = _STATUSES.get(problem.status, (problem.status, "Backend"))
    if isinstance(problem.error, NothingToScore) or problem.message.startswith(_UNREADABLE):
        status, error_type = 400, "Empty" if problem.error else "Validation"
    return status, {"error": problem.message, "error_type": error_type, "message": problem.message}


_UNREADABLE = "1 validation error: the body is not valid JSON"
_STATUSES = {
    400: (422, "Validation"),
    401: (401, "Unauthorized"),
    403: (403, "Unauthorized"),
    404: (404, "NotFound"),
    408: (408, "Validation"),
    413: (413, "Validation"),
    429: (429, "Overloaded"),
    500: (424, "Backend"),
    503: (503, "Unhealthy"),
}
RESPONSES: dict[int | str, dict[str, Any]] = {
    status: {"model": TeiError, "description": meaning}
    for status, meaning in {
        400: "No texts, or no JSON",
        401: "No key, or a wrong one",
        403: "The key does not allow this",
        404: "No such model",
        408: "The body did not come in time",
        413: "The body is too large",
        415: "The body's Content-Encoding is not supported",
        422: "The request is wrong",
        424: "The model could not score",
        429: "Too much work; see `Retry-After`",
        502: "The server that has the model failed",
        503: "The model is not available now",
        504: "The request took longer than TIMEOUT",
        508: "The servers that the model is asked from lead back to this one",
    }.items()
}

"""Helpers of every dialect between its request and its answer."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import replace
from typing import Any, TypeVar

from fastapi import APIRouter, Depends, Request, Response
from fastapi.responses import StreamingResponse
from pydantic_core import to_json

from rerank.api.bodies import JsonRoute
from rerank.api.dialects.details import headers
from rerank.api.dialects.fields import MAX_BUDGET_MS
from rerank.api.errors import ERROR_RESPONSES, record_of
from rerank.api.services import Services, caller_of, unless_client_leaves
from rerank.core import (
    EmbeddingRequest,
    EmbeddingResult,
    ScoringRequest,
    TextTokenizer,
    TokenizerRequest,
    TokenizerResult,
)
from rerank.errors import InvalidRequest
from rerank.results import ScoringResult

T = TypeVar("T")

TIMEOUT_HEADER = "X-Request-Timeout"
"""Maximum seconds until the answer, set by the client."""
BUDGET_HEADER = "X-Rerank-Budget-Ms"
"""Milliseconds until the best answer that can be had by then; wins over the body's field."""

MAX_TOKENIZED_BYTES = 256 * 1024
"""Maximum size of texts for whole tokenisation: at most a second of work, even for a text of dots."""
MAX_TOKENS = MAX_TOKENIZED_BYTES // 2
"""Maximum ids per detokenisation."""
_BYTES_PER_TOKEN = 4


def answers(**examples: Any) -> dict[int | str, dict[str, Any]]:
    """The documentation of a successful answer: an example for each dialect that is spoken at an address."""
    named = {name: {"value": example} for name, example in examples.items()}
    return {200: {"content": {"application/json": {"examples": named}}}}


def dialect_router(
    tag: str, *, errors: dict[int | str, dict[str, Any]] = ERROR_RESPONSES, **examples: Any
) -> APIRouter:
    """Router for endpoints that take JSON and have common errors, with examples of their answers."""
    return APIRouter(
        route_class=JsonRoute,
        tags=[tag],
        responses=errors | (answers(**examples) if examples else {}),
        dependencies=[Depends(require_json)],
    )


async def require_json(request: Request) -> None:
    """Reject a body with another content type than JSON; an absent header counts as JSON."""
    content_type = request.headers.get("content-type", "application/json").partition(";")[0].strip().lower()
    if content_type != "application/json" and not content_type.endswith("+json"):
        raise InvalidRequest("Unsupported Media Type: send the body with the header Content-Type: application/json")


async def score(request: Request, services: Services, wanted: ScoringRequest) -> ScoringResult:
    """Score a request, unless its client leaves. Raises a RerankError."""
    caller = caller_of(request)
    record = record_of(request.scope)
    record.documents = len(wanted.pairs)
    services.log_pairs(wanted.pairs)
    wanted = replace(wanted, within=_deadline(request), caller=caller, budget=_budget(request) or wanted.budget)
    result = await unless_client_leaves(request, services.gateway.score(wanted))
    record.model, record.tokens, record.degraded = result.model, result.tokens, result.degraded
    record.route, record.headers = result.route, headers(result)
    return result


async def embed(request: Request, services: Services, wanted: EmbeddingRequest) -> EmbeddingResult:
    """Embed texts, unless the client leaves. Raises a RerankError."""
    caller = caller_of(request)
    record = record_of(request.scope)
    record.documents = len(wanted.texts)
    services.log_inputs(wanted.texts)
    wanted = replace(wanted, within=_deadline(request), caller=caller)
    result = await unless_client_leaves(request, services.gateway.embed(wanted))
    record.model, record.tokens = result.model, result.tokens
    return result


async def use_tokenizer(
    request: Request, services: Services, model: str | None, work: tuple[int, int], use: Callable[[TextTokenizer], T]
) -> TokenizerResult[T]:
    """Run work on a model's tokenizer, unless the client leaves. ``work``: number of texts and of tokens."""
    caller = caller_of(request)
    wanted = TokenizerRequest(use, *work, model, _deadline(request), caller)
    result = await unless_client_leaves(request, services.gateway.use_tokenizer(wanted))
    record_of(request.scope).model = result.model
    return result


def tokenizer_work(texts: Sequence[str], field: str) -> tuple[int, int]:
    """Texts and estimated tokens of whole tokenisation. Raises InvalidRequest if they are too long together."""
    size = sum(len(text.encode()) for text in texts)
    if size > MAX_TOKENIZED_BYTES:
        raise InvalidRequest(
            f"{field} holds {size} bytes; at most {MAX_TOKENIZED_BYTES} are tokenised at once. Send it in parts.",
            param=field,
        )
    return len(texts), size // _BYTES_PER_TOKEN + len(texts)


def _deadline(request: Request) -> float | None:
    return _positive(request, TIMEOUT_HEADER, "seconds")


def _budget(request: Request) -> float | None:
    milliseconds = _positive(request, BUDGET_HEADER, "milliseconds")
    return milliseconds and min(milliseconds, MAX_BUDGET_MS) / 1000


def _positive(request: Request, header: str, unit: str) -> float | None:
    """The amount of time in a header; None if it is absent. Raises InvalidRequest."""
    given = request.headers.get(header)
    if given is None:
        return None
    try:
        amount = float(given)
    except ValueError:
        amount = 0.0
    if not 0 < amount < math.inf:
        raise InvalidRequest(f"{header} must be a number of {unit} above 0", param=header)
    return amount


_PIECE_BYTES = 64 * 1024
"""Approximate size of a piece of a long answer."""


def json_list(before: bytes, items: Iterable[Any], after: bytes) -> Response:
    """A JSON list between ``before`` and ``after``, made and sent in pieces: vectors may take hundreds of megabytes."""
    return StreamingResponse(_pieces(before, items, after), media_type="application/json")


def _pieces(before: bytes, items: Iterable[Any], after: bytes) -> Iterator[bytes]:
    piece = bytearray(before)
    for number, item in enumerate(items):
        piece += (b"," if number else b"") + to_json(item)
        if len(piece) >= _PIECE_BYTES:
            yield bytes(piece)
            piece.clear()
    yield bytes(piece + after)


def json_answer(answer: Any) -> Response:
    """An answer as JSON. Whole floats keep their point (``1.0``): some clients read ``1`` as another type."""
    return Response(to_json(answer), media_type="application/json")

"""Addresses of unsupported tasks: the error names the model's task and the address to use."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

from fastapi import Request
from fastapi.concurrency import run_in_threadpool
from pydantic import Field

from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.fields import MAX_WORD, ModelBody
from rerank.api.dialects.scoring import dialect_router
from rerank.api.dialects.vllm.strict import EITHER, StrictError
from rerank.api.errors import ErrorBody
from rerank.api.models import model_info
from rerank.api.services import Services, ServicesDep, caller_of
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, FAMILIES
from rerank.errors import WrongTask

TASKS = {
    "/pooling": "pooling",
    "/classify": "classify",
    "/v1/chat/completions": "generate",
    "/v1/completions": "generate",
    "/generate": "generate",
}
"""vLLM's names of tasks, by address."""


class UnsupportedBody(ModelBody):
    """A request for an unsupported task; only its `model` and `task` are read."""

    task: str | None = Field(default=None, max_length=MAX_WORD)


def _refusing(task: str) -> Callable[..., Awaitable[None]]:
    async def refuse(body: UnsupportedBody, request: Request, services: ServicesDep) -> None:
        """Always an error: it says what the model is for, and which addresses take that."""
        raise await refusal(body, task, request, services)

    return refuse


async def refusal(body: UnsupportedBody, task: str, request: Request, services: Services) -> WrongTask:
    """The error that names the model and the addresses to use. Raises ModelNotFound or Forbidden."""
    gateway, caller = services.gateway, caller_of(request)
    name = body.model_name
    card = await run_in_threadpool(gateway.find, name, caller) if name else gateway.default_for(caller).card
    info = await model_info(services, card)
    family = info.family or CROSS_ENCODER
    return WrongTask(body.task or task, card.id, FAMILIES[family].noun, gives_vectors=family == BI_ENCODER)


router = dialect_router("unsupported", errors=EITHER)

for _path, _task in TASKS.items():
    router.post(
        _path, summary="Refused, with the addresses to use", status_code=400, response_model=ErrorBody | StrictError
    )(_refusing(_task))

DIALECT = Dialect("unsupported", (router,))

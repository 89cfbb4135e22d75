"""Every dialect, and where it is spoken.

| dialect    | documents                | answer                             | errors                      |
|------------|--------------------------|------------------------------------|-----------------------------|
| vllm       | documents                | results[].relevance_score, object  | error{}, message, detail    |
| strict     | documents                | vLLM's own, to the letter          | error{}                     |
| tei        | texts                    | array of score                     | error, error_type; 422, 424 |
| dashscope  | input.documents, or flat | output.results, or results         | code, message, request_id   |
| infinity   | documents                | results, documents as strings      | as vllm                     |
| voyage     | documents, top_k         | data, documents as strings         | as vllm                     |
| ollama     | documents                | results without documents          | as vllm                     |
| nvidia     | passages                 | rankings[].logit                   | as vllm                     |
| weaviate   | documents, property      | scores in request order            | error                       |
| reranker   | documents, top_k         | results with text at the top       | as vllm                     |
| sglang     | documents                | array of score                     | as vllm                     |
| xinference | (as vllm)                | and what its client asks before    | as vllm                     |
"""

from __future__ import annotations

from collections.abc import Callable
from enum import StrEnum

from fastapi import APIRouter

from rerank.api import models
from rerank.api.dialects import (
    dashscope,
    infinity,
    nvidia,
    ollama,
    reranker_api,
    sglang,
    shared,
    tei,
    voyage,
    weaviate,
    xinference,
)
from rerank.api.dialects.vllm import score, strict
from rerank.api.errors import Shape, common_shape


class MainDialect(StrEnum):
    """What is spoken at vLLM's own addresses."""

    VLLM = "vllm"
    STRICT_VLLM = "strict-vllm"
    SGLANG = "sglang"


def routers(main: MainDialect) -> list[APIRouter]:
    """The endpoints of every dialect."""
    everywhere = [
        module.router
        for module in (tei, dashscope, infinity, voyage, ollama, nvidia, weaviate, xinference, reranker_api)
    ]
    match main:
        case MainDialect.VLLM:
            return [shared.make_router(), score.router, models.list_router, *everywhere]
        case MainDialect.STRICT_VLLM:
            return [strict.router, shared.make_router(without=strict.PATHS), *everywhere]
        case MainDialect.SGLANG:
            return [
                sglang.router,
                shared.make_router(without=sglang.PATHS),
                score.router,
                models.list_router,
                *everywhere,
            ]


def shapes(main: MainDialect) -> Callable[[str], Shape]:
    """How errors are said at each path, as long as nothing is known of the body."""
    known: dict[str, Shape] = dict.fromkeys(tei.PATHS, tei.error) | dict.fromkeys(dashscope.PATHS, dashscope.error)
    if main is MainDialect.STRICT_VLLM:
        known |= dict.fromkeys(strict.PATHS, strict.error)
    return lambda path: known.get(path, common_shape)

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
| tokens     | prompt, or token ids     | tokens, or prompt                  | as vllm                     |
| tei_tokens | inputs, or ids           | array of tokens, or of texts       | as tei                      |
| invocations| by the body: as shared, or score                              | as these                    |
| unsupported| whatever embeds, classifies, generates                        | 400: which address to use   |
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
    invocations,
    nvidia,
    ollama,
    reranker_api,
    sglang,
    shared,
    tei,
    tei_tokens,
    unsupported,
    voyage,
    weaviate,
    xinference,
)
from rerank.api.dialects.vllm import score, strict, tokens
from rerank.api.errors import Shape, common_shape


class MainDialect(StrEnum):
    """What is spoken at vLLM's own addresses."""

    VLLM = "vllm"
    STRICT_VLLM = "strict-vllm"
    SGLANG = "sglang"


def routers(main: MainDialect, *, tokenizer_info: bool = False) -> list[APIRouter]:
    """The endpoints of every dialect."""
    everywhere = [*_EVERYWHERE, tokens.info_router] if tokenizer_info else [*_EVERYWHERE]
    match main:
        case MainDialect.VLLM:
            return [shared.make_router(), score.router, models.list_router, invocations.router, *everywhere]
        case MainDialect.STRICT_VLLM:
            shared_router = shared.make_router(without=strict.PATHS)
            return [strict.router, shared_router, invocations.strict_router, *everywhere]
        case MainDialect.SGLANG:
            shared_router = shared.make_router(without=sglang.PATHS)
            return [
                sglang.router,
                shared_router,
                score.router,
                models.list_router,
                invocations.router,
                *everywhere,
            ]


_DIALECTS = (tei, tei_tokens, dashscope, infinity, voyage, ollama, nvidia, weaviate, xinference, reranker_api)
_EVERYWHERE = (*(module.router for module in _DIALECTS), *tokens.ROUTERS, unsupported.router)
_STRICT = (*strict.PATHS, *tokens.PATHS, *unsupported.TASKS, invocations.PATH)


def shapes(main: MainDialect) -> Callable[[str], Shape]:
    """How errors are said at each path, as long as nothing is known of the body."""
    of_tei = dict.fromkeys((*tei.PATHS, *tei_tokens.PATHS), tei.error)
    known: dict[str, Shape] = of_tei | dict.fromkeys(dashscope.PATHS, dashscope.error)
    if main is MainDialect.STRICT_VLLM:
        known |= dict.fromkeys(_STRICT, strict.error)
    return lambda path: known.get(path, common_shape)

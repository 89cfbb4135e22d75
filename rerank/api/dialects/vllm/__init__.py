"""vLLM's dialect, which Jina's, Cohere's and many others' clients speak too."""

from __future__ import annotations

from rerank.api.dialects.dialect import Dialect, SharedBody
from rerank.api.dialects.vllm import score
from rerank.api.dialects.vllm.answers import RERANK_ANSWER_EXAMPLE, RerankAnswer, rerank_answer
from rerank.api.dialects.vllm.bodies import RerankBody
from rerank.api.models import list_router

DIALECT = Dialect(
    "vLLM",
    (score.router, list_router),
    # it takes what no other dialect recognises
    shared=SharedBody(lambda _: False, RerankBody, rerank_answer, RerankAnswer, RERANK_ANSWER_EXAMPLE),
)

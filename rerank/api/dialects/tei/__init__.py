"""The dialect of Hugging Face's text-embeddings-inference."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from rerank.api.dialects.dialect import Dialect, SharedBody
from rerank.api.dialects.tei import ranking, tokens, vectors
from rerank.api.dialects.tei.errors import RESPONSES, TeiError, render_error


def _is_tei(body: Mapping[str, Any]) -> bool:
    return "texts" in body and "documents" not in body


DIALECT = Dialect(
    "TEI",
    (ranking.router, tokens.router, vectors.router),
    render_error,
    public_paths=frozenset({"/info", "/tei/info", "/tei/health"}),
    shared=SharedBody(
        _is_tei,
        ranking.TeiBody,
        ranking.answer,
        list[ranking.Rank],
        ranking.ANSWER_EXAMPLE,
        TeiError,
        {status: RESPONSES[status] for status in (422, 424)},
    ),
)

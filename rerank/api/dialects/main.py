"""The main dialect, spoken at vLLM's own addresses, and with it every dialect of a server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import replace
from enum import StrEnum
from functools import cache

from rerank.api.dialects import invocations, sglang, shared, vllm
from rerank.api.dialects.dialect import Dialect
from rerank.api.dialects.table import DIALECTS
from rerank.api.dialects.vllm import embeddings, strict, tokens, unsupported
from rerank.api.errors import ErrorRenderer, common_error


class MainDialect(StrEnum):
    """A dialect that can be spoken at vLLM's own addresses."""

    VLLM = "vllm"
    STRICT_VLLM = "strict-vllm"
    SGLANG = "sglang"


_OF_EVERY_VLLM = (tokens.DIALECT, unsupported.DIALECT)


@cache
def dialects(main: MainDialect, *, tokenizer_info: bool = False) -> tuple[Dialect, ...]:
    """Every dialect of a server. Made once: describing all bodies and answers takes a tenth of a second."""
    extra = (tokens.INFO_DIALECT,) if tokenizer_info else ()
    return (*_main(main), *DIALECTS, *extra)


def _main(main: MainDialect) -> tuple[Dialect, ...]:
    match main:
        case MainDialect.VLLM:
            return (shared.dialect(), vllm.DIALECT, invocations.DIALECT, embeddings.DIALECT, *_OF_EVERY_VLLM)
        case MainDialect.STRICT_VLLM:
            common = (embeddings.STRICT_DIALECT, *_OF_EVERY_VLLM)
            strictly = [replace(dialect, render_error=strict.render_error) for dialect in common]
            own = strict.DIALECT
            return (own, shared.dialect(without=own.paths), invocations.STRICT_DIALECT, *strictly)
        case MainDialect.SGLANG:
            own = sglang.DIALECT
            shared_with = shared.dialect(without=own.paths)
            return (own, shared_with, vllm.DIALECT, invocations.DIALECT, embeddings.DIALECT, *_OF_EVERY_VLLM)


def error_renderers(spoken: Sequence[Dialect]) -> Callable[[str], ErrorRenderer]:
    """The renderer of errors at each path, as long as nothing is known of the body."""
    known = {path: dialect.render_error for dialect in spoken for path in dialect.paths}
    return lambda path: known.get(path, common_error)

"""Bodies of requests, one codec per API. Every score is asked for, and no document back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from rerank.core import ScoringOptions, Truncation


@dataclass(frozen=True, slots=True)
class Question:
    """What one call asks."""

    query: str
    documents: Sequence[str]
    model: str
    """The model's name at the upstream."""
    options: ScoringOptions

    @property
    def truncation(self) -> Truncation:
        """How documents may be cut."""
        return self.options.truncation


Body = dict[str, Any]
Encode = Callable[[Question], Body]


def _plain(question: Question) -> Body:
    return {"model": question.model, "query": question.query, "documents": question.documents}


def _jina(question: Question) -> Body:
    return _plain(question) | {"top_n": len(question.documents), "return_documents": False}


def _vllm(question: Question) -> Body:
    body = _jina(question) | _named("instruction", question.options.instruction)
    if question.options.instruction:
        # older versions of vLLM read it only here
        body["chat_template_kwargs"] = {"instruction": question.options.instruction}
    cut = question.truncation
    if cut.allowed:
        # vLLM refuses what is too long unless this is given; -1 is the model's limit
        body["truncate_prompt_tokens"] = cut.max_tokens or -1
    else:
        # vLLM's own way is to refuse; a gateway behind the same API has to be told
        body |= {"truncate": False} | _named("truncate_prompt_tokens", cut.max_tokens)
    body |= _named("max_tokens_per_doc", cut.max_tokens_per_document)
    return body | _named("truncation_side", "left" if cut.side == "left" else None)


def _cohere(question: Question) -> Body:
    # an unknown field is refused there, and version 2 has no return_documents
    top = {"top_n": len(question.documents)}
    return _plain(question) | top | _named("max_tokens_per_doc", question.truncation.max_tokens_per_document)


def _siliconflow(question: Question) -> Body:
    return _jina(question) | _named("instruction", question.options.instruction)


def _voyage(question: Question) -> Body:
    top = {"top_k": len(question.documents), "return_documents": False}
    return _plain(question) | top | {"truncation": question.truncation.allowed}


def _dashscope(question: Question) -> Body:
    parameters = {"top_n": len(question.documents), "return_documents": False}
    return {
        "model": question.model,
        "input": {"query": question.query, "documents": question.documents},
        "parameters": parameters | _named("instruct", question.options.instruction),
    }


def _dashscope_compatible(question: Question) -> Body:
    top = {"top_n": len(question.documents)}
    return _plain(question) | top | _named("instruct", question.options.instruction)


def _tei(question: Question) -> Body:
    return {
        "query": question.query,
        "texts": question.documents,
        "truncate": question.truncation.allowed,
        "truncation_direction": question.truncation.side.title(),
        "raw_scores": False,
        "return_text": False,
    }


def _nvidia(question: Question) -> Body:
    return {
        "model": question.model,
        "query": {"text": question.query},
        "passages": [{"text": document} for document in question.documents],
        "truncate": "END" if question.truncation.allowed else "NONE",
    }


def _named(name: str, value: Any) -> Body:
    return {} if value is None else {name: value}


CODECS: dict[str, Encode] = {
    "vllm": _vllm,
    "cohere": _cohere,
    "jina": _jina,
    "siliconflow": _siliconflow,
    "voyage": _voyage,
    "dashscope": _dashscope,
    "dashscope-compatible": _dashscope_compatible,
    "tei": _tei,
    "nvidia": _nvidia,
    "infinity": _jina,
}
"""By the API's name in ``catalog.rerank_apis``."""

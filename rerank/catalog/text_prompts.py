"""Prompts of embedding models that their files do not hold: those of a card, and of known repositories."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class TextPrompts:
    """What stands before the texts of either role; None leaves a role to the model's files."""

    query: str | None = None
    document: str | None = None

    def over(self, saved: Mapping[str, str | None]) -> dict[str, str | None]:
        """Prompts by name, with these in place of those of the same name."""
        own = {"query": self.query, "document": self.document}
        return {**saved, **{role: prompt for role, prompt in own.items() if prompt is not None}}


_E5 = TextPrompts("query: ", "passage: ")
_INSTRUCTED = TextPrompts(
    "Instruct: Given a web search query, retrieve relevant passages that answer the query\nQuery: "
)
_BGE_ENGLISH = TextPrompts("Represent this sentence for searching relevant passages: ")
_BGE_CHINESE = TextPrompts("为这个句子生成表示以用于检索相关文章：")
_NOMIC = TextPrompts("search_query: ", "search_document: ")
_LINQ = TextPrompts("Instruct: Given a question, retrieve Wikipedia passages that answer the question\nQuery: ")
_SIZES = ("small", "base", "large")
KNOWN_TEXT_PROMPTS = (
    {f"intfloat/{kind}": _E5 for size in _SIZES for kind in (f"e5-{size}", f"e5-{size}-v2", f"multilingual-e5-{size}")}
    | {f"intfloat/e5-{size}-unsupervised": _E5 for size in _SIZES}
    | {f"salesforce/sfr-embedding-{name}": _INSTRUCTED for name in ("mistral", "2_r")}
    | {"intfloat/multilingual-e5-large-instruct": _INSTRUCTED}
    | {f"baai/bge-{size}-en{version}": _BGE_ENGLISH for size in _SIZES for version in ("", "-v1.5")}
    | {"whereisai/uae-large-v1": _BGE_ENGLISH}
    | {f"baai/bge-{size}-zh{version}": _BGE_CHINESE for size in _SIZES for version in ("", "-v1.5")}
    | {f"nomic-ai/{name}": _NOMIC for name in ("nomic-embed-text-v1", "nomic-embed-text-v1.5", "modernbert-embed-base")}
    | {"lightonai/modernbert-embed-large": _NOMIC}
    | {f"ordalietech/solon-embeddings-{size}-0.1": TextPrompts("query : ") for size in ("base", "large")}
    | {
        f"cl-nagoya/ruri-v3-{size}": TextPrompts("検索クエリ: ", "検索文書: ")
        for size in ("30m", "70m", "130m", "310m")
    }
    | {
        f"cl-nagoya/ruri-{size}{version}": TextPrompts("クエリ: ", "文章: ")
        for size in _SIZES
        for version in ("", "-v2")
    }
    | {"pkshatech/glucose-base-ja-v2": _E5}
    | {"linq-ai-research/linq-embed-mistral": _LINQ}
)
"""As the pages of the models say it, by repository."""

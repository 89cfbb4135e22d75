"""Parts of requests, of which every fuzzed one is made."""

from __future__ import annotations

import gzip
import json
import zlib
from collections.abc import Callable
from typing import Any

from hypothesis import strategies as st

EMBEDDER = "tiny-embedder"
"""An embedding model, with a prompt for queries; its vectors may be cut."""
PATHS = ("/v1/rerank", "/rerank", "/tei/rerank", "/reranks", "/v1/score", "/infinity/rerank", "/v1/ranking", "/nowhere")
BODY = {"query": "capital of France", "documents": ["Paris, capital of France", "Berlin"]}
JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=4) | st.dictionaries(st.text(max_size=8), inner, max_size=4),
    max_leaves=12,
)
FIELDS = st.sampled_from(
    (
        *("query", "documents", "texts", "passages", "input", "parameters", "property", "model", "top_n", "top_k"),
        *(
            "return_documents",
            "truncate",
            "truncation_side",
            "instruction",
            "rank_fields",
            "raw_scores",
            "text_1",
            "text_2",
        ),
        *("chat_template_kwargs", "max_tokens_per_doc", "truncate_prompt_tokens"),
        *("inputs", "dimensions", "encoding_format", "normalize", "prompt_name", "input_type"),
    )
)
_NAMES = (
    *("Authorization", "Content-Type", "Content-Encoding", "X-Request-Id", "X-Request-Timeout", "Accept"),
    *("Origin", "Transfer-Encoding", "Expect", "Upgrade", "X-Forwarded-For", "Cookie", "Range"),
)
HEADERS = st.lists(
    st.tuples(
        st.sampled_from(_NAMES),
        st.text(st.characters(min_codepoint=32, max_codepoint=255, exclude_characters="\x7f"), max_size=30),
    ),
    max_size=4,
)

_EXTREMES: tuple[Any, ...] = (
    *(0, -1, 1, 2, 2**31, 2**63, -(2**63) - 1, 10**400, 1e-320, 1e308, -0.0, float("nan"), float("inf")),
    *("", " ", "\x00", "\ud800", "\u202e\u0301" * 50, "<|im_end|>", "[SEP]", "1", "END", "NONE", "left", "_" * 500),
    *("base64", "query", EMBEDDER),
    *("tiny", "TINY/", "./models/tiny", "models--a--b", "../../etc/passwd", "a/" * 300, "BAAI/bge-reranker-base"),
    *([], {}, [[]], [None], [""], [{}], [{"text": "a"}], {"text": "a"}, ["a"] * 200, {"a": {"b": {"c": []}}}),
)
"""Values at which readers of a field go wrong."""
VALUES = st.sampled_from(_EXTREMES) | JSON

SCORING: dict[str, dict[str, Any]] = {
    "/v1/rerank": BODY,
    "/v2/rerank": BODY,
    "/rerank": {"query": "capital of France", "texts": ["Paris", "Berlin"]},
    "/tei/rerank": {"query": "capital of France", "texts": ["Paris", "Berlin"], "raw_scores": True},
    "/v1/score": {"text_1": "capital of France", "text_2": ["Paris", "Berlin"]},
    "/score": {"queries": "capital of France", "documents": ["Paris", "Berlin"]},
    "/infinity/rerank": BODY | {"return_documents": True},
    "/v1/ranking": {"query": {"text": "capital of France"}, "passages": [{"text": "Paris"}, {"text": "Berlin"}]},
    "/voyage/v1/rerank": BODY | {"top_k": 1},
    "/api/rerank": BODY | {"top_n": 1},
    "/api/v1/rerank": BODY,
    "/reranks": BODY | {"return_documents": True},
    "/compatible-api/v1/reranks": BODY,
    "/api/v1/services/rerank/text-rerank/text-rerank": {"input": BODY, "parameters": {"top_n": 1}},
    "/invocations": BODY,
    "/tokenize": {"prompt": "capital of France"},
    "/detokenize": {"tokens": [1, 2, 3]},
    "/tei/tokenize": {"inputs": ["capital", "of France"], "add_special_tokens": True},
    "/tei/decode": {"ids": [[1, 2], [3]], "skip_special_tokens": True},
    "/v1/embeddings": {"input": ["capital"], "model": "tiny"},
    "/pooling": {"input": "capital"},
    "/classify": {"input": "capital"},
    "/v1/models/tiny/load": {},
    "/v1/models/tiny/pin": {"pinned": True},
}
"""A plain body for every address that takes one. One that the server does not have answers 404, which is right too."""
_VECTORS = {"model": EMBEDDER, "dimensions": 8, "prompt_name": "query"}
EMBEDDING: dict[str, dict[str, Any]] = {
    "/v1/embeddings": _VECTORS | {"input": ["capital of France", "Paris"], "encoding_format": "base64"},
    "/embed": _VECTORS | {"inputs": ["capital of France", "Paris"], "task": "retrieval.query", "late_chunking": False},
    "/tei/embed": _VECTORS | {"inputs": "capital of France", "normalize": False, "embedding_types": ["float"]},
}
"""A plain body for every address that gives vectors, for a model that has them."""

Encoded = tuple[bytes, tuple[str, ...]]
"""A body as it goes over the wire, and the headers that say what it is."""


def _json(body: Any, **how: Any) -> bytes:
    try:
        return json.dumps(body, **how).encode("utf-8", "surrogatepass")
    except RecursionError:
        return b"[" * 5000


def _twice(body: dict[str, Any]) -> bytes:
    """Every field twice, the second time another value."""
    once = _json(body)[1:-1]
    again = _json(dict.fromkeys(body, "again"))[1:-1]
    return b"{" + once + (b"," if once else b"") + again + b"}"


def _gzipped(content: bytes) -> bytes:
    return gzip.compress(content, 1, mtime=0)


_GZIP = ("Content-Encoding: gzip",)
_JSON_TYPE = "Content-Type: application/json; charset="
_UNREAD: dict[str, Encoded] = {
    "nested": (b'{"query":' + b"[" * 2000 + b"]" * 2000 + b"}", ()),
    "a form": (b"query=a&documents=b", ("Content-Type: application/x-www-form-urlencoded",)),
    "several parts": (b"--x\r\n\r\na\r\n--x--", ("Content-Type: multipart/form-data; boundary=x",)),
}
_SENT: dict[str, Callable[[dict[str, Any]], Encoded]] = {
    "plain": lambda body: (_json(body), ()),
    "unescaped": lambda body: (_json(body, ensure_ascii=False), ()),
    "twice": lambda body: (_twice(body), ()),
    "with a mark": lambda body: (b"\xef\xbb\xbf" + _json(body), ()),
    "UTF-16": lambda body: (json.dumps(body).encode("utf-16"), (_JSON_TYPE + "utf-16",)),
    "Latin-1": lambda body: (_json(body) + b"\xe9", (_JSON_TYPE + "latin-1",)),
    "cut short": lambda body: (_json(body)[:-2], ()),
    "with more behind": lambda body: (_json(body) * 2, ()),
    "in a list": lambda body: (_json([body]), ()),
    "gzip": lambda body: (_gzipped(_json(body)), _GZIP),
    "gzip twice": lambda body: (_gzipped(_gzipped(_json(body))), ("Content-Encoding: gzip, gzip",)),
    "gzip cut short": lambda body: (_gzipped(_json(body))[:-9], _GZIP),
    "bomb": lambda body: (_gzipped(b" " * 3_000_000 + _json(body)), _GZIP),
    "deflate": lambda body: (zlib.compress(_json(body)), ("Content-Encoding: deflate",)),
    "no br at all": lambda body: (_json(body), ("Content-Encoding: br",)),
    "no gzip at all": lambda body: (_json(body), _GZIP),
    "identity": lambda body: (_json(body), ("Content-Encoding: identity",)),
    "text": lambda body: (_json(body), ("Content-Type: text/plain",)),
    "no type": lambda body: (_json(body), ("Content-Type: ",)),
}
WAYS = (*_SENT, *_UNREAD)
"""Ways to send a body."""


def encoded(body: dict[str, Any], way: str) -> Encoded:
    """The body as it goes over the wire that way; some ways send another one."""
    return _SENT[way](body) if way in _SENT else _UNREAD[way]

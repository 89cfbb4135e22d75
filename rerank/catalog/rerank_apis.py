"""APIs for reranking that other servers speak: paths, addresses, default models, limits. Data only."""

from __future__ import annotations

from dataclasses import dataclass
from urllib.parse import urlsplit

from rerank.catalog.upstreams import Upstream

VLLM_PATH = "/v1/rerank"
COHERE_PATH = "/v2/rerank"
DASHSCOPE_PATH = "/api/v1/services/rerank/text-rerank/text-rerank"
DASHSCOPE_COMPATIBLE_PATH = "/compatible-api/v1/reranks"
TEI_PATH = "/rerank"
NIM_PATH = "/v1/ranking"
_NVIDIA = "https://ai.api.nvidia.com/v1/retrieval/{model}/reranking"


@dataclass(frozen=True, slots=True)
class Api:
    """One API, and what is known of the service that it belongs to."""

    path: str
    """Of the address below a server's root."""
    address: str | None = None
    """The service's own address, which may hold ``{model}``; None for servers that people run themselves."""
    model: str | None = None
    """The service's model that is asked for unless a card names another."""
    documents: int = 1000
    """Maximum documents per call."""
    tokens: int | None = None
    """Maximum tokens that this model reads of a pair."""
    takes_instruction: bool = False
    passes: frozenset[str] = frozenset()
    """Options of truncation that it has, by their names in requests."""
    gives_logits: bool = False
    """True if its scores are raw logits, to be turned into relevance here."""


_MAX_TOKENS, _PER_DOCUMENT, _TRUNCATE, _SIDE = TRUNCATION_OPTIONS = (
    "truncate_prompt_tokens",
    "max_tokens_per_doc",
    "truncate",
    "truncation_side",
)

APIS = {
    "vllm": Api(VLLM_PATH, takes_instruction=True, passes=frozenset(TRUNCATION_OPTIONS)),
    "cohere": Api(
        COHERE_PATH,
        f"https://api.cohere.com{COHERE_PATH}",
        "rerank-v3.5",
        tokens=4096,
        passes=frozenset({_PER_DOCUMENT}),
    ),
    "jina": Api("/v1/rerank", "https://api.jina.ai/v1/rerank", "jina-reranker-v2-base-multilingual", tokens=1024),
    "siliconflow": Api(
        "/v1/rerank",
        "https://api.siliconflow.cn/v1/rerank",
        "BAAI/bge-reranker-v2-m3",
        tokens=8192,
        takes_instruction=True,
    ),
    "voyage": Api(
        "/v1/rerank",
        "https://api.voyageai.com/v1/rerank",
        "rerank-2.5",
        tokens=32_000,
        passes=frozenset({_TRUNCATE}),
    ),
    "dashscope": Api(
        DASHSCOPE_PATH,
        f"https://dashscope.aliyuncs.com{DASHSCOPE_PATH}",
        "gte-rerank-v2",
        documents=500,
        tokens=4000,
        takes_instruction=True,
    ),
    "dashscope-compatible": Api(
        DASHSCOPE_COMPATIBLE_PATH,
        f"https://dashscope.aliyuncs.com{DASHSCOPE_COMPATIBLE_PATH}",
        "qwen3-rerank",
        documents=500,
        tokens=4000,
        takes_instruction=True,
    ),
    # its client batches have 32 texts unless an operator allows more
    "tei": Api(TEI_PATH, documents=32, passes=frozenset({_TRUNCATE, _SIDE})),
    "nvidia": Api(
        NIM_PATH,
        _NVIDIA,
        "nvidia/llama-3.2-nv-rerankqa-1b-v2",
        documents=512,
        tokens=8192,
        passes=frozenset({_TRUNCATE}),
        gives_logits=True,
    ),
    "infinity": Api("/rerank"),
}
"""By name, as in models.toml."""

_LAST_SEGMENTS = frozenset({"rerank", "reranks", "text-rerank", "reranking", "ranking"})
"""Ends of paths that are a whole address, not a server's root."""


def model_of(upstream: Upstream, model_id: str) -> str:
    """The model's name at its server: the card's, else the service's default, else on other servers the card's id."""
    return upstream.model or _default(upstream) or model_id


def tokens_of(upstream: Upstream) -> int | None:
    """Maximum tokens of a pair, where they are known."""
    return APIS[upstream.api].tokens if upstream.model in (None, _default(upstream)) and not upstream.url else None


def _default(upstream: Upstream) -> str | None:
    return None if upstream.url else APIS[upstream.api].model


def address_of(upstream: Upstream, model_id: str) -> str:
    """The address that is called: the card's if it is a whole one, else below the root that it names, else the API's.

    Raises ValueError if neither says one.
    """
    api = APIS[upstream.api]
    if upstream.url:
        return _below(upstream.url, api.path)
    if api.address is None:
        raise ValueError(f"`url` is missing: servers with the API {upstream.api} are where people run them")
    return api.address.replace("{model}", model_of(upstream, model_id).replace(".", "_"))


def host_of(upstream: Upstream, model_id: str) -> str:
    """Host and port of the address, for people."""
    return urlsplit(address_of(upstream, model_id)).netloc


def _below(url: str, path: str) -> str:
    """The path at a server whose root, perhaps with a prefix or with the path's first segments, is the URL."""
    parts = urlsplit(url.rstrip("/"))
    given, wanted = [part for part in parts.path.split("/") if part], path.strip("/").split("/")
    if given and given[-1] in _LAST_SEGMENTS:
        return url
    shared = next(n for n in range(len(wanted), -1, -1) if given[len(given) - n :] == wanted[:n] and n <= len(given))
    return parts._replace(path="/" + "/".join([*given, *wanted[shared:]])).geturl()

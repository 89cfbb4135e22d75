"""What each SDK is to make of each situation: the ranking, or its own exception."""

from __future__ import annotations

RANKING = "ranking"
"""The order and scores of a plain request."""
VECTORS = "vectors"
"""The same order, from the cosines of vectors, whose last digits may be others."""
LISTED = "listed"
"""The call succeeds, but ranks nothing."""

_SITUATIONS = ("right", "wrong key", "unknown model", "overload")


def _raises(*errors: str) -> dict[str, str]:
    """The ranking, then an exception for each further situation."""
    return dict(zip(_SITUATIONS, (RANKING, *errors), strict=True))


def _always(error: str) -> dict[str, str]:
    return _raises(error, error, error)


_COHERE = _raises(
    "cohere.errors.unauthorized_error.UnauthorizedError",
    "cohere.errors.not_found_error.NotFoundError",
    "cohere.errors.too_many_requests_error.TooManyRequestsError",
)
_INFINITY = _always("infinity_client.errors.UnexpectedStatus")
_LITELLM = _raises(
    "litellm.exceptions.AuthenticationError",
    "litellm.exceptions.NotFoundError",
    "litellm.exceptions.RateLimitError",
)
_OPENAI = _raises("openai.AuthenticationError", "openai.NotFoundError", "openai.RateLimitError") | {"right": VECTORS}
_COHERE_SDK = dict.fromkeys(
    ("cohere_v1", "cohere_v1_objects", "cohere_v2", "cohere_v1_async", "cohere_v2_async"), _COHERE
)


def _without_model(expected: dict[str, str]) -> dict[str, str]:
    """TEI's clients name no model, so theirs is always there, and in memory."""
    return {situation: expected[situation] for situation in ("right", "wrong key")}


OUTCOMES: dict[str, dict[str, dict[str, str]]] = {
    "cohere5": {
        **_COHERE_SDK,
        "infinity_sdk": _INFINITY,
        "infinity_sdk_prefixed": _INFINITY,
        "langchain_infinity": _INFINITY,
        "langchain_jina": _always("builtins.RuntimeError"),
        "langchain_cohere": _COHERE,
        # it and LlamaIndex's look for results in whatever comes back
        "langchain_dashscope": _always("builtins.AttributeError"),
        "llama_index_dashscope": _always("builtins.AttributeError"),
        "llama_index_cohere": _COHERE,
        # it looks at no status, but at the number of scores
        "llama_index_tei": _without_model(_always("builtins.AssertionError")),
        # it cannot send a key
        "llama_index_xinference": {"open": RANKING, "right": "builtins.Exception"},
        "llama_index_jina": _always("builtins.RuntimeError"),
        "langchain_openai_embeddings": _OPENAI,
        "llama_index_openai_embeddings": _OPENAI,
        "llama_index_tei_embeddings": {"right": VECTORS},
    },
    "cohere7": {
        **_COHERE_SDK,
        "haystack_cohere": _COHERE,
        "haystack_jina": _always("builtins.RuntimeError"),
        "haystack_tei": _without_model(_always("builtins.RuntimeError")),
        "dashscope_sdk": _always("__main__.DashScopeRefusal"),
        "voyage_sdk": _raises(
            "voyageai.error.AuthenticationError", "voyageai.error.APIError", "voyageai.error.RateLimitError"
        ),
        "xinference_sdk": _always("builtins.RuntimeError"),
        "openai_embeddings": _OPENAI,
        "openai_models": {"right": LISTED, "wrong key": "openai.AuthenticationError"},
        **{
            f"litellm_{provider}{way}": _LITELLM
            for provider in ("hosted_vllm", "cohere", "jina_ai", "infinity", "voyage", "dashscope")
            for way in ("", "_async")
        },
        "litellm_huggingface": _without_model(_LITELLM),
        "litellm_huggingface_async": _without_model(_LITELLM),
        "litellm_proxy": _always("__main__.ProxyRefusal"),
    },
}

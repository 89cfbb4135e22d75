"""Models of kinds that this server does not run, by what their folders show: what each is, and what to use instead."""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from typing import Any, NamedTuple

from rerank.catalog.evidence import Evidence

_EMBEDDINGS = "Use another embedding model, such as sentence-transformers/all-MiniLM-L6-v2."
_ROUTED = (
    "sends queries and documents to different models (Router of sentence-transformers), which this server does not "
    f"support. {_EMBEDDINGS}"
)
_STATIC = (
    "is a static embedding model (StaticEmbedding, model2vec): a vector for each token, and no network of "
    f"transformers, which this server needs. {_EMBEDDINGS}"
)
_CLIP = (
    "is a model of texts and images (CLIP), and this server compares texts by models of transformers for texts. "
    f"{_EMBEDDINGS}"
)
_MODULES = {"CLIPModel": _CLIP, "Asym": _ROUTED, "Router": _ROUTED, "StaticEmbedding": _STATIC}
"""Modules of sentence-transformers that do the work of a network, by class."""
_PAIRS = "Use a reranker that scores each pair alone, such as BAAI/bge-reranker-v2-m3."


class OtherKind(NamedTuple):
    """One kind: its sign, and sentences that continue the folder's name."""

    shows: Callable[[Evidence], bool]
    sentences: str
    """May name the ``{architecture}``."""


def _is_multimodal(evidence: Evidence) -> bool:
    return evidence.config.get("vision_config") is not None or "VLFor" in evidence.architecture


def _is_sparse(evidence: Evidence) -> bool:
    return evidence.saved_as == "SparseEncoder" or any("sparse_encoder" in module.type for module in evidence.modules)


def _is_bare(evidence: Evidence, ending: str) -> bool:
    return evidence.architecture.endswith(ending) and not evidence.modules


OTHER_KINDS = (
    OtherKind(
        _is_multimodal,
        "is a multimodal model ({architecture}): it reads images, and this server scores texts. Use a reranker for "
        "texts, such as Qwen/Qwen3-Reranker-0.6B.",
    ),
    OtherKind(
        lambda evidence: evidence.architecture in ("JinaForRanking", "ListConRankerModel"),
        "is a listwise reranker ({architecture}): the score of a document depends on the other documents of its "
        f"request, which this server does not support. {_PAIRS}",
    ),
    OtherKind(
        lambda evidence: evidence.architecture.startswith(("LayerWise", "CostWise")),
        "has a head for each of its layers ({architecture}), which only code of its own reads. Use a reranker without "
        "code of its own, such as BAAI/bge-reranker-v2-m3.",
    ),
    OtherKind(
        _is_sparse,
        f"is a sparse encoder (SPLADE): it makes vectors for an inverted index, and gives no score of a pair. {_PAIRS}",
    ),
    OtherKind(lambda evidence: evidence.config.get("model_type") == "model2vec", _STATIC),
    OtherKind(
        lambda evidence: _is_bare(evidence, "ForMaskedLM"),
        "is a masked language model ({architecture}): a base model, or a sparse encoder such as SPLADE. Neither gives "
        f"a score of a pair. {_PAIRS}",
    ),
    OtherKind(
        lambda evidence: _is_bare(evidence, "T5ForConditionalGeneration"),
        "is a sequence-to-sequence model ({architecture}), and nothing in it says that it reranks. If it does so as "
        "monoT5 does, by the first word of its answer, its card in models.toml has to say how it is asked: "
        'by its page, `prompt = "monot5"` (true or false), `prompt = "mt5-mmarco"` (yes or no), `prompt = "mt5-true"` '
        '(true, or "▁" for no), `prompt = "ptt5-msmarco"` (sim or não), `prompt = "monoptt5"` (Sim or Não, asked in '
        "Portuguese) or a `prompt` of its own.",
    ),
    OtherKind(
        lambda evidence: _is_bare(evidence, "ForConditionalGeneration"),
        "is a sequence-to-sequence model ({architecture}), which this server runs only as monoT5, and this one is no "
        f"T5. {_PAIRS}",
    ),
)


def other_kind(evidence: Evidence) -> str | None:
    """What the model is, in whole sentences that continue the folder's name; None if it may be one of ours."""
    for kind in OTHER_KINDS:
        if kind.shows(evidence):
            return kind.sentences.format(architecture=evidence.architecture)
    return other_modules(evidence.kinds)


def other_modules(kinds: Iterable[str]) -> str | None:
    """What a model of these modules is, in sentences that continue the folder's name; None if nothing is known."""
    return next((_MODULES[kind] for kind in kinds if kind in _MODULES), None)


_BERT_LIKE = frozenset(
    (
        "albert", "bert", "camembert", "data2vec-text", "electra", "ernie", "layoutlm", "megatron-bert", "roberta",
        "roberta-prelayernorm", "xlm-roberta", "xlm-roberta-xl", "xmod",
    )
)  # fmt: skip
"""Types of which transformers computes absolute positions, whatever the configuration asks for."""


def unknown_positions(config: Mapping[str, Any]) -> str | None:
    """What positions that would be left out are, in sentences that continue the folder's name; None if none are."""
    asked = config.get("position_embedding_type") or "absolute"
    if asked == "absolute" or "auto_map" in config or config.get("model_type") not in _BERT_LIKE:
        return None
    return (
        f"asks for positions of the kind {asked} (position_embedding_type in its config.json), which version 5 of "
        "transformers no longer computes. Use a reranker with absolute positions, such as BAAI/bge-reranker-v2-m3."
    )


_METHODS = {"awq": "AWQ", "fp8": "FP8", "gptq": "GPTQ", "bitsandbytes": "bitsandbytes", "mxfp4": "MXFP4"}
_QUANTISED = "compression_config", "quantization_config"
"""Where configurations name the method; the first is compressed-tensors' older name."""
_WEIGHT = re.compile(r"weight(_packed)?$")
_NUMBERS = frozenset(("BF16", "F16", "F32", "F64"))
"""Types of weights as they are trained, in the words of safetensors."""


def quantised(config: Mapping[str, Any]) -> str | None:
    """What quantised weights are, in sentences that continue the folder's name; None if they are not quantised."""
    # MLX says the same again under quantization_config, without a method
    if isinstance(config.get("quantization"), dict):
        return _is_quantised("MLX")
    asked = next((found for name in _QUANTISED if isinstance(found := config.get(name), dict) and found), None)
    if asked is None:
        return None
    method = str(asked.get("quant_method") or "unknown")
    return _is_quantised(_METHODS.get(method, method))


def quantised_among(tensors: Mapping[str, Mapping[str, Any]]) -> str | None:
    """The same by the headers of the weights, where nothing else says so: they would be read as other numbers."""
    found = (
        f"{name} is {tensor['dtype']}"
        for name, tensor in sorted(tensors.items())
        if _WEIGHT.search(name) and tensor["dtype"] not in _NUMBERS
    )
    return (told := next(found, None)) and _is_quantised(told)


def _is_quantised(how: str) -> str:
    return (
        f"is quantised ({how}), and such weights are not supported. Use the model that it was made from; "
        '`precision = "int8"` in its card halves the time on a CPU.'
    )


_MERGE = "merge it into its base model (merge_and_unload() of peft), save that, and use the saved folder."
ADAPTER_CONFIG = "adapter_config.json"
ADAPTER_OF_UNKNOWN_USE = (
    f"holds {ADAPTER_CONFIG} next to whole weights, and nothing says whether they have the LoRA adapter in them. If "
    f"they do, remove {ADAPTER_CONFIG}; else {_MERGE}"
)
"""Sentences that continue the folder's name."""
_ADAPTER_TENSOR = re.compile(r"(^|\.)lora_(embedding_)?[AB](\.|$)")


def adapter_among(names: Iterable[str]) -> str | None:
    """What weights with a LoRA adapter in them are, in sentences that continue the folder's name; None without one."""
    found = next((name for name in sorted(names) if _ADAPTER_TENSOR.search(name)), None)
    return found and f"holds a LoRA adapter among its weights ({found}), which would be left out: {_MERGE}"


_ORIGINAL = "which are not supported. Use the safetensors repository that they were made from."
_FORMATS = (
    (
        re.compile(r"^adapter_config\.json$"),
        f"holds a LoRA adapter and no model: {_MERGE} If it was trained with words before query and document, as "
        "RankLLaMA was (query: and document:), its card in models.toml has to say them in a `prompt` of its own.",
    ),
    (
        re.compile(r"^(?!openvino_)[^/]*\.(bin|pt|pth)$"),
        "has no safetensors, and pickled weights are not loaded. Many repositories have a safetensors version as a "
        "pull request of the Hub's own bot: look for it under Community on the model's page, and name it in the card "
        'in models.toml by its number, as in `revision = "refs/pr/1"`. `rerank pull --convert` converts the pickles '
        "instead.",
    ),
    (re.compile(r"\.gguf$"), f"holds weights for llama.cpp (GGUF), {_ORIGINAL}"),
    (re.compile(r"\.onnx$"), f"holds weights for ONNX, {_ORIGINAL}"),
    (re.compile(r"(^|/)openvino_model\.(bin|xml)$"), f"holds weights for OpenVINO, {_ORIGINAL}"),
    (
        re.compile(r"^(tf_model\.h5|flax_model\.msgpack)$"),
        "holds weights for TensorFlow or Flax, which are not loaded. Save it as safetensors with version 4 of "
        "transformers: from_pretrained(..., from_tf=True) or from_flax=True, then save_pretrained(...).",
    ),
    (re.compile(r"^router_config\.json$"), _ROUTED),
    (re.compile(r"^\d+_StaticEmbedding(/.*)?$"), _STATIC),
    (
        re.compile(r"^0_Transformer(/.*)?$"),
        "has its model in the folder 0_Transformer, as early versions of sentence-transformers saved it. Load it with "
        "sentence-transformers and save it again with save_pretrained(...), which puts it next to modules.json.",
    ),
)
"""Files of formats that are not loaded, and sentences that continue the folder's name; the first that fits counts."""


def other_format(files: Iterable[str]) -> str | None:
    """What files without safetensors are, in sentences that continue the folder's name; None if nothing is known."""
    names = list(files)
    return next((told for shows, told in _FORMATS if any(map(shows.search, names))), None)

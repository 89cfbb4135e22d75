"""The decision which family a checkpoint is of: by its card, else by evidence in its folder, else it is refused."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

from rerank.catalog.built_in import known_prompt
from rerank.catalog.cards import ModelCard
from rerank.catalog.evidence import Evidence
from rerank.catalog.families import BI_ENCODER, CROSS_ENCODER, LATE_INTERACTION
from rerank.catalog.other_kinds import other_kind, quantised, unknown_positions
from rerank.catalog.own_code import mapped_classes, outdated_code
from rerank.errors import ModelUnsupported

SEQUENCE_TO_SEQUENCE = ("T5ForConditionalGeneration", "MT5ForConditionalGeneration")
"""Architectures whose first word may be the score."""
_SAVED_AS = {"CrossEncoder": CROSS_ENCODER, "SentenceTransformer": BI_ENCODER}
_NO_CARD = ModelCard(id="")
_PROMPTED = {"LlamaBidirectionalForSequenceClassification": "llama-nemotron-rerank"}
"""Names of prompts by architectures whose code adds none."""
_WORDED = ("MiniCPMForSequenceClassification",)
"""Architectures of rerankers that read words before the query, which no file of theirs shows and no recipe adds."""
_MAY_BE_ASKED = {
    "qwen3": ("qwen3-reranker", "zerank-2", "zerank-1", "ctxl-rerank-v2"),
    "qwen2": ("mxbai-rerank-v2",),
    "mistral": ("ctxl-rerank-v2",),
    "gemma": ("bge-reranker-v2-gemma",),
    "llama": (),
}
"""Names of prompts of published rerankers, by their ``model_type``: of the types that can be asked in a prompt."""


def recognised_family(evidence: Evidence, card: ModelCard | None = None) -> str:
    """The name of the family in ``FAMILIES``. Raises ModelUnsupported saying what the model is, or is not."""
    card = card or _NO_CARD
    if sentences := quantised(evidence.config) or unknown_positions(evidence.config):
        raise _unsupported(evidence, sentences)
    if sentences := _asked_unknown(evidence, card):
        raise _unsupported(evidence, sentences)
    if stated := card.stated_family:
        return stated
    if evidence.architecture in SEQUENCE_TO_SEQUENCE and known_prompt(card):
        return CROSS_ENCODER
    if sentences := other_kind(evidence):
        raise _unsupported(evidence, sentences)
    family = _shown_family(evidence, card)
    if family is None:
        raise _unsupported(evidence, _is_no_reranker(evidence))
    return family


def _shown_family(evidence: Evidence, card: ModelCard) -> str | None:
    if evidence.late_interaction:
        return LATE_INTERACTION
    if evidence.saved_as in _SAVED_AS:
        return _SAVED_AS[evidence.saved_as]
    if evidence.architecture.endswith("ForSequenceClassification") or evidence.chain_scores:
        return CROSS_ENCODER
    if "Pooling" in evidence.kinds:
        return BI_ENCODER
    asked = evidence.asks or known_prompt(card) is not None
    return CROSS_ENCODER if asked and evidence.architecture.endswith("ForCausalLM") else None


def _asked_unknown(evidence: Evidence, card: ModelCard) -> str | None:
    if card.prompt:
        return None
    if evidence.architecture in _WORDED:
        return (
            f"is a {evidence.architecture}, which reads an instruction or `Query:` before the query, as its files do "
            "not show and this server does not add. Use a reranker that reads plain pairs, such as "
            "BAAI/bge-reranker-v2-m3."
        )
    # a template that asks is read by the model's own code
    if evidence.architecture not in _PROMPTED or (evidence.asks and card.trust_remote_code):
        return None
    return (
        f"is a {evidence.architecture}, which reads a prompt that its files do not show. Its card in models.toml has "
        f"to say how it is asked: {prompt_lines(evidence.config)}."
    )


def _is_language_model(evidence: Evidence) -> str:
    return (
        f"is a language model ({evidence.architecture}), and nothing in it says that it reranks: no modules of "
        "sentence-transformers, and no template that asks about a query and a document. If it is a reranker that "
        "answers yes or no with a word, and not with a grade or an order of documents, its card in models.toml has "
        f"to say how it is asked: {prompt_lines(evidence.config)}. If it is an embedding model, "
        f'`family = "bi-encoder"` there takes {_vector(evidence.config)}.'
    )


def _is_no_reranker(evidence: Evidence) -> str:
    if evidence.architecture.endswith("ForCausalLM"):
        return _is_language_model(evidence)
    if _own_model(evidence.config):
        return _computed_elsewhere(evidence)
    if not _is_body(evidence):
        return (
            f"names the architecture {evidence.architecture}{_type(evidence.config)} in its config.json, which is "
            "neither a body alone nor one with a head that scores pairs (ForSequenceClassification), and no modules "
            "of sentence-transformers: nothing says how it scores. Use another model, such as the reranker "
            "BAAI/bge-reranker-v2-m3."
        )
    return (
        f"names the architecture {evidence.architecture} in its config.json, which has no head that scores pairs, and "
        "no modules of sentence-transformers: it is not a reranker. If it is an embedding model, "
        '`family = "bi-encoder"` in its card in models.toml takes the mean of its tokens; one that was trained with '
        "another vector, such as that of its last token, has to be saved with sentence-transformers and that pooling."
    )


def _vector(config: Mapping[str, Any]) -> str:
    """What sentence-transformers makes of the tokens of a language model that it did not save."""
    return "the vector of its last token" if config.get("is_causal", True) else "the mean of its tokens"


def _own_model(config: Mapping[str, Any]) -> list[str]:
    """The classes of transformers, of models and configurations, in whose place it puts code of its own."""
    mapped = config.get("auto_map")
    return [name for name in mapped if name.startswith(("AutoConfig", "AutoModel"))] if isinstance(mapped, dict) else []


def _computed_elsewhere(evidence: Evidence) -> str:
    """Sentences about a model that code of its own computes, and of which nothing else is known."""
    if sentences := outdated_code(mapped_classes(evidence.config), embeds=True):
        return sentences
    begin = f"is a {evidence.architecture}, which Python code of its own computes (auto_map in its config.json)"
    if "AutoModelForSequenceClassification" in _own_model(evidence.config):
        return (
            f"{begin}, and nothing else says what it is. If it gives one score for a pair, its card in models.toml "
            'has to say `family = "cross-encoder"` and `trust_remote_code = true`. Read the code first.'
        )
    return (
        f"{begin}, and nothing says how that scores pairs. Use a reranker without code of its own, such as "
        'BAAI/bge-reranker-v2-m3. If it is an embedding model, `family = "bi-encoder"` and `trust_remote_code = true` '
        "in its card in models.toml take the mean of its tokens. Read the code first."
    )


def _is_body(evidence: Evidence) -> bool:
    """True if the architecture is the body of the configuration's type, as transformers calls them."""
    kind = evidence.config.get("model_type")
    architecture = evidence.architecture
    if not isinstance(kind, str):
        return architecture.endswith("Model")
    return _squeezed(architecture).removeprefix(_squeezed(kind)) in ("model", "encodermodel", "textmodel")


def _squeezed(name: str) -> str:
    return re.sub(r"[^a-z0-9]", "", name.lower())


def _type(config: Mapping[str, Any]) -> str:
    kind = config.get("model_type")
    return f" and the type {kind}" if isinstance(kind, str) else ""


def may_be_asked(config: Mapping[str, Any]) -> bool:
    """True for a language model of a type that a prompt in a card can ask."""
    return config.get("model_type") in _MAY_BE_ASKED


def prompt_lines(config: Mapping[str, Any]) -> str:
    """What a card has to say of how the model is asked, for messages."""
    names = _MAY_BE_ASKED.get(str(config.get("model_type")), ())
    architecture = next(iter(config.get("architectures") or ()), None)
    if architecture in _PROMPTED:
        names = (_PROMPTED[architecture],)
    if not names:
        return "`prompt`, as a table of the one that it was trained on"
    listed = ", ".join(f'"{name}"' for name in names)
    return f"`prompt`, by name if it was trained on that of a published reranker ({listed}), else as a table of its own"


def _unsupported(evidence: Evidence, sentences: str) -> ModelUnsupported:
    return ModelUnsupported(f"{evidence.folder.name} {sentences}")

"""Configurations of language models that the bodies compute."""

from __future__ import annotations

from typing import Any

from transformers import AutoConfig, PretrainedConfig

from rerank.catalog.checkpoint import Checkpoint

_MODEL_TYPES = ("gemma", "llama", "mistral", "qwen2", "qwen3")
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Angles of positions that are the same for every length of a prompt."""
_BIDIRECTIONAL = "LlamaBidirectionalForSequenceClassification"
_HEAD = "ForSequenceClassification"


def body_config(checkpoint: Checkpoint) -> PretrainedConfig | None:
    """``config.json`` as transformers reads it; None if it asks for anything that the bodies do not compute."""
    content = checkpoint.config
    mean = is_bidirectional(checkpoint)
    kind = "llama" if mean else content.get("model_type")
    if kind not in _MODEL_TYPES or not checkpoint.architecture.endswith((_HEAD, "ForCausalLM")):
        return None
    if mean and content.get("pooling", "avg") != "avg":
        return None
    known = {name: value for name, value in content.items() if name not in ("model_type", "auto_map")}
    config: PretrainedConfig = AutoConfig.for_model(kind, **known)
    return config if _computes(config) else None


def is_bidirectional(checkpoint: Checkpoint) -> bool:
    """True for a Llama whose tokens see one another, and whose score is read from their mean."""
    return checkpoint.architecture == _BIDIRECTIONAL


def has_head(checkpoint: Checkpoint) -> bool:
    """True if a head gives the score, False if the logits of words do."""
    return checkpoint.architecture.endswith(_HEAD)


def head_temperature(checkpoint: Checkpoint) -> float:
    """What the head's logit is divided by: NVIDIA's setting, which transformers drops."""
    return float(checkpoint.config.get("temperature", 1.0)) if is_bidirectional(checkpoint) else 1.0


def _computes(config: PretrainedConfig) -> bool:
    rope: dict[str, Any] = getattr(config, "rope_parameters", None) or {}
    window = getattr(config, "sliding_window", None)
    return (
        rope.get("rope_type") in _ROPE_TYPES
        and rope.get("partial_rotary_factor", 1) == 1
        and (window is None or window >= config.max_position_embeddings)
        and set(getattr(config, "layer_types", None) or ()) <= {"full_attention"}
        and getattr(config, "is_causal", True)
        and not getattr(config, "use_bidirectional_attention", False)
    )

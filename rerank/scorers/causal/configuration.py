"""Configurations of language models that the bodies compute."""

from __future__ import annotations

from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from rerank.catalog.checkpoint import Checkpoint
from rerank.scorers.pretrained import Config

if TYPE_CHECKING:
    from transformers import PretrainedConfig

_MODEL_TYPES = ("gemma", "llama", "mistral", "qwen2", "qwen3")
_ROPE_TYPES = ("default", "linear", "llama3", "yarn")
"""Angles of positions that are the same for every length of a prompt."""
_DIVIDED = ("llama", "mistral", "qwen2")
"""Kinds whose heads share the hidden size, unless it is said how large they are."""
_WINDOW_ON_DEMAND = ("qwen2", "qwen3")
"""Kinds whose layers see a window only where ``use_sliding_window`` says so."""
_BIDIRECTIONAL = "LlamaBidirectionalForSequenceClassification"
_HEAD = "ForSequenceClassification"


def body_config(checkpoint: Checkpoint, heads: tuple[str, ...] = (_HEAD, "ForCausalLM")) -> Config | None:
    """``config.json``; None if it asks for anything that the bodies do not compute, or names none of the ``heads``."""
    content = checkpoint.config
    mean = is_bidirectional(checkpoint)
    kind = "llama" if mean else content.get("model_type")
    if kind not in _MODEL_TYPES or not checkpoint.architecture.endswith(heads):
        return None
    if mean and content.get("pooling", "avg") != "avg":
        return None
    known = {name: value for name, value in content.items() if name != "auto_map"} | {"model_type": kind}
    config = Config(known)
    return config if is_plain(known) or computes(config.full) else None


def is_bidirectional(checkpoint: Checkpoint) -> bool:
    """True for a Llama whose tokens see one another, and whose score is read from their mean."""
    return checkpoint.architecture == _BIDIRECTIONAL


def has_head(checkpoint: Checkpoint) -> bool:
    """True if a head gives the score, False if the logits of words do."""
    return checkpoint.architecture.endswith(_HEAD)


def head_temperature(checkpoint: Checkpoint) -> float:
    """What the head's logit is divided by: NVIDIA's setting, which transformers drops."""
    return float(checkpoint.config.get("temperature", 1.0)) if is_bidirectional(checkpoint) else 1.0


def head_size(config: Config) -> int:
    """Numbers of a key or value of one head."""
    if config.model_type in _DIVIDED and not config.states("head_dim"):
        return int(config.hidden_size // config.num_attention_heads)
    return int(config.head_dim)


def is_plain(content: Mapping[str, Any]) -> bool:
    """True if ``config.json`` itself shows that the bodies compute it; False where only transformers can tell."""
    rope = content.get("rope_scaling") or content.get("rope_parameters") or {}
    return (
        bool(rope or content.get("rope_theta"))
        and rope.get("rope_type", rope.get("type", "default")) in _ROPE_TYPES
        and not any("partial_rotary_factor" in settings for settings in (rope, content))
        and not any(isinstance(value, Mapping) for value in rope.values())
        and _sees_all(content)
        and set(content.get("layer_types") or ()) <= {"full_attention"}
        and not {"is_causal", "use_bidirectional_attention"} & content.keys()
    )


def _sees_all(content: Mapping[str, Any]) -> bool:
    """True if no window is stated, nor set by default."""
    if content["model_type"] in _WINDOW_ON_DEMAND:
        return content.get("use_sliding_window") is False
    is_stated = "sliding_window" in content or content["model_type"] != "mistral"
    return is_stated and content.get("sliding_window") is None


def computes(config: PretrainedConfig) -> bool:
    """True if the bodies compute what the configuration of transformers asks for."""
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

"""Published models whose own code never runs, because transformers computes them under other names. Data and pure."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

Config = Mapping[str, Any]


@dataclass(frozen=True, slots=True)
class Port:
    """A layout of other names."""

    shows: Callable[[Config], bool]
    """True for a ``config.json`` of this layout that transformers computes in full."""
    translate: Callable[[Config], dict[str, Any]]
    """The ``config.json`` in the words of transformers; its ``auto_map`` is left out."""
    prefix: tuple[str, str] = ("", "")
    """How names of weights begin in transformers, and in the files."""
    packed: bool = False
    """True if transformers does not know the files' names of weights, as ``scorers.ports`` does."""

    def stored(self, name: str) -> str:
        """A weight's name in the files."""
        here, there = self.prefix
        return there + name.removeprefix(here) if name.startswith(here) else name


def find_port(config: Config) -> Port | None:
    """The layout of a ``config.json``; None if it is none of these."""
    return next((port for port in PORTS if port.shows(config)), None)


def _own_config(config: Config) -> str:
    """The class of its own that the configuration asks for."""
    mapped = config.get("auto_map")
    name = mapped.get("AutoConfig") if isinstance(mapped, dict) else None
    return name.rsplit(".", 1)[-1] if isinstance(name, str) else ""


def _is_new(config: Config) -> bool:
    """Alibaba's encoder with rotary positions, as its published checkpoints are."""
    scaling = config.get("rope_scaling")
    heads, hidden = config.get("num_attention_heads"), config.get("hidden_size")
    return (
        _own_config(config) in ("NewConfig", "GteConfig")
        and config.get("model_type") in ("new", "gte")
        and isinstance(heads, int)
        and isinstance(hidden, int)
        and heads > 0
        and isinstance(config.get("rope_theta", 0), int | float)
        and (scaling is None or _is_fixed_ntk(scaling))
        and config.get("position_embedding_type", "rope") == "rope"
        and config.get("layer_norm_type", "layer_norm") == "layer_norm"
        and not config.get("logn_attention_scale")
    )


def _is_fixed_ntk(scaling: object) -> bool:
    return (
        isinstance(scaling, dict)
        and scaling.get("type") == "ntk"
        and isinstance(scaling.get("factor"), int | float)
        and scaling["factor"] >= 1
        and scaling.get("mixed_b") is None
    )


def _of_new(config: Config) -> dict[str, Any]:
    # NTK scaling multiplies the base by the factor and divides every frequency by factor ** (2 / size of a head)
    factor = float((config.get("rope_scaling") or {"factor": 1.0})["factor"])
    size = config["hidden_size"] // config["num_attention_heads"]
    rope = {
        "rope_type": "linear",
        "rope_theta": float(config.get("rope_theta", 10_000.0)) * factor,
        "factor": factor ** (2 / size),
    }
    names = [str(name) for name in config.get("architectures") or ()]
    renamed = ["Gte" + name.removeprefix("New") if name.startswith("New") else name for name in names]
    kept = _without(config, "auto_map", "rope_scaling", "rope_theta")
    return {**kept, "model_type": "gte", "architectures": renamed, "rope_parameters": rope}


def _is_flash(config: Config) -> bool:
    """An XLM-RoBERTa of Jina with packed products, and positions as XLM-RoBERTa has them."""
    return (
        _own_config(config) == "XLMRobertaFlashConfig"
        and config.get("architectures") == ["XLMRobertaForSequenceClassification"]
        and config.get("position_embedding_type", "absolute") == "absolute"
        and not config.get("lora_adaptations")
        and config.get("hidden_act", "gelu") == "gelu"
    )


def _of_flash(config: Config) -> dict[str, Any]:
    return _without(config, "auto_map") | {"model_type": "xlm-roberta"}


def _without(config: Config, *names: str) -> dict[str, Any]:
    return {name: value for name, value in config.items() if name not in names}


NEW = Port(_is_new, _of_new, prefix=("gte.", "new."))
"""gte-multilingual-reranker-base, gte-multilingual-base and gte-*-en-v1.5 (Alibaba-NLP/new-impl)."""
FLASH = Port(_is_flash, _of_flash, packed=True)
"""jina-reranker-v2-base-multilingual."""
PORTS = (NEW, FLASH)

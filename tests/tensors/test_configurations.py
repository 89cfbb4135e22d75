"""What is read from config.json alone is what transformers would have read."""

from __future__ import annotations

from typing import Any

import pytest
from transformers import AutoConfig

from rerank.scorers.bert_kinds import BODIES
from rerank.scorers.causal.configuration import computes, head_size, is_plain
from rerank.scorers.pretrained import Config, activation_bytes

CAUSAL = ("gemma", "llama", "mistral", "qwen2", "qwen3")
NAMES = (
    "hidden_size",
    "max_position_embeddings",
    "num_attention_heads",
    "num_hidden_layers",
    "pad_token_id",
    "vocab_size",
)
LAYERS: dict[str, Any] = {"num_hidden_layers": 2, "num_attention_heads": 4, "hidden_size": 64}


def saved(kind: str, **settings: Any) -> dict[str, Any]:
    """``config.json`` of a model of this kind."""
    content: dict[str, Any] = AutoConfig.for_model(kind, **settings).to_dict()
    return content


class Unread(Config):
    """A configuration that transformers must not be asked about."""

    @property
    def full(self) -> Any:
        """Never."""
        raise AssertionError("transformers was asked")


@pytest.mark.parametrize("kind", [*BODIES, *CAUSAL])
def test_what_config_json_states_is_what_transformers_reads(kind: str) -> None:
    content = saved(kind, pad_token_id=3)
    reference: Any = AutoConfig.for_model(**content)

    assert [getattr(Unread(content), name) for name in NAMES] == [getattr(reference, name) for name in NAMES]
    assert activation_bytes(Unread(content)) == activation_bytes(reference)


@pytest.mark.parametrize("kind", ["t5", "mt5"])
def test_sizes_under_names_of_their_own_are_found(kind: str) -> None:
    content = saved(kind, d_model=64, d_ff=96, num_layers=3, num_heads=4)

    sizes = [getattr(Unread(content), name) for name in ("hidden_size", "num_hidden_layers", "num_attention_heads")]
    assert sizes == [64, 3, 4]
    assert activation_bytes(Unread(content)) == 4 * (12 * 64 + 3 * 96)


@pytest.mark.parametrize("kind", CAUSAL)
@pytest.mark.parametrize("stated", [True, False])
def test_the_size_of_a_head_is_transformers_own(kind: str, stated: bool) -> None:
    content = saved(kind, **LAYERS, **({"head_dim": 32} if stated else {}))
    if not stated:
        content.pop("head_dim", None)
    reference: Any = AutoConfig.for_model(**content)
    expected = getattr(reference, "head_dim", None) or reference.hidden_size // reference.num_attention_heads

    assert head_size(Config(content)) == expected


def test_what_config_json_leaves_open_transformers_decides() -> None:
    assert Config({"model_type": "bert"}).type_vocab_size == 2
    assert Config({"model_type": "gemma"}).tie_word_embeddings is True
    assert not hasattr(Config({"model_type": "bert"}), "no_such_setting")


@pytest.mark.parametrize("kind", CAUSAL)
def test_the_usual_language_models_are_known_to_be_computed_without_transformers(kind: str) -> None:
    settings = {"sliding_window": None} if kind == "mistral" else {}
    former = {"rope_theta": 10000.0, "rope_scaling": {"type": "linear", "factor": 2.0}}

    for content in (saved(kind, **LAYERS, **settings), saved(kind, **LAYERS, **settings) | former):
        content.pop("use_bidirectional_attention", None)
        assert is_plain(content)
        assert computes(AutoConfig.for_model(**content))


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        ("mistral", {"sliding_window": 16}),
        ("qwen2", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}),
        ("qwen3", {"layer_types": ["sliding_attention", "full_attention"]}),
        ("qwen3", {"use_sliding_window": True, "sliding_window": 16, "max_window_layers": 0}),
        ("llama", {"rope_scaling": {"rope_type": "dynamic", "factor": 2.0}}),
        ("llama", {"partial_rotary_factor": 0.5}),
        ("llama", {"is_causal": False}),
        ("gemma", {"use_bidirectional_attention": True}),
    ],
)
def test_what_is_not_computed_is_not_taken_for_it(kind: str, settings: dict[str, Any]) -> None:
    content = saved(kind, **LAYERS) | settings

    assert not is_plain(content)
    assert not computes(AutoConfig.for_model(**content))


def test_a_window_by_default_is_seen_by_transformers_only() -> None:
    content = saved("mistral", **LAYERS)
    del content["sliding_window"]

    assert not is_plain(content)

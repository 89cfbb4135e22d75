"""Folders of models that were published with code of their own, and what that code computes, written out plainly.

The references share nothing with transformers but the tokenizer: they follow the published code's behaviour.
"""

from __future__ import annotations

import json
import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import torch
from safetensors.torch import load_file, save_file
from tokenizers import Tokenizer
from torch.nn.functional import gelu, layer_norm

from tests.parity.layouts import rewrite
from tests.support.tiny_checkpoints import make_bert, make_xlm_roberta

HIDDEN, HEADS, LAYERS, INNER = 32, 4, 2, 64
Weights = dict[str, torch.Tensor]


def make_new(
    folder: Path,
    *,
    types: int = 1,
    prefix: str = "new.",
    scaling: dict[str, Any] | None = None,
    head: bool = True,
    **changes: Any,
) -> Path:
    """A folder as Alibaba-NLP published gte-multilingual (types=1) and gte-*-en-v1.5 (0 or 2), with its tokenizer.

    Names of weights begin with ``prefix``, which bodies published without a head do not have.
    """
    (make_xlm_roberta if types == 1 else make_bert)(folder)
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    mapped = {
        "AutoConfig": "Alibaba-NLP/new-impl--configuration.NewConfig",
        "AutoModel": "Alibaba-NLP/new-impl--modeling.NewModel",
        "AutoModelForSequenceClassification": "Alibaba-NLP/new-impl--modeling.NewForSequenceClassification",
    }
    config = {
        "architectures": ["NewForSequenceClassification" if head else "NewModel"],
        "auto_map": mapped,
        "model_type": "new",
        "vocab_size": vocabulary,
        "hidden_size": HIDDEN,
        "num_hidden_layers": LAYERS,
        "num_attention_heads": HEADS,
        "intermediate_size": INNER,
        "hidden_act": "gelu",
        "hidden_dropout_prob": 0.1,
        "attention_probs_dropout_prob": 0.0,
        "max_position_embeddings": 256,
        "type_vocab_size": types,
        "layer_norm_type": "layer_norm",
        "layer_norm_eps": 1e-12,
        "position_embedding_type": "rope",
        "rope_theta": 20000,
        "rope_scaling": scaling,
        "pack_qkv": True,
        "logn_attention_scale": False,
        "unpad_inputs": False,
        "use_memory_efficient_attention": False,
        "pad_token_id": 1 if types == 1 else 0,
        "id2label": {"0": "LABEL_0"},
        "label2id": {"LABEL_0": 0},
        "torch_dtype": "float16",
    }
    (folder / "config.json").write_text(json.dumps(config | changes))
    shapes: dict[str, tuple[int, ...]] = {
        "embeddings.word_embeddings.weight": (vocabulary, HIDDEN),
        **({"embeddings.token_type_embeddings.weight": (types, HIDDEN)} if types else {}),
        **_norm("embeddings.LayerNorm"),
        **_linear("pooler.dense", HIDDEN, HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"encoder.layer.{number}"
        shapes |= _linear(f"{layer}.attention.qkv_proj", 3 * HIDDEN, HIDDEN)
        shapes |= _linear(f"{layer}.attention.o_proj", HIDDEN, HIDDEN)
        shapes |= {f"{layer}.mlp.up_gate_proj.weight": (2 * INNER, HIDDEN)} | _norm(f"{layer}.attn_ln")
        shapes |= _linear(f"{layer}.mlp.down_proj", HIDDEN, INNER) | _norm(f"{layer}.mlp_ln")
    named = {f"{prefix}{name}": shape for name, shape in shapes.items()}
    _save(folder, named | (_linear("classifier", 1 if head else vocabulary, HIDDEN) if prefix else {}))
    return folder


def make_flash(folder: Path, **changes: Any) -> Path:
    """A folder as jina-reranker-v2-base-multilingual was published: XLM-RoBERTa with packed products."""
    make_xlm_roberta(folder)
    rewrite(
        folder / "config.json",
        **{
            "auto_map": {
                "AutoConfig": "configuration_xlm_roberta.XLMRobertaFlashConfig",
                "AutoModel": "modeling_xlm_roberta.XLMRobertaModel",
                "AutoModelForSequenceClassification": "modeling_xlm_roberta.XLMRobertaForSequenceClassification",
            },
            "num_labels": 1,
            "emb_pooler": None,
            "use_flash_attn": True,
            "position_embedding_type": "absolute",
            "torch_dtype": "bfloat16",
        }
        | changes,
    )
    vocabulary = Tokenizer.from_file(str(folder / "tokenizer.json")).get_vocab_size()
    shapes: dict[str, tuple[int, ...]] = {
        "roberta.embeddings.word_embeddings.weight": (vocabulary, HIDDEN),
        "roberta.embeddings.position_embeddings.weight": (514, HIDDEN),
        "roberta.embeddings.token_type_embeddings.weight": (1, HIDDEN),
        **_norm("roberta.emb_ln"),
        **_linear("classifier.dense", HIDDEN, HIDDEN),
        **_linear("classifier.out_proj", 1, HIDDEN),
    }
    for number in range(LAYERS):
        layer = f"roberta.encoder.layers.{number}"
        shapes |= _linear(f"{layer}.mixer.Wqkv", 3 * HIDDEN, HIDDEN) | _linear(
            f"{layer}.mixer.out_proj", HIDDEN, HIDDEN
        )
        shapes |= _linear(f"{layer}.mlp.fc1", INNER, HIDDEN) | _linear(f"{layer}.mlp.fc2", HIDDEN, INNER)
        shapes |= _norm(f"{layer}.norm1") | _norm(f"{layer}.norm2")
    _save(folder, shapes)
    return folder


def _linear(name: str, out: int, into: int) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (out, into), f"{name}.bias": (out,)}


def _norm(name: str) -> dict[str, tuple[int, ...]]:
    return {f"{name}.weight": (HIDDEN,), f"{name}.bias": (HIDDEN,)}


def _save(folder: Path, shapes: dict[str, tuple[int, ...]]) -> None:
    generator = torch.Generator().manual_seed(0)
    weights = {name: 0.5 * torch.randn(shape, generator=generator) for name, shape in shapes.items()}
    for file in folder.glob("model*.safetensors"):
        file.unlink()
    save_file(weights, folder / "model.safetensors", {"format": "pt"})


# references


@torch.inference_mode()
def new_by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """What NewForSequenceClassification computes."""
    weights = _new_weights(folder)
    scores = []
    for ids, types in _tokens(folder, pairs):
        first = _new_states(folder, weights, ids, types)[0]
        scores.append(float(_product(weights, "classifier", torch.tanh(_product(weights, "new.pooler.dense", first)))))
    return scores


@torch.inference_mode()
def new_vectors_by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """Cosines of first tokens, as gte-multilingual-base's card has them."""
    weights = _new_weights(folder)
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))

    def vector(text: str) -> torch.Tensor:
        read = tokenizer.encode(text)
        return _new_states(folder, weights, torch.tensor(read.ids), torch.tensor(read.type_ids))[0]

    return [float(torch.cosine_similarity(vector(query), vector(document), dim=0)) for query, document in pairs]


def _new_weights(folder: Path) -> Weights:
    """With the names that they have next to a head."""
    stored = load_file(folder / "model.safetensors")
    return {
        name if name.startswith(("new.", "classifier.")) else f"new.{name}": weight for name, weight in stored.items()
    }


def _new_states(folder: Path, weights: Weights, ids: torch.Tensor, types: torch.Tensor) -> torch.Tensor:
    config = json.loads((folder / "config.json").read_text())
    states = weights["new.embeddings.word_embeddings.weight"][ids]
    if count := config["type_vocab_size"]:
        states = states + weights["new.embeddings.token_type_embeddings.weight"][types % count]
    states = _normed(weights, "new.embeddings.LayerNorm", states, 1e-12)
    size = HIDDEN // HEADS
    base = config["rope_theta"]
    frequencies = 1.0 / base ** (torch.arange(0, size, 2).double() / size)
    if scaling := config["rope_scaling"]:
        factor = scaling["factor"]
        frequencies = 1.0 / (base * factor) ** (torch.arange(0, size, 2).double() / size)
        frequencies = frequencies / factor ** (2 / size)
    angles = (torch.arange(len(ids)).double()[:, None] * frequencies).float()

    def turn(heads: torch.Tensor) -> torch.Tensor:
        left, right = heads[..., : size // 2], heads[..., size // 2 :]
        cosine, sine = angles.cos()[:, None], angles.sin()[:, None]
        return torch.cat((left * cosine - right * sine, right * cosine + left * sine), dim=-1)

    for number in range(LAYERS):
        layer = f"new.encoder.layer.{number}"
        packed = _product(weights, f"{layer}.attention.qkv_proj", states)
        attended = _attention(packed, turn)
        hidden = states + _product(weights, f"{layer}.attention.o_proj", attended)
        hidden = _normed(weights, f"{layer}.attn_ln", hidden, 1e-12)
        up, gate = (hidden @ weights[f"{layer}.mlp.up_gate_proj.weight"].T).chunk(2, dim=-1)
        inner = _product(weights, f"{layer}.mlp.down_proj", gelu(gate) * up)
        states = _normed(weights, f"{layer}.mlp_ln", hidden + inner, 1e-12)
    return states


@torch.inference_mode()
def flash_by_hand(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[float]:
    """What jina-reranker-v2's XLMRobertaForSequenceClassification computes."""
    weights = load_file(folder / "model.safetensors")
    scores = []
    for ids, _ in _tokens(folder, pairs):
        real = ids != 1
        positions = torch.cumsum(real, 0) * real + 1
        states = weights["roberta.embeddings.word_embeddings.weight"][ids]
        states = states + weights["roberta.embeddings.position_embeddings.weight"][positions]
        states = states + weights["roberta.embeddings.token_type_embeddings.weight"][0]
        states = _normed(weights, "roberta.emb_ln", states, 1e-12)
        for number in range(LAYERS):
            layer = f"roberta.encoder.layers.{number}"
            packed = _product(weights, f"{layer}.mixer.Wqkv", states)
            attended = _attention(packed)
            states = _normed(
                weights, f"{layer}.norm1", states + _product(weights, f"{layer}.mixer.out_proj", attended), 1e-12
            )
            inner = _product(weights, f"{layer}.mlp.fc2", gelu(_product(weights, f"{layer}.mlp.fc1", states)))
            states = _normed(weights, f"{layer}.norm2", states + inner, 1e-12)
        first = torch.tanh(_product(weights, "classifier.dense", states[0]))
        scores.append(float(_product(weights, "classifier.out_proj", first)))
    return scores


def _tokens(folder: Path, pairs: Sequence[tuple[str, str]]) -> list[tuple[torch.Tensor, torch.Tensor]]:
    tokenizer: Tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    read = [tokenizer.encode(*pair) for pair in pairs]
    return [(torch.tensor(sequence.ids), torch.tensor(sequence.type_ids)) for sequence in read]


def _attention(
    packed: torch.Tensor, turn: Callable[[torch.Tensor], torch.Tensor] = lambda heads: heads
) -> torch.Tensor:
    heads = [part.reshape(len(part), HEADS, -1) for part in packed.chunk(3, dim=-1)]
    query, key, value = turn(heads[0]), turn(heads[1]), heads[2]
    weighed = torch.einsum("qhd,khd->hqk", query, key) / math.sqrt(HIDDEN // HEADS)
    return torch.einsum("hqk,khd->qhd", weighed.softmax(-1), value).flatten(1)


def _product(weights: Weights, name: str, states: torch.Tensor) -> torch.Tensor:
    return states @ weights[f"{name}.weight"].T + weights[f"{name}.bias"]


def _normed(weights: Weights, name: str, states: torch.Tensor, epsilon: float) -> torch.Tensor:
    return layer_norm(states, (HIDDEN,), weights[f"{name}.weight"], weights[f"{name}.bias"], epsilon)

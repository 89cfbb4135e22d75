"""Heads of cross-encoders: the layers from a vector to a logit, always in fp32.

Half precision would tie the best documents.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.weight_files import WEIGHTS_FILE, read_header
from rerank.runtimes.base import Values
from rerank.scorers.heads import Linear, Norm, gelu, identity, read_linear, read_norm, relu, tanh
from rerank.scorers.labels import score_of_labels
from rerank.scorers.pretrained import read_json
from rerank.scorers.saved_modules import SavedModules

Function = Callable[[Values], Values]
Layer = Linear | Norm | Function
_BETWEEN = {"gelu": gelu, "relu": relu, "tanh": tanh}
"""Functions by their names in configurations of transformers."""
_ACTIVATIONS: dict[str | None, Function] = {
    None: tanh,
    "torch.nn.modules.linear.Identity": identity,
    "torch.nn.modules.activation.GELU": gelu,
    "torch.nn.modules.activation.ReLU": relu,
    "torch.nn.modules.activation.Tanh": tanh,
}
"""By the names that a Dense module of sentence-transformers is saved with."""
_IDENTITIES = {name for name, function in _ACTIVATIONS.items() if function is identity}
"""Of the last module, whose output is the logit."""
_DENSE_SETTINGS = {"in_features", "out_features", "bias", "activation_function", "module_output_name"}
_VECTOR, _SCORE = "sentence_embedding", "scores"
"""What a module's output is called."""


class Head:
    """The layers from a vector to a logit, where a runtime on ``device`` returns its vectors."""

    def __init__(self, layers: Sequence[Layer], last: Linear, device: str) -> None:
        placed = [layer.on(device) if isinstance(layer, Linear | Norm) else layer for layer in layers]
        self._layers: tuple[Layer, ...] = (*placed, last.on(device))

    def __call__(self, vectors: Values) -> Values:
        """Vectors of shape (pairs, hidden) to logits of shape (pairs)."""
        for layer in self._layers:
            vectors = layer(vectors)
        return vectors[:, 0]


def one_score(last: Linear, card: ModelCard, checkpoint: Checkpoint) -> Linear:
    """The last layer, with the only row it has or the one that the card makes. Raises ModelUnsupported."""
    return Linear(*(score_of_labels(rows, card, checkpoint.config)[None] for rows in last))


def knows_classifier(checkpoint: Checkpoint) -> bool:
    """True if ``classifier_layers`` computes the head."""
    config = checkpoint.config
    setting = _FUNCTION_SETTINGS.get(str(config.get("model_type")))
    return setting is None or config.get(setting, "gelu") in _BETWEEN


def classifier_layers(checkpoint: Checkpoint) -> list[Layer]:
    """The layers of a classifier of transformers, read from the file: a missing one raises, and is never random."""
    kind = checkpoint.config["model_type"]
    if kind == "modernbert":
        return _modernbert(checkpoint)
    dense, between, out = _TWO_LAYERS[kind]
    setting = _FUNCTION_SETTINGS.get(kind)
    function = between if setting is None else _BETWEEN[checkpoint.config.get(setting, "gelu")]
    return [_linear(checkpoint, dense), function, _linear(checkpoint, out)]


_FUNCTION_SETTINGS = {"modernbert": "classifier_activation", "deberta-v2": "pooler_hidden_act"}
"""Which setting names the function of the head, gelu where it is not given."""
_ROBERTA = ("classifier.dense", tanh, "classifier.out_proj")
_TWO_LAYERS: dict[str, tuple[str, Function, str]] = {
    **dict.fromkeys(("xlm-roberta", "roberta", "camembert"), _ROBERTA),
    "bert": ("bert.pooler.dense", tanh, "classifier"),
    "electra": ("classifier.dense", gelu, "classifier.out_proj"),
    "distilbert": ("pre_classifier", relu, "classifier"),
    "deberta-v2": ("pooler.dense", gelu, "classifier"),
    "gte": ("gte.pooler.dense", tanh, "classifier"),
}
"""Names of two layers and the function between them, by model type."""


def _modernbert(checkpoint: Checkpoint) -> list[Layer]:
    config = checkpoint.config
    return [
        read_linear(checkpoint, "head.dense", bias=config.get("classifier_bias", False)),
        _BETWEEN[config.get("classifier_activation", "gelu")],
        read_norm(checkpoint, "head.norm", config.get("norm_eps", 1e-5), bias=config.get("norm_bias", False)),
        read_linear(checkpoint, "classifier"),
    ]


def _linear(checkpoint: Checkpoint, name: str) -> Linear:
    port = checkpoint.evidence.port
    return read_linear(checkpoint, port.stored(name) if port else name)


def knows_modules(folder: Path, saved: SavedModules) -> bool:
    """True if ``module_layers`` computes what was saved behind the pooling."""
    modules = list(_behind_pooling(folder, saved))
    outputs = [_VECTOR] * (len(modules) - 1) + [_SCORE]
    return bool(modules) and all(
        _is_known(kind, read_json(module / "config.json"), output) and _is_whole(kind, module)
        for (kind, module), output in zip(modules, outputs, strict=True)
    )


def module_layers(checkpoint: Checkpoint, saved: SavedModules) -> list[Layer]:
    """The layers of modules of sentence-transformers behind the pooling."""
    modules = _behind_pooling(checkpoint.folder, saved)
    return [layer for kind, module in modules for layer in _module(checkpoint, kind, module)]


def _behind_pooling(folder: Path, saved: SavedModules) -> Iterator[tuple[str, Path]]:
    """The class of each module and its folder."""
    return ((kind, folder / path) for kind, path in zip(saved.kinds[2:], saved.folders[2:], strict=True))


def _is_known(kind: str, settings: dict[str, Any], output: str) -> bool:
    if kind == "LayerNorm":
        return output == _VECTOR and settings.keys() <= {"dimension"}
    return (
        kind == "Dense"
        and settings.pop("module_input_name", _VECTOR) == _VECTOR
        and settings.pop("use_residual", False) is False
        and settings.keys() <= _DENSE_SETTINGS
        and settings.get("activation_function") in (_IDENTITIES if output == _SCORE else _ACTIVATIONS)
        and (settings.get("module_output_name") or _VECTOR) == output
    )


def _is_whole(kind: str, module: Path) -> bool:
    """True if the weights are those that the settings ask for."""
    bias = kind == "LayerNorm" or read_json(module / "config.json").get("bias", True)
    layer = "norm" if kind == "LayerNorm" else "linear"
    asked = {f"{layer}.weight", *([f"{layer}.bias"] if bias else [])}
    file = module / WEIGHTS_FILE
    return file.is_file() and read_header(file)[0].keys() == asked


def _module(checkpoint: Checkpoint, kind: str, folder: Path) -> list[Layer]:
    settings, stored = read_json(folder / "config.json"), replace(checkpoint, weight_files=(folder / WEIGHTS_FILE,))
    if kind == "LayerNorm":
        return [read_norm(stored, "norm", 1e-5)]
    dense = read_linear(stored, "linear", bias=settings.get("bias", True))
    function = _ACTIVATIONS[settings.get("activation_function")]
    return [dense] if function is identity else [dense, function]

"""A check that ``config.json`` describes a model of the size of its weights.

transformers makes the network that the configuration describes, and takes its memory, before it notices that weights
are missing. So 6,000 layers are refused here, by the shapes in the headers of the weights.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from itertools import pairwise
from pathlib import Path
from typing import Any

from rerank.errors import WeightsBroken

_LAYER_LISTS = ("layer", "layers", "h", "block", "blocks")
_TABLES = {
    "vocab_size": ("word_embeddings.weight", "embed_tokens.weight", "tok_embeddings.weight"),
    "max_position_embeddings": ("position_embeddings.weight",),
    "type_vocab_size": ("token_type_embeddings.weight",),
}
_LAYERS = ("num_hidden_layers", "n_layers", "n_layer", "num_layers")
_TOLERANCE = 2
"""How many times the weights a network may be, by the parts of it that are sure to be there."""


def refuse_other_proportions(folder: Path, config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> None:
    """Raise WeightsBroken where the configuration asks for more layers, rows or weights than there are."""
    if "quantization_config" in config:
        # several numbers are packed into one there
        return
    text = config.get("text_config")
    for what, asked, held in _comparisons({**config, **text} if isinstance(text, dict) else config, shapes):
        if asked > held > 0:
            raise WeightsBroken(
                f"{folder.name}/config.json asks for {asked:,} {what}, but the weights hold {held:,}: they are not "
                "of one model"
            )


def _comparisons(config: Mapping[str, Any], shapes: Mapping[str, list[int]]) -> Iterable[tuple[str, int, int]]:
    """What the configuration asks for, how many, and how many the weights hold; zero where they do not tell."""
    layers = next((number for name in _LAYERS if (number := _number(config, name))), 0)
    yield "layers", layers, _layers_in(shapes)
    for key, endings in _TABLES.items():
        rows = (shape[0] for name, shape in shapes.items() if name.endswith(endings) and shape)
        yield key, _number(config, key), max(rows, default=0)
    if "num_hidden_groups" in config:
        # ALBERT's layers are one and the same
        return
    # each layer has at least two products of the hidden by the inner size
    minimum = 2 * layers * _number(config, "hidden_size") * _number(config, "intermediate_size")
    held = sum(math.prod(shape) for shape in shapes.values())
    yield "weights", minimum, held * _TOLERANCE if _layers_in(shapes) else 0


def _number(config: Mapping[str, Any], key: str) -> int:
    value = config.get(key)
    return value if isinstance(value, int) and not isinstance(value, bool) else 0


def _layers_in(shapes: Mapping[str, list[int]]) -> int:
    """One more than the highest number after a part such as ``layers`` in the names of weights."""
    highest = -1
    for name in shapes:
        parts = name.split(".")
        for before, number in pairwise(parts):
            if before in _LAYER_LISTS and number.isascii() and number.isdigit() and len(number) < 10:
                highest = max(highest, int(number))
    return highest + 1

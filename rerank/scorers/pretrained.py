"""Checkpoint folders: tokenizer, activation, and weights that are checked to be there."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy
from tokenizers import Tokenizer

from rerank.activations import CHOOSABLE, Activation
from rerank.catalog.checkpoint import JAPANESE_TOKENIZER, Checkpoint
from rerank.catalog.weight_files import read_header, shapes
from rerank.errors import ModelUnsupported, WeightsBroken
from rerank.scorers.japanese import japanese_tokenizer
from rerank.scorers.libraries import import_transformers
from rerank.scorers.normalising import normalise
from rerank.scorers.tokenizer_settings import (
    asked_frame,
    give_types,
    is_other_model,
    is_overridden,
    with_class,
    with_own_splits,
    without_space_in_front,
)

if TYPE_CHECKING:
    # importing them takes seconds, which a converted network does not need
    import torch
    from transformers import PretrainedConfig, PreTrainedModel

_NUMBERS = {"F64": "<f8", "F32": "<f4", "F16": "<f2", "BF16": "<u2"}
"""Number formats of weights, as numpy names them; it has none for BF16, the upper half of F32."""
_STATED = frozenset(
    (
        "head_dim", "hidden_size", "intermediate_size", "max_position_embeddings", "model_type", "num_attention_heads",
        "num_hidden_layers", "num_key_value_heads", "pad_token_id", "tie_word_embeddings", "type_vocab_size",
        "vocab_size",
    )
)  # fmt: skip
"""What ``config.json`` states as transformers takes it."""
_T5 = {
    "hidden_size": "d_model",
    "intermediate_size": "d_ff",
    "num_attention_heads": "num_heads",
    "num_hidden_layers": "num_layers",
}
_OWN_NAMES = {
    "distilbert": {
        "hidden_size": "dim",
        "intermediate_size": "hidden_dim",
        "num_attention_heads": "n_heads",
        "num_hidden_layers": "n_layers",
    },
    "mt5": _T5,
    "t5": _T5,
}
"""By model type: what it calls them."""


class Config:
    """A model's configuration as transformers reads it, which is asked only for what ``config.json`` leaves open."""

    def __init__(self, content: Mapping[str, Any]) -> None:
        self._content = content

    @cached_property
    def full(self) -> PretrainedConfig:
        """The configuration of transformers, for models it has classes for."""
        config: PretrainedConfig = import_transformers().AutoConfig.for_model(**self._content)
        return config

    def states(self, name: str) -> bool:
        """True if ``config.json`` gives this a value."""
        return self._stated(name) is not None

    def get_text_config(self) -> Any:
        """The part that describes the body."""
        return self if self.states("hidden_size") else self.full.get_text_config()

    def __getattr__(self, name: str) -> Any:
        stated = self._stated(name) if name in _STATED else None
        return getattr(self.full, name) if stated is None else stated

    def _stated(self, name: str) -> Any:
        own = _OWN_NAMES.get(self._content.get("model_type", ""), {})
        return self._content.get(own.get(name, name))


def open_tokenizer(
    folder: Path, *, special_tokens: bool = True, inside: bool = False, normalises: bool = False
) -> Tokenizer:
    """The tokenizer as transformers reads it, cutting and padding nothing. Raises WeightsBroken.

    Without ``special_tokens`` a text cannot name one: ``<|im_end|>`` is then about six ordinary tokens. A text that is
    ``inside`` another gets no space in front. ``normalises``: see ``normalising``.
    """
    tokenizer = _read_tokenizer(folder, special_tokens=special_tokens, inside=inside)
    return normalise(tokenizer) if normalises else tokenizer


def _read_tokenizer(folder: Path, *, special_tokens: bool, inside: bool) -> Tokenizer:
    config = tokenizer_settings(folder)
    if config["tokenizer_class"] == JAPANESE_TOKENIZER:
        return japanese_tokenizer(folder, config)
    file = folder / "tokenizer.json"
    text = file.read_text(encoding="utf-8") if file.is_file() else None
    content = json.loads(text) if text is not None else None
    if content is None or is_overridden(content, config):
        content, text = _as_transformers_reads_it(folder, content, config), None
    if not special_tokens:
        content, text = {**content, "added_tokens": []}, None
    if inside:
        content, text = without_space_in_front(content), None
    # writing a large vocabulary takes as long as reading it
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content) if text is None else text)
    tokenizer.encode_special_tokens = bool(config.get("split_special_tokens"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def has_tokenizer(folder: Path) -> bool:
    """True if ``open_tokenizer`` reads what the folder has."""
    is_japanese = tokenizer_settings(folder)["tokenizer_class"] == JAPANESE_TOKENIZER
    return is_japanese or (folder / "tokenizer.json").is_file()


def _as_transformers_reads_it(
    folder: Path, tokenizer: dict[str, Any] | None, config: Mapping[str, Any]
) -> Mapping[str, Any]:
    """``tokenizer.json`` with what ``tokenizer_config.json`` changes in it, or one made of SentencePiece's file."""
    load = import_transformers().AutoTokenizer.from_pretrained
    try:
        reference = load(folder, local_files_only=True, trust_remote_code=False)
        if frame := asked_frame(config):
            reference.add_bos_token, reference.add_eos_token = frame
            reference.update_post_processor()
        content: dict[str, Any] = json.loads(reference.backend_tokenizer.to_str())
    except Exception as error:
        # errors over an unknown class or setting have no common class
        raise WeightsBroken(f"{folder.name}/tokenizer_config.json is not understood: {error}") from error
    if tokenizer is None:
        return content
    if is_other_model(content, tokenizer):
        raise WeightsBroken(
            f"{folder.name}/tokenizer_config.json names the class {config['tokenizer_class']}, which cannot read the "
            "tokenizer.json next to it. Fetch the published files again."
        )
    return with_own_splits(content, tokenizer, config)


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, empty if there is no such file."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def tokenizer_length(folder: Path) -> int | None:
    """``model_max_length`` of the tokenizer; None where it says that there is no limit."""
    length = read_json(folder / "tokenizer_config.json").get("model_max_length")
    # tokenizers without a limit store an enormous number
    return int(length) if isinstance(length, int | float) and length < 10**9 else None


def tokenizer_settings(folder: Path) -> Mapping[str, Any]:
    """``tokenizer_config.json``, with the class that transformers takes."""
    return with_class(read_json(folder / "tokenizer_config.json"), read_json(folder / "config.json"))


def gives_types(folder: Path) -> bool:
    """False if the tokenizer tells query and document apart by no other input."""
    return give_types(tokenizer_settings(folder))


def checkpoint_activation(folder: Path, default: Activation) -> Activation:
    """The activation the checkpoint asks for, in the three places sentence-transformers looks; else the default."""
    config = read_json(folder / "config.json")
    wanted = (
        read_json(folder / "config_sentence_transformers.json").get("activation_fn")
        or (config.get("sentence_transformers") or {}).get("activation_fn")
        or config.get("sbert_ce_default_activation_function")
    )
    return activation_named(str(wanted).rsplit(".", 1)[-1]) if wanted else default


def activation_named(name: str) -> Activation:
    """The activation of a torch module's class name. Raises ModelUnsupported for one that is not known."""
    activation = CHOOSABLE.get(name.lower())
    if activation is None:
        raise ModelUnsupported(
            f"the checkpoint asks for the activation {name}; Sigmoid and Identity are supported. `activation` in its "
            "card in models.toml chooses one of them."
        )
    return activation


def refuse_unknown_type(checkpoint: Checkpoint) -> None:
    """Raise ModelUnsupported for a model that neither transformers nor code of its own computes, or only in part."""
    if checkpoint.evidence.port:
        raise ModelUnsupported(
            f"{checkpoint.folder.name} is computed here without its own code, and only as its publisher laid it out: "
            "with a tokenizer.json, and read by its first token or by the mean of its tokens, with no Dense module "
            "behind that. Fetch the published files again, or use another model."
        )
    transformers = import_transformers()
    kind = checkpoint.config.get("model_type")
    if "auto_map" not in checkpoint.config and kind not in transformers.CONFIG_MAPPING:
        version = transformers.__version__
        raise ModelUnsupported(
            f"{checkpoint.folder.name} is of the type {kind}, which transformers {version} does not know. "
            "Use a reranker of another type, such as BAAI/bge-reranker-v2-m3."
        )


def activation_bytes(config: Config | PretrainedConfig) -> int:
    """Estimated bytes of device memory per token of a running batch: what a layer holds at its widest, in fp32.

    A dozen vectors of the hidden size (states, queries, keys, values, residuals) and three of the inner one.
    """
    text = config.get_text_config()
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return 4 * (12 * int(text.hidden_size) + 3 * int(inner))


def read_config(checkpoint: Checkpoint) -> Config:
    """``config.json``, for models that transformers has classes for."""
    return Config(checkpoint.config)


def read_tensor(checkpoint: Checkpoint, name: str, *, row: int | None = None) -> numpy.ndarray:
    """One weight, or one ``row`` of it, in fp32, straight from the file. Raises WeightsBroken if it is not there."""
    for file in checkpoint.weight_files:
        header, start = read_header(file)
        if name in header:
            described = header[name]
            kind = described["dtype"]
            if kind not in _NUMBERS:
                raise WeightsBroken(f"{checkpoint.folder.name} holds {name} as {kind}, which is not a kind of weight")
            whole = numpy.memmap(
                file, _NUMBERS[kind], "r", start + described["data_offsets"][0], tuple(described["shape"])
            )
            return _fp32(whole if row is None else whole[row], kind)
    raise _random(checkpoint, name)


def _fp32(numbers: numpy.ndarray, kind: str) -> numpy.ndarray:
    """A copy, which needs the file no longer."""
    numbers = numpy.asarray(numbers)
    if kind == "BF16":
        return (numbers.astype(numpy.uint32) << 16).view(numpy.float32)
    return numbers.astype(numpy.float32)


SAFE_OPTIONS = {"use_safetensors": True, "ignore_mismatched_sizes": True}
"""For ``from_pretrained``: weights that do not fit are named in its report, where an error of its own names none."""


def load_network(kind: Any, checkpoint: Checkpoint, dtype: torch.dtype, unused: str = "", **options: Any) -> Any:
    """A transformers model of class ``kind``, made with ``options``, with every weight from the checkpoint.

    ``unused``, if not empty, is the prefix of weights that do not matter. Raises WeightsBroken
    naming a weight that would be newly initialised or does not fit.
    """
    model, report = kind.from_pretrained(
        checkpoint.folder, dtype=dtype, local_files_only=True, output_loading_info=True, **SAFE_OPTIONS, **options
    )
    for name, stored, asked in sorted(report["mismatched_keys"]):
        if not _begins(name, unused):
            raise _unfit(checkpoint, name, stored, asked)
    for name in sorted(report["missing_keys"]):
        if not _begins(name, unused):
            raise _random(checkpoint, name)
    return model.eval()


def refuse_random_weights(network: PreTrainedModel, checkpoint: Checkpoint, unused: str = "") -> None:
    """Raise WeightsBroken naming a weight that the checkpoint lacks or has in another shape.

    The network was loaded by a library, with ``SAFE_OPTIONS``. ``unused`` as for ``load_network``.
    """
    stored = shapes(checkpoint.weight_files)
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    body = f"{network.base_model_prefix}."
    for name, weight in network.named_parameters():
        found = [stored[other] for other in (name, body + name, name.removeprefix(body)) if other in stored]
        if list(weight.shape) not in found and name not in tied and not _begins(name, unused):
            # it may be stored under an older name or turned, which only transformers knows
            load_network(type(network), checkpoint, network.dtype, unused, config=network.config)
            return


def _begins(name: str, start: str) -> bool:
    return bool(start) and name.startswith(start)


def _unfit(checkpoint: Checkpoint, name: str, stored: Sequence[int], asked: Sequence[int]) -> WeightsBroken:
    return WeightsBroken(
        f"{checkpoint.folder.name} holds {name} in the shape {_shown(stored)}, where its config.json asks for "
        f"{_shown(asked)}: they are not of one model"
    )


def _shown(shape: Sequence[int]) -> str:
    return " x ".join(map(str, shape))


def _random(checkpoint: Checkpoint, name: str) -> WeightsBroken:
    return WeightsBroken(
        f"{checkpoint.folder.name} has no fitting weights for {name}: they would be random, so it is not loaded"
    )

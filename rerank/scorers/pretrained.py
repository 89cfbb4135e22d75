"""Checkpoint folders: tokenizer, activation, and weights that are checked to be there."""

from __future__ import annotations

import json
from pathlib import Path
from typing import TYPE_CHECKING, Any

import torch
from safetensors import safe_open
from tokenizers import Tokenizer
from transformers import CONFIG_MAPPING, AutoConfig, PretrainedConfig
from transformers import __version__ as transformers_version

from rerank.activations import CHOOSABLE, SIGMOID, Activation
from rerank.catalog.checkpoint import Checkpoint
from rerank.errors import ModelUnsupported, WeightsBroken
from rerank.scorers.tokenizer_settings import is_overridden, without_space_in_front

if TYPE_CHECKING:
    # importing a class of a model takes seconds, which a converted network need not wait for
    from transformers import PreTrainedModel


def open_tokenizer(folder: Path, *, special_tokens: bool = True, inside: bool = False) -> Tokenizer:
    """The tokenizer as transformers reads it, cutting and padding nothing. Raises WeightsBroken.

    Without ``special_tokens`` a text cannot name one: ``<|im_end|>`` is then about six ordinary tokens. A text that is
    ``inside`` another gets no space in front.
    """
    content = json.loads((folder / "tokenizer.json").read_text(encoding="utf-8"))
    config = read_json(folder / "tokenizer_config.json")
    if is_overridden(content, config):
        content = _as_transformers_reads_it(folder)
    if not special_tokens:
        content["added_tokens"] = []
    if inside:
        content = without_space_in_front(content)
    tokenizer: Tokenizer = Tokenizer.from_str(json.dumps(content))
    tokenizer.encode_special_tokens = bool(config.get("split_special_tokens"))
    tokenizer.no_truncation()
    tokenizer.no_padding()
    return tokenizer


def _as_transformers_reads_it(folder: Path) -> dict[str, Any]:
    """``tokenizer.json`` with what ``tokenizer_config.json`` changes in it."""
    from transformers import AutoTokenizer

    try:
        reference = AutoTokenizer.from_pretrained(folder, local_files_only=True, trust_remote_code=False)  # nosec B615
        content: dict[str, Any] = json.loads(reference.backend_tokenizer.to_str())
    except Exception as error:
        # errors over an unknown class or setting have no common class
        raise WeightsBroken(f"{folder.name}/tokenizer_config.json is not understood: {error}") from error
    return content


def read_json(file: Path) -> dict[str, Any]:
    """A JSON object, empty if there is no such file."""
    content = json.loads(file.read_text(encoding="utf-8")) if file.is_file() else {}
    return content if isinstance(content, dict) else {}


def tokenizer_length(folder: Path) -> int | None:
    """``model_max_length`` of the tokenizer; None where it says that there is no limit."""
    length = read_json(folder / "tokenizer_config.json").get("model_max_length")
    # tokenizers without a limit store an enormous number
    return int(length) if isinstance(length, int | float) and length < 10**9 else None


def gives_types(folder: Path) -> bool:
    """False if the settings of the tokenizer say that it tells query and document apart by no other input."""
    names = read_json(folder / "tokenizer_config.json").get("model_input_names")
    return names is None or "token_type_ids" in names


def checkpoint_activation(folder: Path, default: Activation = SIGMOID) -> Activation:
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
            "with a tokenizer.json, and read by its first token or by the mean of its tokens. Fetch the published "
            "files again."
        )
    kind = checkpoint.config.get("model_type")
    if "auto_map" not in checkpoint.config and kind not in CONFIG_MAPPING:
        raise ModelUnsupported(
            f"{checkpoint.folder.name} is of the type {kind}, which transformers {transformers_version} does not know. "
            "Use a reranker of another type, such as BAAI/bge-reranker-v2-m3."
        )


def activation_bytes(config: PretrainedConfig) -> int:
    """Estimated bytes of device memory per token of a running batch: what a layer holds at its widest, in fp32.

    A dozen vectors of the hidden size (states, queries, keys, values, residuals) and three of the inner one.
    """
    text = config.get_text_config()
    inner = getattr(text, "intermediate_size", None) or 4 * text.hidden_size
    return 4 * (12 * int(text.hidden_size) + 3 * int(inner))


def read_config(checkpoint: Checkpoint) -> PretrainedConfig:
    """``config.json`` as transformers reads it, for models it has classes for."""
    config: PretrainedConfig = AutoConfig.for_model(**checkpoint.config)
    return config


def read_tensor(checkpoint: Checkpoint, name: str, *, row: int | None = None) -> torch.Tensor:
    """One weight, or one ``row`` of it, in fp32, straight from the file. Raises WeightsBroken if it is not there."""
    for file in checkpoint.weight_files:
        with safe_open(file, framework="pt") as tensors:
            if name in tensors.keys():  # noqa: SIM118  the handle is no mapping
                tensor: torch.Tensor = tensors.get_tensor(name) if row is None else tensors.get_slice(name)[row]
                return tensor.float()
    raise _random(checkpoint, name)


def load_network(kind: Any, checkpoint: Checkpoint, dtype: torch.dtype, unused: str = "", **options: Any) -> Any:
    """A transformers model of class ``kind``, made with ``options``, with every weight from the checkpoint.

    ``unused``, if not empty, is the prefix of weights that do not matter. Raises WeightsBroken
    naming a weight that would be newly initialised or does not fit.
    """
    model, report = kind.from_pretrained(
        checkpoint.folder, dtype=dtype, local_files_only=True, use_safetensors=True, output_loading_info=True, **options
    )
    for trouble in ("missing_keys", "mismatched_keys"):
        names = sorted(name for name in map(str, report[trouble]) if not _begins(name, unused))
        if names:
            raise _random(checkpoint, names[0])
    return model.eval()


def refuse_random_weights(network: PreTrainedModel, checkpoint: Checkpoint, unused: str = "") -> None:
    """Raise WeightsBroken naming a weight that is not in the checkpoint, of a network loaded by a library.

    ``unused`` as for ``load_network``.
    """
    stored = _stored_names(checkpoint)
    tied = set(getattr(network, "all_tied_weights_keys", None) or ())
    body = f"{network.base_model_prefix}."
    for name, _ in network.named_parameters():
        is_stored = bool(stored & {name, body + name, name.removeprefix(body)})
        if not is_stored and name not in tied and not _begins(name, unused):
            # it may be stored under an older name, which only transformers knows
            load_network(type(network), checkpoint, network.dtype, unused, config=network.config)
            return


def _stored_names(checkpoint: Checkpoint) -> set[str]:
    names: set[str] = set()
    for file in checkpoint.weight_files:
        with safe_open(file, framework="numpy") as tensors:
            names.update(tensors.keys())
    return names


def _begins(name: str, start: str) -> bool:
    return bool(start) and name.startswith(start)


def _random(checkpoint: Checkpoint, name: str) -> WeightsBroken:
    return WeightsBroken(
        f"{checkpoint.folder.name} has no fitting weights for {name}: they would be random, so it is not loaded"
    )

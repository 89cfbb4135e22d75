"""Checkpoint folders: whether they are whole, and their description. Reads headers only."""

from __future__ import annotations

import importlib.util
import os
import stat
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from rerank.catalog.cards import ModelCard
from rerank.catalog.digests import sha256
from rerank.catalog.evidence import Evidence, read_evidence
from rerank.catalog.families import CROSS_ENCODER
from rerank.catalog.folder_files import broken, read_object, read_optional, shown
from rerank.catalog.other_kinds import ADAPTER_CONFIG, ADAPTER_OF_UNKNOWN_USE, adapter_among, quantised_among
from rerank.catalog.ports import Port, find_port
from rerank.catalog.proportions import refuse_other_proportions
from rerank.catalog.recognition import recognised_family
from rerank.catalog.weight_files import check_weight_file, refuse_other_format, tensors, weight_files_in
from rerank.errors import ModelUnsupported
from rerank.text_file import BYTE_ORDER_MARK

_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
_SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
_NO_TOKENIZER = (
    "is missing. If the model was published without it, copy tokenizer.json and tokenizer_config.json from the model "
    "that it was trained from, which its page names"
)
JAPANESE_TOKENIZER = "BertJapaneseTokenizer"
"""A class that reads texts in Python, of which a ``tokenizer.json`` is no copy."""
_AFTER_PADDING = {
    "camembert",
    "data2vec-text",
    "ibert",
    "longformer",
    "luke",
    "mpnet",
    "roberta",
    "roberta-prelayernorm",
    "xlm-roberta",
    "xlm-roberta-xl",
    "xmod",
}
"""Types that count positions from ``padding_idx + 1``."""
_HEADS = ("classifier.", "score.")
_OF_VLLM = ("classifier_from_token", "is_original_qwen3_reranker")
"""Settings by which vLLM makes a classifier of a language model while it loads."""
_POINTER = b"version https://git-lfs"
"""First bytes of a Git LFS file that was not fetched by ``git lfs pull``."""
_TEXTS = (".json", ".txt", ".jinja")


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """The description of a whole checkpoint folder."""

    evidence: Evidence
    family: str
    """Name in ``FAMILIES``."""
    max_positions: int | None
    """Usable tokens by ``config.json``; None if it does not say."""
    weight_files: tuple[Path, ...]

    @property
    def folder(self) -> Path:
        """The folder itself."""
        return self.evidence.folder

    @property
    def architecture(self) -> str:
        """The first architecture in ``config.json``."""
        return self.evidence.architecture

    @property
    def config(self) -> Mapping[str, Any]:
        """``config.json``."""
        return self.evidence.config

    @property
    def weight_bytes(self) -> int:
        """Size of the weights on disk."""
        return sum(file.stat().st_size for file in self.weight_files)


def is_started(folder: Path) -> bool:
    """True if the folder holds something, be it incomplete, or cannot be read."""
    try:
        return any(not entry.name.startswith(".") for entry in folder.iterdir())
    except PermissionError:
        return True
    except (OSError, ValueError):
        return False


def read_checkpoint(folder: Path, card: ModelCard | None = None) -> Checkpoint:
    """Check that the folder holds a whole checkpoint and read its description, as far as the card does not give it.

    Every weight file must be there and as long as its own header says. Raises WeightsBroken naming the file, and
    ModelUnsupported for a model of a kind that this server does not run.
    """
    _check_entries(folder)
    config, port = _read_known_config(folder)
    weight_files = weight_files_in(folder)
    for file in weight_files:
        check_weight_file(file)
    _check_tokenizer(folder)
    _refuse_adapter(folder)
    held = tensors(weight_files)
    # code of its own may read them; it never runs for a card with a prompt
    if "auto_map" not in config or (card and card.prompt):
        _refuse_other_weights(folder, held)
    refuse_other_proportions(folder, config, {name: tensor["shape"] for name, tensor in held.items()})
    evidence = read_evidence(folder, config, _architecture(folder / "config.json", config), port)
    family = recognised_family(evidence, card)
    if family == CROSS_ENCODER:
        _refuse_lost_head(evidence, held, stated=bool(card and card.family))
    return Checkpoint(evidence, family, usable_positions(config), weight_files)


def refuse_other_kinds(folder: Path, card: ModelCard) -> None:
    """Raise ModelUnsupported, or WeightsBroken, where the small files show that the model would not be loaded."""
    _refuse_adapter(folder)
    config, port = _read_known_config(folder)
    recognised_family(read_evidence(folder, config, _architecture(folder / "config.json", config), port), card)
    _check_tokenizer(folder)


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """The tokenizer's settings in ``tokenizer_config.json``. Raises WeightsBroken."""
    return read_object(folder / "tokenizer_config.json")


def usable_positions(config: dict[str, Any]) -> int | None:
    """Tokens a model can read by its ``config.json``.

    The RoBERTa family counts positions from ``padding_idx + 1``, so two of the position embeddings are never used.
    MPNet counts from 2, whatever stands for padding.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    if config.get("model_type") in _AFTER_PADDING:
        padding = 1 if config["model_type"] == "mpnet" else config.get("pad_token_id", 1)
        return positions - (padding if isinstance(padding, int) else 1) - 1
    return positions


def check_sha256(file: Path, expected: str) -> None:
    """Raise WeightsBroken unless the file's sha256 is ``expected``."""
    if not file.is_file():
        raise broken(file, "is missing; a sha256 can only be checked for weights in one file")
    actual = sha256(file)
    if actual != expected:
        raise broken(file, f"has sha256 {actual}, expected {expected}")


def _read_known_config(folder: Path) -> tuple[dict[str, Any], Port | None]:
    """``config.json`` in the words of transformers, and the layout that has other words."""
    config = _read_config(folder)
    port = find_port(config)
    return (port.translate(config) if port else config), port


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        refuse_other_format(folder)
    return read_object(folder / "config.json")


def _check_entries(folder: Path) -> None:
    """Refuse entries that the loading libraries fail on or wait for: pipes, pointers, byte order marks."""
    try:
        with os.scandir(folder) as entries:
            files = sorted(Path(entry.path) for entry in entries)
        for file in files:
            _check_entry(file)
    except OSError as error:
        if not folder.is_dir():
            raise broken(folder / "config.json", "is missing") from error
        raise broken(folder, f"cannot be read ({error.strerror})") from error


def _check_entry(file: Path) -> None:
    try:
        kind = file.stat().st_mode
    except OSError:
        # a link to nothing, or to itself; a later check reports it as missing
        return
    if stat.S_ISDIR(kind):
        return
    if not stat.S_ISREG(kind):
        raise broken(file, "is neither a file nor a folder")
    if file.suffix not in (*_TEXTS, ".model", ".safetensors"):
        return
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_POINTER))
    except OSError as error:
        raise broken(file, f"cannot be read ({error.strerror})") from error
    if start == _POINTER:
        raise broken(file, "is a pointer of Git LFS, not the file itself; run `git lfs pull` where it was cloned")
    if start.startswith(BYTE_ORDER_MARK) and file.suffix in _TEXTS:
        raise broken(file, "begins with a byte order mark; save it as UTF-8 without one")


def _check_tokenizer(folder: Path) -> None:
    if read_optional(folder / "tokenizer_config.json").get("tokenizer_class") == JAPANESE_TOKENIZER:
        if importlib.util.find_spec("fugashi") is None:
            raise ModelUnsupported(
                f"{folder.name} splits words with MeCab (BertJapaneseTokenizer), which needs the packages of the extra "
                "`japanese`. Install them, `pip install fugashi unidic-lite`, or use a reranker for Japanese without "
                "that need, such as hotchpotch/japanese-reranker-base-v2."
            )
        return
    _refuse_phobert(folder)
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return
    found = next((name for name in _SENTENCEPIECE_FILES if (folder / name).is_file()), None)
    if found is None:
        raise broken(folder / "tokenizer.json", _NO_TOKENIZER)
    if importlib.util.find_spec("sentencepiece") is None:
        raise ModelUnsupported(
            f"{shown(folder / 'tokenizer.json')} is missing, and {found} is read only with the package sentencepiece. "
            "Install it, or save the model's tokenizer with AutoTokenizer.from_pretrained(...).save_pretrained(...) "
            "where it is installed."
        )


def _refuse_phobert(folder: Path) -> None:
    named = (read_optional(folder / name).get("tokenizer_class") for name in ("tokenizer_config.json", "config.json"))
    if next(filter(None, named), None) == "PhobertTokenizer" and not (folder / "tokenizer.json").is_file():
        raise ModelUnsupported(
            f"{folder.name} has a tokenizer in Python (PhobertTokenizer), which wants Vietnamese texts whose words are "
            "joined beforehand, and this server joins none. Use a reranker that reads texts as they are, such as "
            "BAAI/bge-reranker-v2-m3."
        )


def _refuse_adapter(folder: Path) -> None:
    """Refuse what libraries load with peft, and from elsewhere, though there are weights."""
    if (folder / ADAPTER_CONFIG).is_file():
        raise ModelUnsupported(f"{folder.name} {ADAPTER_OF_UNKNOWN_USE}")


def _refuse_other_weights(folder: Path, held: Mapping[str, Mapping[str, Any]]) -> None:
    """Refuse weights that would be left out, or be read as other numbers."""
    if sentences := adapter_among(held) or quantised_among(held):
        raise ModelUnsupported(f"{folder.name} {sentences}")


def _refuse_lost_head(evidence: Evidence, held: Mapping[str, Any], *, stated: bool) -> None:
    """Raise ModelUnsupported for a classifier without a head whose files show what else it is."""
    name, architecture = evidence.folder.name, evidence.architecture
    if not architecture.endswith("ForSequenceClassification") or any(_is_head(tensor) for tensor in held):
        return
    if "Pooling" in evidence.kinds and not (evidence.chain_scores or stated):
        raise ModelUnsupported(
            f"{name} names the architecture {architecture} in its config.json, and its weights have no such head; its "
            "modules are those of an embedding model. If it is one, its card in models.toml has to say "
            '`family = "bi-encoder"`.'
        )
    if found := next((setting for setting in _OF_VLLM if evidence.config.get(setting)), None):
        original = architecture.replace("ForSequenceClassification", "ForCausalLM")
        raise ModelUnsupported(
            f"{name} has a setting of vLLM in its config.json ({found}), which makes a classifier of a language model, "
            f'and its weights have no head. Write `"architectures": ["{original}"]` there, as its publisher does.'
        )


def _is_head(tensor: str) -> bool:
    return any(f".{head}" in f".{tensor}" for head in _HEADS)


def _architecture(file: Path, config: dict[str, Any]) -> str:
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise broken(
            file,
            "names no architecture, so nothing says what it is. Write there what its publisher does, such as "
            '`"architectures": ["XLMRobertaForSequenceClassification"]` for a reranker or `["BertModel"]` for an '
            "embedding model.",
        )
    return architectures[0]

"""Checkpoint folders: whether they are whole, and their description. Reads headers only."""

from __future__ import annotations

import hashlib
import importlib.util
import math
import os
import stat
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from rerank.catalog.cards import ModelCard
from rerank.catalog.evidence import Evidence, read_evidence
from rerank.catalog.other_kinds import other_format
from rerank.catalog.ports import Port, find_port
from rerank.catalog.proportions import refuse_other_proportions
from rerank.catalog.recognition import recognised_family
from rerank.errors import ModelUnsupported, WeightsBroken
from rerank.text_file import BYTE_ORDER_MARK, UnfitFile, parse_json, read_json

WEIGHTS_INDEX = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
_HEADER_BYTES = 32_000_000
_JSON_BYTES = 32_000_000
"""Of a configuration or an index; the largest published ones have a few million."""
_NAME_BYTES = 255
_TOKENIZER_FILES = ("tokenizer.json", "vocab.txt", "vocab.json")
_SENTENCEPIECE_FILES = ("sentencepiece.bpe.model", "spiece.model", "spm.model", "tokenizer.model")
JAPANESE_TOKENIZER = "BertJapaneseTokenizer"
"""A class that reads texts in Python, of which a ``tokenizer.json`` is no copy."""
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


def parameters(weight_files: Iterable[Path]) -> int:
    """Numbers in the weights, by the headers of their files."""
    return sum(math.prod(tensor["shape"]) for file in weight_files for tensor in read_header(file)[0].values())


def other_format_in(folder: Path) -> str | None:
    """See ``other_format``."""
    try:
        files = [file.relative_to(folder).as_posix() for file in (*folder.glob("*"), *folder.glob("onnx/*.onnx"))]
    except OSError:
        return None
    return other_format(files)


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
    weight_files = _weight_files(folder)
    for file in weight_files:
        _check_weight_file(file)
    _check_tokenizer(folder)
    refuse_other_proportions(folder, config, _shapes(weight_files))
    evidence = read_evidence(folder, config, _architecture(folder / "config.json", config), port)
    return Checkpoint(evidence, recognised_family(evidence, card), usable_positions(config), weight_files)


def refuse_other_kinds(folder: Path, card: ModelCard) -> None:
    """Raise ModelUnsupported, or WeightsBroken, where the small files show that the model would not be loaded."""
    config, port = _read_known_config(folder)
    recognised_family(read_evidence(folder, config, _architecture(folder / "config.json", config), port), card)
    _check_tokenizer(folder)


def read_tokenizer_config(folder: Path) -> dict[str, Any]:
    """The tokenizer's settings in ``tokenizer_config.json``. Raises WeightsBroken."""
    return _read_json(folder / "tokenizer_config.json")


def usable_positions(config: dict[str, Any]) -> int | None:
    """Tokens a model can read by its ``config.json``.

    The RoBERTa family counts positions from ``padding_idx + 1``, so two of the position embeddings are never used.
    """
    positions = config.get("max_position_embeddings")
    if not isinstance(positions, int):
        return None
    if config.get("model_type") in ("roberta", "xlm-roberta", "camembert", "xlm-roberta-xl"):
        padding = config.get("pad_token_id", 1)
        return positions - (padding if isinstance(padding, int) else 1) - 1
    return positions


def check_sha256(file: Path, expected: str) -> None:
    """Raise WeightsBroken unless the file's sha256 is ``expected``."""
    if not file.is_file():
        raise _broken(file, "is missing; a sha256 can only be checked for weights in one file")
    with file.open("rb") as stream:
        actual = hashlib.file_digest(stream, "sha256").hexdigest()
    if actual != expected:
        raise _broken(file, f"has sha256 {actual}, expected {expected}")


def _read_known_config(folder: Path) -> tuple[dict[str, Any], Port | None]:
    """``config.json`` in the words of transformers, and the layout that has other words."""
    config = _read_config(folder)
    port = find_port(config)
    return (port.translate(config) if port else config), port


def _read_config(folder: Path) -> dict[str, Any]:
    if not (folder / "config.json").is_file():
        _refuse_other_format(folder)
    return _read_json(folder / "config.json")


def _refuse_other_format(folder: Path) -> None:
    """Raise ModelUnsupported if the folder has weights, but not as safetensors."""
    if sentences := other_format_in(folder):
        raise ModelUnsupported(f"{folder.name} {sentences}")


def _weight_files(folder: Path) -> tuple[Path, ...]:
    index = folder / WEIGHTS_INDEX
    # in this order, as transformers chooses
    if index.is_file() and not (folder / WEIGHTS_FILE).is_file():
        return _shards(index)
    if not (folder / WEIGHTS_FILE).is_file():
        _refuse_other_format(folder)
    return (folder / WEIGHTS_FILE,)


def _shards(index: Path) -> tuple[Path, ...]:
    names = _read_json(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise _broken(index, "has no weight_map")
    return tuple(_shard(index, name) for name in sorted({str(name) for name in names.values()}))


def _shard(index: Path, name: str) -> Path:
    """A file that an index names: one of its folder, though it may be a link, as in huggingface_hub's cache."""
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name
    if leaves or not name.isprintable() or path.suffix != ".safetensors":
        raise _broken(index, f"names {name[:80]!r}, which is no safetensors file of the folder")
    if len(name.encode()) > _NAME_BYTES:
        raise _broken(index, f"names a file of {len(name)} letters")
    return index.parent / name


def _check_entries(folder: Path) -> None:
    """Refuse entries that the loading libraries fail on or wait for: pipes, pointers, byte order marks."""
    try:
        with os.scandir(folder) as entries:
            files = sorted(Path(entry.path) for entry in entries)
        for file in files:
            _check_entry(file)
    except OSError as error:
        if not folder.is_dir():
            raise _broken(folder / "config.json", "is missing") from error
        raise _broken(folder, f"cannot be read ({error.strerror})") from error


def _check_entry(file: Path) -> None:
    try:
        kind = file.stat().st_mode
    except OSError:
        # a link to nothing, or to itself; a later check reports it as missing
        return
    if stat.S_ISDIR(kind):
        return
    if not stat.S_ISREG(kind):
        raise _broken(file, "is neither a file nor a folder")
    if file.suffix not in (*_TEXTS, ".model", ".safetensors"):
        return
    try:
        with file.open("rb") as stream:
            start = stream.read(len(_POINTER))
    except OSError as error:
        raise _broken(file, f"cannot be read ({error.strerror})") from error
    if start == _POINTER:
        raise _broken(file, "is a pointer of Git LFS, not the file itself; run `git lfs pull` where it was cloned")
    if start.startswith(BYTE_ORDER_MARK) and file.suffix in _TEXTS:
        raise _broken(file, "begins with a byte order mark; save it as UTF-8 without one")


def _check_tokenizer(folder: Path) -> None:
    if _parse_optional(folder / "tokenizer_config.json").get("tokenizer_class") == JAPANESE_TOKENIZER:
        if importlib.util.find_spec("fugashi") is None:
            raise ModelUnsupported(
                f"{folder.name} splits words with MeCab (BertJapaneseTokenizer), which needs the packages of the extra "
                "`japanese`. Install them, `pip install fugashi unidic-lite`, or use a reranker for Japanese without "
                "that need, such as hotchpotch/japanese-reranker-base-v2."
            )
        return
    if any((folder / name).is_file() for name in _TOKENIZER_FILES):
        return
    found = next((name for name in _SENTENCEPIECE_FILES if (folder / name).is_file()), None)
    if found is None:
        raise _broken(folder / "tokenizer.json", "is missing")
    if importlib.util.find_spec("sentencepiece") is None:
        raise ModelUnsupported(
            f"{_shown(folder / 'tokenizer.json')} is missing, and {found} is read only with the package sentencepiece. "
            "Install it, or save the model's tokenizer with AutoTokenizer.from_pretrained(...).save_pretrained(...) "
            "where it is installed."
        )


def _check_weight_file(file: Path) -> None:
    if not file.is_file():
        raise _broken(file, "is missing")
    try:
        _check_header_length(file)
        # reading the header also compares the file's length with it
        with safe_open(file, framework="numpy") as tensors:
            if not tensors.keys():
                raise _broken(file, "holds no tensors")
    except SafetensorError as error:
        raise _broken(file, f"is corrupt or cut short ({error})") from error
    except OSError as error:
        raise _broken(file, f"cannot be read ({error.strerror})") from error


def _check_header_length(file: Path) -> None:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if length > _HEADER_BYTES:
        raise _broken(file, f"is corrupt or cut short (a header of {length} bytes)")


def _read_json(file: Path) -> dict[str, Any]:
    content = _parse_json(file)
    if not isinstance(content, dict):
        raise _broken(file, "is not a JSON object")
    return content


def _parse_optional(file: Path) -> dict[str, Any]:
    return _read_json(file) if file.is_file() else {}


def _parse_json(file: Path) -> Any:
    try:
        return read_json(file, _JSON_BYTES)
    except UnfitFile as error:
        raise _broken(file, str(error)) from error
    except FileNotFoundError:
        raise _broken(file, "is missing") from None
    except OSError as error:
        raise _broken(file, f"cannot be read ({error.strerror})") from error


def _architecture(file: Path, config: dict[str, Any]) -> str:
    architectures = config.get("architectures")
    if not isinstance(architectures, list) or not architectures or not isinstance(architectures[0], str):
        raise _broken(file, "names no architecture")
    return architectures[0]


def _shown(file: Path) -> str:
    """A path that identifies the file without revealing the server's folders to clients."""
    return f"{file.parent.name}/{file.name}"


def _broken(file: Path, what: str) -> WeightsBroken:
    return WeightsBroken(f"{_shown(file)} {what}")


def _shapes(weight_files: Iterable[Path]) -> dict[str, list[int]]:
    return {name: tensor["shape"] for file in weight_files for name, tensor in read_header(file)[0].items()}


def read_header(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The header's description of each tensor, by name, and where in the file the tensors begin.

    The file was checked before, but may have changed. Raises WeightsBroken.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        try:
            header: dict[str, dict[str, Any]] = parse_json(stream.read(min(length, _HEADER_BYTES)))
        except UnfitFile as error:
            raise _broken(file, f"is corrupt or cut short ({error})") from error
    header.pop("__metadata__", None)
    return header, _LENGTH_BYTES + length

"""Weights of a checkpoint folder: which files they are, whether they are whole, and what their headers say."""

from __future__ import annotations

import math
from collections.abc import Iterable
from pathlib import Path, PurePosixPath
from typing import Any

from safetensors import SafetensorError, safe_open

from rerank.catalog.evidence import read_modules
from rerank.catalog.folder_files import broken, read_object
from rerank.catalog.other_kinds import other_format, other_modules
from rerank.errors import ModelUnsupported
from rerank.text_file import UnfitFile, parse_json

WEIGHTS_INDEX = "model.safetensors.index.json"
WEIGHTS_FILE = "model.safetensors"
_LENGTH_BYTES = 8
"""A safetensors file begins with the length of its header."""
_HEADER_BYTES = 32_000_000
_NAME_BYTES = 255


def weight_files_in(folder: Path) -> tuple[Path, ...]:
    """The files that the weights are read from, which may be missing. Raises ModelUnsupported and WeightsBroken."""
    index = folder / WEIGHTS_INDEX
    # in this order, as transformers chooses
    if index.is_file() and not (folder / WEIGHTS_FILE).is_file():
        return _shards(index)
    if not (folder / WEIGHTS_FILE).is_file():
        refuse_other_format(folder)
    return (folder / WEIGHTS_FILE,)


def refuse_other_format(folder: Path) -> None:
    """Raise ModelUnsupported if the folder has weights, but not as safetensors."""
    if sentences := other_format_in(folder):
        raise ModelUnsupported(f"{folder.name} {sentences}")


def other_format_in(folder: Path) -> str | None:
    """See ``other_format``. Raises WeightsBroken naming a file that makes no sense."""
    try:
        files = [file.relative_to(folder).as_posix() for file in (*folder.glob("*"), *folder.glob("*/*"))]
    except OSError:
        return None
    return other_format(files) or other_modules(module.kind for module in read_modules(folder))


def _shards(index: Path) -> tuple[Path, ...]:
    names = read_object(index).get("weight_map")
    if not isinstance(names, dict) or not names:
        raise broken(index, "has no weight_map")
    return tuple(_shard(index, name) for name in sorted({str(name) for name in names.values()}))


def _shard(index: Path, name: str) -> Path:
    """A file that an index names: one of its folder, though it may be a link, as in huggingface_hub's cache."""
    path = PurePosixPath(name)
    leaves = path.is_absolute() or ".." in path.parts or "\\" in name
    if leaves or not name.isprintable() or path.suffix != ".safetensors":
        raise broken(index, f"names {name[:80]!r}, which is not a safetensors file of the folder")
    if len(name.encode()) > _NAME_BYTES:
        raise broken(index, f"names a file of {len(name)} letters")
    return index.parent / name


def parameters(weight_files: Iterable[Path]) -> int:
    """Numbers in the weights, by the headers of their files."""
    return sum(math.prod(tensor["shape"]) for file in weight_files for tensor in read_header(file)[0].values())


def check_weight_file(file: Path) -> None:
    """Raise WeightsBroken unless the file is as long as its own header says."""
    if not file.is_file():
        raise broken(file, "is missing")
    try:
        _check_header_length(file)
        # reading the header also compares the file's length with it
        with safe_open(file, framework="numpy") as tensors:
            if not tensors.keys():
                raise broken(file, "holds no tensors")
    except SafetensorError as error:
        raise broken(file, f"is corrupt or cut short ({error})") from error
    except OSError as error:
        raise broken(file, f"cannot be read ({error.strerror})") from error


def _check_header_length(file: Path) -> None:
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
    if length > _HEADER_BYTES:
        raise broken(file, f"is corrupt or cut short (a header of {length} bytes)")


def shapes(weight_files: Iterable[Path]) -> dict[str, list[int]]:
    """The shape of each tensor, by name."""
    return {name: tensor["shape"] for name, tensor in tensors(weight_files).items()}


def tensors(weight_files: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """What the headers say of each tensor, by name."""
    return {name: tensor for file in weight_files for name, tensor in read_header(file)[0].items()}


def read_header(file: Path) -> tuple[dict[str, dict[str, Any]], int]:
    """The header's description of each tensor, by name, and where in the file the tensors begin.

    The file was checked before, but may have changed. Raises WeightsBroken.
    """
    with file.open("rb") as stream:
        length = int.from_bytes(stream.read(_LENGTH_BYTES), "little")
        try:
            header: dict[str, dict[str, Any]] = parse_json(stream.read(min(length, _HEADER_BYTES)))
        except UnfitFile as error:
            raise broken(file, f"is corrupt or cut short ({error})") from error
    header.pop("__metadata__", None)
    return header, _LENGTH_BYTES + length

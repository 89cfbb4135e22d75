"""Weights that are pickles: which files they are, and where the Hub has them as safetensors. Unpickles nothing."""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path, PurePosixPath

_ONE = "pytorch_model.bin"
_PART = re.compile(r"^pytorch_model-\d{5}-of-\d{5}\.bin$")


def pickled_weights(files: Iterable[str]) -> tuple[str, ...]:
    """Of the paths, in the folder or one of its folders, the pickles that have no safetensors next to them."""
    paths = [PurePosixPath(file) for file in files]
    safe = {path.parent for path in paths if path.suffix == ".safetensors"}
    folders = sorted({path.parent for path in paths} - safe)
    return tuple(str(path) for folder in folders for path in _set_in(folder, paths))


def pickles_in(folder: Path) -> tuple[Path, ...]:
    """The same of a folder on this disk."""
    found = (file.relative_to(folder).as_posix() for file in (*folder.glob("*"), *folder.glob("*/*")))
    return tuple(folder / path for path in pickled_weights(found))


def safe_name(pickle: str) -> str:
    """Name of the file for a pickle's tensors."""
    return pickle.replace("pytorch_model", "model").removesuffix(".bin") + ".safetensors"


def _set_in(folder: PurePosixPath, paths: list[PurePosixPath]) -> Iterator[PurePosixPath]:
    """One file, or all its parts."""
    if folder / _ONE in paths:
        yield folder / _ONE
        return
    yield from sorted(path for path in paths if path.parent == folder and _PART.match(path.name))

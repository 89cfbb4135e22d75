"""Conversion of pickled weights to safetensors. Only tensors are read; a pickle that asks for more is refused."""

from __future__ import annotations

import json
import os
import pickle  # nosec B403  # for its error alone
import re
import zipfile
from collections.abc import Iterable, Mapping
from pathlib import Path

import torch
from safetensors import SafetensorError
from safetensors.torch import save_file

from rerank.catalog.folder_files import broken
from rerank.catalog.pickles import pickles_in, safe_name
from rerank.catalog.weight_files import WEIGHTS_FILE, WEIGHTS_INDEX
from rerank.devices import free_memory, is_out_of_memory
from rerank.errors import WeightsBroken
from rerank.scorers.library_errors import shown_error
from rerank.units import human_size

_GLOBAL = re.compile(r"GLOBAL ([\w.]+)")
"""The name that a pickle asks for, in torch's message."""
_OS_ERROR = re.compile(r"os error (\d+)")
_UNFINISHED = ".unfinished"


def convert_pickles(folder: Path) -> tuple[Path, ...]:
    """Write the tensors of each pickle in the folder next to it, and return the pickles, which stay.

    A file appears whole or not at all, and what names the parts of a set appears last. Raises WeightsBroken for a
    pickle that holds anything but tensors, and OSError where the disk is full.
    """
    pickles = pickles_in(folder)
    for parent in dict.fromkeys(file.parent for file in pickles):
        _convert_set([file for file in pickles if file.parent == parent], parent)
    return pickles


def _convert_set(pickles: Iterable[Path], folder: Path) -> None:
    places: dict[str, str] = {}
    for file in pickles:
        tensors = _apart(_read(file), file)
        target = safe_name(file.name)
        _write(tensors, folder / target)
        places |= dict.fromkeys(tensors, target)
    if set(places.values()) != {WEIGHTS_FILE}:
        index = json.dumps({"metadata": {}, "weight_map": places}, indent=1)
        unfinished = folder / (WEIGHTS_INDEX + _UNFINISHED)
        unfinished.write_text(index + "\n", encoding="utf-8")
        unfinished.replace(folder / WEIGHTS_INDEX)


def _read(file: Path) -> object:
    """What the pickle holds, read by torch's unpickler of tensors, which calls nothing that a file names."""
    zipped = zipfile.is_zipfile(file)
    if zipped:
        _refuse_compressed(file)
    elif (size := file.stat().st_size) > (free := free_memory("cpu")):
        raise broken(
            file,
            f"has {human_size(size)} and is of an old format that has to fit into memory, where "
            f"{human_size(free)} are free. Convert it on a machine with more.",
        )
    try:
        return torch.load(file, map_location="cpu", weights_only=True, mmap=zipped)  # nosec B614
    except pickle.UnpicklingError as error:
        raise _unsafe(file, str(error)) from error
    except Exception as error:
        # errors over a broken file have no common class
        if is_out_of_memory(error):
            raise broken(file, "does not fit into memory. Convert it on a machine with more.") from error
        raise broken(file, f"is corrupt or cut short ({shown_error(error, file.parent)})") from error


def _unsafe(file: Path, told: str) -> WeightsBroken:
    found = _GLOBAL.search(told)
    if found is None:
        return broken(file, "is not a pickle of tensors: it is corrupt, or of another kind")
    return broken(
        file,
        f"holds more than weights: it names {found[1]}, and to read such a pickle is to run what it "
        "names. It was not converted, and nothing of it ran. Use safetensors of this model, or another model.",
    )


def _refuse_compressed(file: Path) -> None:
    """Raise WeightsBroken for an archive that torch did not write: small ones may unfold without end."""
    try:
        with zipfile.ZipFile(file) as archive:
            stored = all(entry.compress_type == zipfile.ZIP_STORED for entry in archive.infolist())
    except (zipfile.BadZipFile, ValueError, NotImplementedError) as error:
        raise broken(file, f"is corrupt or cut short ({error})") from error
    if not stored:
        raise broken(file, "is a compressed archive, which torch does not write: it is not read")


def _apart(content: object, file: Path) -> dict[str, torch.Tensor]:
    """The tensors by name, each with memory of its own: safetensors has no word for those that share it."""
    if not isinstance(content, Mapping) or not content or not all(map(_is_plain, content.values())):
        raise broken(file, "holds no table of tensors by name, as models of transformers have")
    seen: set[int] = set()
    tensors = {}
    for name, value in content.items():
        tensor = value.detach().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        tensors[str(name)] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return tensors


def _is_plain(value: object) -> bool:
    return isinstance(value, torch.Tensor) and value.layout == torch.strided and not value.is_quantized


def _write(tensors: dict[str, torch.Tensor], target: Path) -> None:
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        save_file(tensors, unfinished, {"format": "pt"})
        unfinished.replace(target)
    except SafetensorError as error:
        if found := _OS_ERROR.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(target)) from error
        raise broken(target, f"cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)

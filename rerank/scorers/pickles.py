"""Conversion of pickled weights to safetensors. Only tensors are read; a pickle that asks for more is refused."""

from __future__ import annotations

import json
import os
import pickle  # nosec B403  # for its error alone
import re
import zipfile
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
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
_METADATA = "__metadata__"
"""The one name that safetensors keep for themselves."""
_FLOATS = (torch.float64, torch.float32, torch.float16, torch.bfloat16)
_NUMBERS = {*_FLOATS, torch.int64, torch.int32, torch.int16, torch.int8, torch.uint8, torch.bool}
_PERMISSIONS = 0o777
_NAMES = 4
"""Names that a table of words has in a model: the shared one, the encoder's, the decoder's and the head's."""


def convert_pickles(folder: Path) -> tuple[Path, ...]:
    """Write the tensors of each pickle in the folder next to it, and return the pickles, which stay.

    A file appears whole, and what names the parts of a set appears last; an error leaves none of them. Raises
    WeightsBroken for a pickle that holds anything but weights, and OSError where the disk is full.
    """
    pickles = pickles_in(folder)
    with ExitStack() as undo:
        for parent in dict.fromkeys(file.parent for file in pickles):
            _convert_set([file for file in pickles if file.parent == parent], parent, undo)
        undo.pop_all()
    return pickles


def _convert_set(pickles: Iterable[Path], folder: Path, undo: ExitStack) -> None:
    places: dict[str, str] = {}
    for file in pickles:
        target = safe_name(file.name)
        undo.callback((folder / target).unlink, missing_ok=True)
        with _explaining(file):
            tensors = _apart(_read(file), file)
            _write(tensors, folder / target, file)
        places |= dict.fromkeys(tensors, target)
    if set(places.values()) != {WEIGHTS_FILE}:
        index = json.dumps({"metadata": {}, "weight_map": places}, indent=1)
        unfinished = folder / (WEIGHTS_INDEX + _UNFINISHED)
        for file in (unfinished, folder / WEIGHTS_INDEX):
            undo.callback(file.unlink, missing_ok=True)
        unfinished.write_text(index + "\n", encoding="utf-8")
        unfinished.replace(folder / WEIGHTS_INDEX)


@contextmanager
def _explaining(file: Path) -> Iterator[None]:
    """Turn what torch raises over tensors into WeightsBroken."""
    try:
        yield
    except RuntimeError as error:
        raise _failed(file, "cannot be converted", error) from error


def _failed(file: Path, what: str, error: Exception) -> WeightsBroken:
    if is_out_of_memory(error):
        return broken(file, "does not fit into memory. Convert it on a machine with more.")
    return broken(file, f"{what} ({shown_error(error, file.parent)})")


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
        raise _failed(file, "is corrupt or cut short", error) from error


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
    seen: set[int] = set()
    tensors = {}
    for name, value in _table(content, file).items():
        tensor = value.detach().contiguous()
        memory = tensor.untyped_storage().data_ptr()
        tensors[name] = tensor.clone() if memory in seen else tensor
        seen.add(memory)
    return tensors


def _table(content: object, file: Path) -> Mapping[str, torch.Tensor]:
    """The content, if it is weights that take about as many bytes as their pickle. Raises WeightsBroken."""
    table = "holds no table of tensors by name, as models of transformers have"
    if not isinstance(content, Mapping) or not content:
        raise broken(file, table)
    for name, value in content.items():
        if not (_is_name(name) and _is_plain(value)):
            raise broken(file, f"{table}: {str(name)[:80]!a} is no tensor that this server reads")
    needed, held = sum(value.nbytes for value in content.values()), file.stat().st_size
    if needed > _NAMES * held:
        raise broken(
            file, f"has {human_size(held)}, but its tensors would take {human_size(needed)}: they are no weights"
        )
    return content


def _is_name(name: object) -> bool:
    # surrogates, which JSON cannot hold, are not printable
    return isinstance(name, str) and name.isprintable() and name != _METADATA


def _is_plain(value: object) -> bool:
    """True for numbers in memory, in an order and a format that safetensors have and models are read in."""
    if not isinstance(value, torch.Tensor) or value.is_nested or value.is_neg():
        return False
    return value.layout == torch.strided and value.device.type == "cpu" and value.dtype in _NUMBERS


def _write(tensors: dict[str, torch.Tensor], target: Path, pickled: Path) -> None:
    """Write a file with the permissions of the pickle."""
    unfinished = target.with_name(target.name + _UNFINISHED)
    try:
        save_file(tensors, unfinished, {"format": "pt"})
        # safetensors would let only the owner read it
        unfinished.chmod(pickled.stat().st_mode & _PERMISSIONS)
        unfinished.replace(target)
    except SafetensorError as error:
        if found := _OS_ERROR.search(str(error)):
            raise OSError(int(found[1]), os.strerror(int(found[1])), str(target)) from error
        raise broken(target, f"cannot be written: {error}") from error
    finally:
        unfinished.unlink(missing_ok=True)

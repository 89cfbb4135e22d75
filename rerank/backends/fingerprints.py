"""Fingerprints of models: equal ones score alike, also after a restart and on another machine."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, Any

import rerank
from rerank.activations import Activation
from rerank.catalog.cards import ModelCard
from rerank.catalog.checkpoint import Checkpoint
from rerank.catalog.weight_files import read_header

_DESCRIPTIONS = (".json", ".txt", ".model", ".jinja", ".py")
"""Endings of files that say how a model reads texts and computes."""
_WEIGHTS = ".safetensors"
_SAMPLES = 8
_SAMPLE_BYTES = 512

Stamps = Mapping[Path, tuple[int, int, int] | None]
"""Of each file its size, the time of its last change, and which file it is; None if it cannot be read."""


def fingerprint(card: ModelCard, *facts: object) -> str:
    """The fingerprint of a model: its card, this server's version, and further ``facts`` that scores depend on.

    The folder of the weights is not part of it, because their contents should be among the facts.
    """
    return _digest([rerank.__version__, card.loaded_by(), facts])


def weights_fingerprint(card: ModelCard, activation: Activation, *facts: object) -> str:
    """The fingerprint of weights and of how their scores come about, whichever machine and server version computes.

    For calibrations, which hold until a model scores in another way. What a card says and what its checkpoint says
    otherwise count alike. ``facts``: what says which weights they are, and of which family.
    """
    read = {name: value for name, value in card.loaded_by().items() if name in _READ_BY}
    return _digest([read, activation.name, activation.scale, facts])


_READ_BY = {"instruction", "prompt", "labels", "special_tokens_in_text", "normalize"}
"""Fields of a card that decide how scores come about; others differ by machine, or matter for long texts only."""


def stamps_of(checkpoint: Checkpoint) -> Stamps:
    """Stamps of the files that a model is loaded from; other stamps mean other contents."""
    return {file: _stamp(file) for file in _files(checkpoint)}


def contents_of(checkpoint: Checkpoint) -> str:
    """A digest of the files that a model is loaded from: small ones whole, of weights samples of each tensor.

    Takes milliseconds, where reading all weights takes seconds: training changes a tensor everywhere. Raises OSError
    and WeightsBroken.
    """
    digest = hashlib.blake2b(digest_size=16)
    for file in _files(checkpoint):
        digest.update(f"\0{file.relative_to(checkpoint.folder).as_posix()}\0{file.stat().st_size}\0".encode())
        parts = _samples(file) if file.suffix == _WEIGHTS else [file.read_bytes()]
        for part in parts:
            digest.update(part)
    return digest.hexdigest()


def _files(checkpoint: Checkpoint) -> Sequence[Path]:
    """Files of the folder and its modules' folders."""
    folder = checkpoint.folder
    near = [file for pattern in ("[!.]*", "[!.]*/[!.]*") for file in folder.glob(pattern) if file.is_file()]
    described = {file for file in near if file.suffix in _DESCRIPTIONS}
    of_modules = {file for file in near if file.suffix == _WEIGHTS and file.parent != folder}
    return sorted(described | of_modules | set(checkpoint.weight_files))


def _stamp(file: Path) -> tuple[int, int, int] | None:
    try:
        found = file.stat()
    except OSError:
        return None
    return found.st_size, found.st_mtime_ns, found.st_ino


def _samples(file: Path) -> Iterator[bytes]:
    tensors, start = read_header(file)
    yield json.dumps(tensors, sort_keys=True).encode()
    with file.open("rb") as stream:
        for tensor in tensors.values():
            begin, end = tensor["data_offsets"]
            yield from _samples_between(stream, start + begin, start + end)


def _samples_between(stream: IO[bytes], begin: int, end: int) -> Iterator[bytes]:
    """A small tensor whole; of a large one evenly spread stretches, the first and the last among them."""
    last = max(begin, end - _SAMPLE_BYTES)
    whole = end - begin <= _SAMPLES * _SAMPLE_BYTES
    places = [begin] if whole else [begin + (last - begin) * number // (_SAMPLES - 1) for number in range(_SAMPLES)]
    for place in places:
        stream.seek(place)
        yield stream.read(end - begin if whole else _SAMPLE_BYTES)


def _digest(described: object) -> str:
    content = json.dumps(described, sort_keys=True, default=_plain)
    return hashlib.blake2b(content.encode(), digest_size=16).hexdigest()


def _plain(value: Any) -> str:
    """A function by its name, because its address differs in each process."""
    return str(getattr(value, "__qualname__", value))

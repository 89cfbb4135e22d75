"""Outputs: a file that grows under another name and gets its own when it is whole, or a stream."""

from __future__ import annotations

import hashlib
import io
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import IO

from filelock import FileLock, Timeout

from rerank.errors import SettingsError
from rerank.evaluation.bulk.items import Done

STREAM = "-"


@dataclass(frozen=True, slots=True)
class Output:
    """An open output."""

    write: Callable[[str], None]
    """Write, and let it be seen at once. Raises OSError."""
    done: Done
    """What an earlier run wrote."""


def check_output(path: str, *, force: bool) -> None:
    """Raise SettingsError if the output would replace a file without ``force``, or has no folder."""
    target = Path(path)
    if path == STREAM:
        return
    if target.is_file() and not force:
        raise SettingsError(f"{target} exists; name another output, or add --force to replace it")
    if not target.parent.is_dir():
        raise SettingsError(f"{target.parent} is not a folder")


@contextmanager
def opened(path: str, run: str, done_in: Callable[[IO[bytes]], Done], *, force: bool) -> Iterator[Output]:
    """An output that goes on where an earlier run of the same name ended, unless ``force``; or a stream.

    Raises SettingsError and OSError.
    """
    if path == STREAM:
        yield Output(_to_stdout, Done())
        return
    target = Path(path)
    if target.exists() and not target.is_file():
        # a device or a pipe
        with target.open("wb", buffering=0) as stream:
            yield Output(lambda text: _write_all(stream, text), Done())
        return
    with _grown(target, part_of(target, run), done_in, force=force) as output:
        yield output


def part_of(target: Path, run: str) -> Path:
    """The name under which an output grows. That of another run is another."""
    return target.with_name(f"{target.name}.{run}.part")


@contextmanager
def _grown(target: Path, part: Path, done_in: Callable[[IO[bytes]], Done], *, force: bool) -> Iterator[Output]:
    with _alone(part):
        with part.open("w+b" if force else "a+b") as stream:
            stream.seek(0)
            done = done_in(stream)
            # an item that breaks off
            stream.truncate(done.offset)
            stream.seek(done.offset)

            def write(text: str) -> None:
                stream.write(text.encode())
                stream.flush()

            yield Output(write, done)
        part.replace(target)


@contextmanager
def _alone(part: Path) -> Iterator[None]:
    """Refuse to write what another process writes."""
    lock = FileLock(f"{part}.lock")
    try:
        lock.acquire(timeout=0)
    except Timeout as error:
        raise SettingsError(f"another process writes {part}") from error
    try:
        yield
    finally:
        lock.release()
        Path(lock.lock_file).unlink(missing_ok=True)


def _to_stdout(text: str) -> None:
    with io.FileIO(1, "wb", closefd=False) as stream:
        _write_all(stream, text)


def _write_all(stream: io.FileIO, text: str) -> None:
    """Without a buffer: what cannot be written any more is not left over for the end of the process."""
    content = memoryview(text.encode())
    while content:
        content = content[stream.write(content) or 0 :]


def name_of(*facts: object) -> str:
    """A name for runs with these facts."""
    return hashlib.blake2b(repr(facts).encode(), digest_size=4).hexdigest()

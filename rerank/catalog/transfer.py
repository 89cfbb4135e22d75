"""Download of one file from the Hub: resumable, also by a later process, and verified by its hash.

huggingface_hub's own downloader throws a partial file away when it is interrupted, which at 2 GB in one file means
starting over; so only its session, its headers and its errors are used here. Plain HTTP needs nothing of a mirror but
``/resolve``.
"""

from __future__ import annotations

import hashlib
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from http import HTTPStatus
from pathlib import Path

import httpx2
from huggingface_hub.errors import HfHubHTTPError

from rerank.catalog.failures import CorruptFile
from rerank.catalog.session import answer

_TIMEOUT = 15.0
_HASHED_AT_ONCE = 1 << 20
_PASSING = (408, 429, 500, 502, 503, 504)


@dataclass(frozen=True, slots=True)
class RemoteFile:
    """A file of a repository as the Hub describes it. ``size`` is in bytes."""

    path: str
    size: int
    sha256: str | None
    """Of the content; None for a small file that lies in git itself."""
    git_sha1: str
    """Of the git blob; for a file with a sha256 that blob is only a pointer."""


@dataclass(frozen=True, slots=True)
class Patience:
    """When a connection is given up, and when the whole download."""

    retry_delays: tuple[float, ...] = (0.3, 1.0, 2.0, 4.0)
    """Seconds before each retry of a connection without progress; the download fails after the last one."""
    progress_bytes: int = 1 << 20
    """Bytes a connection has to bring before it breaks to count as progress."""
    pace_seconds: float = 60.0
    pace_bytes: int = 64_000
    """A connection that brings less in that time is given up like one that broke."""
    answer_seconds: float = 60.0
    """A connection whose answer has not begun by then is given up, too."""


PATIENCE = Patience()


def transfer(
    url: str,
    file: RemoteFile,
    target: Path,
    report: Callable[[int], None],
    token: str | None = None,
    patience: Patience = PATIENCE,
) -> None:
    """Bring ``file`` to ``target``, resuming what an earlier run left next to it.

    ``report`` gets the number of bytes each step added (or, negative, threw away). Raises CorruptFile, after deleting
    the bytes, where size or hash differ; HfHubHTTPError, OfflineModeIsEnabled, httpx2.HTTPError and OSError as they
    come, the partial file being kept.
    """
    if target.is_file():
        if _matches(file, target):
            report(file.size)
            return
        target.unlink()
    part = part_of(target, file)
    part.parent.mkdir(parents=True, exist_ok=True)
    part.touch()
    report(part.stat().st_size)
    try:
        _Transfer(url, file, part, report, token, patience).complete()
        if not _matches(file, part):
            raise CorruptFile(file.path)
    except CorruptFile:
        part.unlink()
        raise
    part.replace(target)


def part_of(target: Path, file: RemoteFile) -> Path:
    """Path of an unfinished file. The hash in its name keeps two versions of a file from being joined."""
    return target.with_name(f"{target.name}.{(file.sha256 or file.git_sha1)[:16]}.part")


@dataclass(frozen=True, slots=True)
class _Transfer:
    url: str
    file: RemoteFile
    part: Path
    report: Callable[[int], None]
    token: str | None
    patience: Patience

    def complete(self) -> None:
        """Request what is missing until the file is complete, or until patience ends."""
        fruitless, delays = 0, self.patience.retry_delays
        while (held := self.part.stat().st_size) < self.file.size:
            try:
                self._append(held)
            except (httpx2.TransportError, HfHubHTTPError) as error:
                if isinstance(error, HfHubHTTPError) and error.response.status_code not in _PASSING:
                    raise
                came = self.part.stat().st_size - held
                fruitless = 0 if came >= self.patience.progress_bytes else fruitless + 1
                if fruitless > len(delays):
                    raise
                time.sleep(delays[max(fruitless - 1, 0)])

    def _append(self, held: int) -> None:
        """Ask once for the bytes from ``held`` on. Raises RemoteProtocolError if the answer ends early."""
        wanted = {"Range": f"bytes={held}-"} if held else {}
        with answer(self.url, self.token, _TIMEOUT, self.patience.answer_seconds, **wanted) as response:
            if response.status_code == HTTPStatus.REQUESTED_RANGE_NOT_SATISFIABLE:
                raise CorruptFile(self.file.path)
            if response.status_code != HTTPStatus.PARTIAL_CONTENT and held:
                # the server ignores ranges and sends everything again
                self.report(-held)
                held = 0
            with self.part.open("ab" if held else "wb") as stream:
                for chunk in self._paced(response.iter_raw()):
                    stream.write(chunk)
                    held += len(chunk)
                    self.report(len(chunk))
                    if held > self.file.size:
                        raise CorruptFile(self.file.path)
        if held < self.file.size:
            raise httpx2.RemoteProtocolError("the answer ended early")

    def _paced(self, chunks: Iterator[bytes]) -> Iterator[bytes]:
        """The same chunks. Raises ReadTimeout where they trickle in, as they could for ever."""
        wanted, seconds = self.patience.pace_bytes, self.patience.pace_seconds
        since, came = time.monotonic(), 0
        for chunk in chunks:
            yield chunk
            came += len(chunk)
            if time.monotonic() - since > seconds:
                if came < wanted:
                    raise httpx2.ReadTimeout(f"less than {wanted} bytes came in {seconds:g} s")
                since, came = time.monotonic(), 0


def _matches(file: RemoteFile, local: Path) -> bool:
    """True if the local file has the size and the hash that the Hub states."""
    if local.stat().st_size != file.size:
        return False
    with local.open("rb") as stream:
        if file.sha256:
            return hashlib.file_digest(stream, "sha256").hexdigest() == file.sha256
        # what git calls a file; it guards against broken transfers, as in git itself
        blob = hashlib.sha1(b"blob %d\0" % file.size, usedforsecurity=False)
        while chunk := stream.read(_HASHED_AT_ONCE):
            blob.update(chunk)
        return blob.hexdigest() == file.git_sha1

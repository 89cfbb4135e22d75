"""Decoder of chunked request bodies that keeps neither chunk extensions nor trailers."""

from __future__ import annotations

import re

MAX_LINE_BYTES = 1024
"""Maximum of a chunk's size line, extensions included."""
MAX_TRAILER_BYTES = 8192
"""Maximum of all trailers together."""
_FREE_CHUNKS = 10_000
_SMALLEST_CHUNK = 16
"""Minimum average bytes of a chunk once there are many: each costs as much time as a large one."""
_SIZE_LINE = re.compile(rb"([0-9A-Fa-f]{1,15})[ \t]*(?:;[^\r\n]*)?")
_END = b"\r\n"


class MalformedChunks(Exception):
    """The chunks violate HTTP or a limit."""


class Dechunker:
    """Decoder of one body. httptools collects trailers without a limit, therefore it sees no chunked body here."""

    def __init__(self) -> None:
        self.done = False
        """True once the message is complete."""
        self._line = b""
        """The incomplete line."""
        self._left = 0
        """Outstanding bytes of the chunk, its line end included."""
        self._trailer_bytes: int | None = None
        """None before the last chunk."""
        self._chunks = self._bytes = 0

    def feed(self, data: bytes) -> tuple[bytes, bytes]:
        """The part of the body in the data, and what follows the message. Raises MalformedChunks."""
        parts: list[bytes] = []
        position = 0
        while position < len(data) and not self.done:
            position = self._take_data(data, position, parts) if self._left else self._take_line(data, position)
        return b"".join(parts), data[position:]

    def _take_data(self, data: bytes, position: int, parts: list[bytes]) -> int:
        body = data[position : position + max(0, self._left - len(_END))]
        behind = data[position + len(body) : position + self._left]
        if not _END.startswith(behind, max(0, len(_END) - self._left)):
            raise MalformedChunks("a chunk is longer than it says")
        parts.append(body)
        taken = len(body) + len(behind)
        self._left -= taken
        return position + taken

    def _take_line(self, data: bytes, position: int) -> int:
        end = data.find(b"\n", position)
        stop = len(data) if end < 0 else end + 1
        if len(self._line) + stop - position > self._longest_line():
            raise MalformedChunks("a chunk's head or the trailers are too long")
        self._line += data[position:stop]
        if end >= 0:
            line, self._line = self._line, b""
            self._take_whole_line(line)
        return stop

    def _longest_line(self) -> int:
        return MAX_LINE_BYTES if self._trailer_bytes is None else MAX_TRAILER_BYTES - self._trailer_bytes

    def _take_whole_line(self, line: bytes) -> None:
        if self._trailer_bytes is not None:
            self._trailer_bytes += len(line)
            self.done = line == _END
            return
        match = _SIZE_LINE.fullmatch(line[:-2]) if line.endswith(_END) else None
        if match is None:
            raise MalformedChunks("a chunk does not say its size")
        size = int(match[1], 16)
        if not size:
            self._trailer_bytes = 0
            return
        self._left = size + len(_END)
        self._chunks += 1
        self._bytes += size
        if self._chunks > _FREE_CHUNKS + self._bytes // _SMALLEST_CHUNK:
            raise MalformedChunks("the chunks are too small")

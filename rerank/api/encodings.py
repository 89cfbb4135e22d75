"""Decoder of compressed request bodies, a bounded piece at a time."""

from __future__ import annotations

import zlib

from rerank.errors import InvalidRequest, UnknownEncoding

ACCEPTED = "gzip, deflate"
_PIECE_BYTES = 262_144
"""Decoded at once, however much a few bytes would unpack to."""
_GIVEN_BYTES = 65_536
"""Given to zlib at once: it copies what it leaves."""
_MAX_MEMBERS = 1000
"""Of a gzip body; empty ones cost time and unpack to nothing."""
_GZIP, _ZLIB, _RAW = 31, 15, -15
_SHOWN = 40


def decoder_for(coding: str) -> Decoder | None:
    """The decoder for a Content-Encoding; None where there is nothing to decode. Raises UnknownEncoding."""
    match coding.strip().lower():
        case "" | "identity":
            return None
        case "gzip" | "x-gzip":
            return Decoder("gzip")
        case "deflate":
            return Decoder("deflate")
    raise UnknownEncoding(
        f"Content-Encoding {coding[:_SHOWN]!a} is not supported. Send the body as {ACCEPTED}, or without an encoding."
    )


class Decoder:
    """Decoder of one body."""

    def __init__(self, coding: str) -> None:
        self._coding = coding
        self._waiting = memoryview(b"")
        """Received and not yet decoded."""
        self._more = False
        """True if zlib may hold what did not fit into the last piece."""
        self._decoding: zlib._Decompress | None = None
        self._members = 0

    def put(self, data: bytes) -> None:
        """Add received bytes. All earlier pieces must have been taken out."""
        self._waiting = memoryview(data)

    def take(self) -> bytes:
        """The next piece; empty if more bytes are needed. Raises InvalidRequest."""
        while self._waiting or self._more:
            decoding = self._member()
            given = self._waiting[:_GIVEN_BYTES]
            try:
                piece = decoding.decompress(given, _PIECE_BYTES)
            except zlib.error as error:
                raise self._broken() from error
            self._waiting = self._waiting[len(given) - len(decoding.unconsumed_tail or decoding.unused_data) :]
            self._more = len(piece) == _PIECE_BYTES and not decoding.eof
            if piece:
                return piece
        return b""

    def end(self) -> None:
        """End the body. Raises InvalidRequest if something is missing."""
        if self._decoding is not None and not self._decoding.eof:
            raise self._broken()

    def _member(self) -> zlib._Decompress:
        """What decodes the bytes that wait: gzip may have several members. Raises InvalidRequest."""
        if self._decoding is None or (self._decoding.eof and self._coding == "gzip"):
            self._members += 1
            if self._members > _MAX_MEMBERS:
                raise InvalidRequest(f"The body is gzip of more than {_MAX_MEMBERS} members. Send it as one.")
            self._decoding = zlib.decompressobj(self._window(self._waiting[0]))
        elif self._decoding.eof:
            raise self._broken()
        return self._decoding

    def _window(self, first: int) -> int:
        if self._coding == "gzip":
            return _GZIP
        # deflate means zlib's format, but some send it bare
        return _ZLIB if first & 0x0F == 8 and first >> 4 <= 7 else _RAW

    def _broken(self) -> InvalidRequest:
        return InvalidRequest(f"The body is not what its Content-Encoding says: {self._coding}.")

"""Chunked bodies: decoded from pieces of any size, and refused beyond limits."""

from __future__ import annotations

from itertools import pairwise

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.server.chunked import MAX_LINE_BYTES, MAX_TRAILER_BYTES, Dechunker, MalformedChunks

MESSAGE = b"5;name=value\r\nhello\r\nA \t\r\n, world...\r\n0\r\nX: y\r\nZ: \r\n\r\n"
BODY = b"hello, world..."


def fed(data: bytes, cuts: list[int]) -> tuple[Dechunker, bytes, bytes]:
    """The decoder after these pieces, the body, and what follows the message."""
    decoder, body, behind = Dechunker(), b"", b""
    for start, end in pairwise([0, *sorted(cuts), len(data)]):
        part, rest = decoder.feed(data[start:end])
        body, behind = body + part, behind + rest
    return decoder, body, behind


@given(st.lists(st.integers(0, len(MESSAGE) + 9)))
def test_pieces_may_be_cut_anywhere(cuts: list[int]) -> None:
    decoder, body, behind = fed(MESSAGE + b"GET / HTTP", cuts)
    assert (body, behind, decoder.done) == (BODY, b"GET / HTTP", True)


@pytest.mark.parametrize("end", range(len(MESSAGE)))
def test_a_message_is_done_at_its_last_byte(end: int) -> None:
    decoder, body, behind = fed(MESSAGE[:end], [])
    assert not decoder.done
    assert BODY.startswith(body)
    assert behind == b""


def test_sizes_are_hexadecimal_in_either_case() -> None:
    assert fed(b"a\r\n" + b"x" * 10 + b"\r\n1F\r\n" + b"y" * 31 + b"\r\n00\r\n\r\n", [])[1] == b"x" * 10 + b"y" * 31


@pytest.mark.parametrize(
    ("sent", "message"),
    [
        (b"\r\n", "a chunk does not say its size"),
        (b"x\r\n", "a chunk does not say its size"),
        (b"-1\r\n", "a chunk does not say its size"),
        (b"0x5\r\n", "a chunk does not say its size"),
        (b"+5\r\n", "a chunk does not say its size"),
        (b" 5\r\n", "a chunk does not say its size"),
        (b"5\n", "a chunk does not say its size"),
        (b"5\r;\r\n", "a chunk does not say its size"),
        (b"5 name\r\n", "a chunk does not say its size"),
        (b"1" * 16 + b"\r\n", "a chunk does not say its size"),
        (b"5\r\nhellox", "a chunk is longer than it says"),
        (b"5\r\nhello\n", "a chunk is longer than it says"),
        (b"5\r\nhello\rx", "a chunk is longer than it says"),
    ],
)
def test_what_is_not_chunked_is_refused_as_soon_as_it_shows(sent: bytes, message: str) -> None:
    with pytest.raises(MalformedChunks, match=f"^{message}$"):
        fed(sent, [])
    with pytest.raises(MalformedChunks, match=f"^{message}$"):
        fed(sent, list(range(len(sent))))


class TestLimits:
    LONG = "^a chunk's head or the trailers are too long$"

    def test_a_line_of_a_chunk_may_have_1024_bytes(self) -> None:
        line = b"1;" + b"x" * (MAX_LINE_BYTES - 4) + b"\r\n"
        assert (MAX_LINE_BYTES, len(line)) == (1024, 1024)
        assert fed(line + b"a", [500])[1] == b"a"

    @pytest.mark.parametrize("cuts", [[], [500], [1024]])
    def test_a_longer_line_is_refused(self, cuts: list[int]) -> None:
        with pytest.raises(MalformedChunks, match=self.LONG):
            fed(b"1;" + b"x" * (MAX_LINE_BYTES - 1), cuts)

    def test_trailers_may_have_8192_bytes_together(self) -> None:
        lines = b"X: y\r\n" * ((MAX_TRAILER_BYTES - 2) // 6)
        assert (MAX_TRAILER_BYTES, len(lines)) == (8192, 8190)
        assert fed(b"0\r\n" + lines + b"\r\n", [100, 5000])[0].done

    @pytest.mark.parametrize("cuts", [[], [4000], list(range(3, 8000, 6))])
    def test_longer_trailers_are_refused(self, cuts: list[int]) -> None:
        with pytest.raises(MalformedChunks, match=self.LONG):
            fed(b"0\r\n" + b"X: y\r\n" * 1366, cuts)

    def test_ten_thousand_chunks_may_be_of_any_size(self) -> None:
        assert fed(b"1\r\nx\r\n" * 10_000, [])[1] == b"x" * 10_000

    def test_more_chunks_have_to_hold_16_bytes_each(self) -> None:
        # 10,000 + 10,000 // 16
        allowed = b"1\r\nx\r\n" * 10_666
        assert len(fed(allowed, [])[1]) == 10_666
        with pytest.raises(MalformedChunks, match=r"^the chunks are too small$"):
            fed(allowed + b"1\r\nx\r\n", [])
        assert len(fed((b"10\r\n" + b"x" * 16 + b"\r\n") * 20_000, [])[1]) == 320_000

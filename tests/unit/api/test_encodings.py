"""Compressed bodies, decoded piece by piece."""

from __future__ import annotations

import gzip
import zlib
from collections.abc import Callable

import pytest
from hypothesis import given
from hypothesis import strategies as st

from rerank.api.encodings import decoder_for
from rerank.errors import InvalidRequest, UnknownEncoding


def bare(data: bytes) -> bytes:
    """Deflate without the header of zlib."""
    packer = zlib.compressobj(wbits=-15)
    return packer.compress(data) + packer.flush()


PACKED: dict[str, tuple[str, Callable[[bytes], bytes]]] = {
    "gzip": ("gzip", gzip.compress),
    "x-gzip": (" X-GZIP ", gzip.compress),
    "deflate": ("deflate", zlib.compress),
    "deflate, fast": ("deflate", lambda data: zlib.compress(data, 1)),
    "bare deflate": ("Deflate", bare),
}


def decoded(coding: str, pieces: list[bytes]) -> bytes:
    decoder = decoder_for(coding)
    assert decoder is not None
    body = b""
    for piece in pieces:
        decoder.put(piece)
        while part := decoder.take():
            body += part
    decoder.end()
    return body


@pytest.mark.parametrize("case", PACKED)
@given(st.binary(max_size=300), st.integers(1, 400))
def test_a_body_is_decoded_however_it_is_cut(case: str, data: bytes, size: int) -> None:
    coding, pack = PACKED[case]
    packed = pack(data)
    assert decoded(coding, [packed[place : place + size] for place in range(0, len(packed), size)]) == data


@pytest.mark.parametrize("coding", ["", " ", "identity", "IDENTITY"])
def test_what_is_not_encoded_needs_no_decoder(coding: str) -> None:
    assert decoder_for(coding) is None


def test_an_unknown_encoding_is_refused_with_those_there_are() -> None:
    with pytest.raises(UnknownEncoding) as caught:
        decoder_for("bré" + "x" * 100)
    assert str(caught.value) == (
        f"Content-Encoding 'br\\xe9{'x' * 37}' is not supported. "
        "Send the body as gzip, deflate, or without an encoding."
    )


def test_a_few_bytes_unpack_in_pieces_of_a_quarter_megabyte() -> None:
    decoder = decoder_for("gzip")
    assert decoder is not None
    decoder.put(gzip.compress(bytes(600_000)))
    assert [len(decoder.take()) for _ in range(4)] == [262_144, 262_144, 75_712, 0]
    decoder.end()


@pytest.mark.parametrize("case", PACKED)
@pytest.mark.parametrize("size", [1000, 1_000_000])
@pytest.mark.parametrize("beyond", [0, 1, 9, 257, 262_144])
# zlib takes the last byte with the match or not, as the bits fall
@pytest.mark.parametrize("query", ["", "a", "france"])
def test_a_match_may_cross_the_end_of_a_piece(case: str, size: int, beyond: int, query: str) -> None:
    coding, pack = PACKED[case]
    data = f'{{"query":"{query}","documents":["b"]}}'.encode().ljust(262_144 + beyond)
    packed = pack(data)
    assert decoded(coding, [packed[place : place + size] for place in range(0, len(packed), size)]) == data


@pytest.mark.parametrize("size", [1, 30, 10_000])
def test_gzip_may_have_several_members(size: int) -> None:
    packed = gzip.compress(b"a") + gzip.compress(b"") + gzip.compress(b"b" * 100_000)
    assert (
        decoded("gzip", [packed[place : place + size] for place in range(0, len(packed), size)])
        == b"a" + b"b" * 100_000
    )


def test_members_of_nothing_are_counted() -> None:
    empty = gzip.compress(b"")
    assert decoded("gzip", [empty * 1000]) == b""
    with pytest.raises(InvalidRequest, match=r"^The body is gzip of more than 1000 members\. Send it as one\.$"):
        decoded("gzip", [empty * 1_000_000])


def test_a_body_of_nothing_is_whole() -> None:
    assert decoded("gzip", []) == decoded("deflate", [b""]) == b""


BROKEN = {
    "gzip that ends early": ("gzip", gzip.compress(b"a")[:-1]),
    "plain text as gzip": ("gzip", b"plain text"),
    "deflate as gzip": ("gzip", zlib.compress(b"a")),
    "a byte behind the end": ("gzip", gzip.compress(b"a") + b"x"),
    "half of a second member": ("gzip", gzip.compress(b"a") + gzip.compress(b"a")[:-1]),
    "a second body": ("deflate", zlib.compress(b"a") * 2),
    "deflate that ends early": ("deflate", zlib.compress(b"a")[:-1]),
    "a window too large": ("deflate", b"\x88" + zlib.compress(b"a")[1:]),
    "gzip as deflate": ("deflate", gzip.compress(b"a")),
}


@pytest.mark.parametrize("case", BROKEN)
@pytest.mark.parametrize("size", [1, 1000])
def test_a_body_that_is_not_what_its_encoding_says_is_400(case: str, size: int) -> None:
    coding, packed = BROKEN[case]
    with pytest.raises(InvalidRequest, match=f"^The body is not what its Content-Encoding says: {coding}.$"):
        decoded(coding, [packed[place : place + size] for place in range(0, len(packed), size)])

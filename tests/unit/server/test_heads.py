"""Heads of requests: what can begin one, what upgrades, and how the body is framed."""

from __future__ import annotations

import pytest

from rerank.server.chunked import Dechunker
from rerank.server.heads import Refused, framing, is_plausible, without_upgrade


@pytest.mark.parametrize(
    "head",
    [
        b"G",
        b"GET",
        b"GET ",
        b"M-SEARCH ",
        b"ABCDEFGHIJKLMNOPQRST /",
        b"GET /a b",
        b"GET / HTTP/1.1\r\n",
        b"POST / HTTP/1.0\r\nHost: x\r\n",
    ],
)
def test_a_beginning_that_can_become_a_head_is_waited_for(head: bytes) -> None:
    assert is_plausible(head)


@pytest.mark.parametrize(
    "head",
    [
        b"",
        b" GET / HTTP/1.1\r\n",
        b"get / HTTP/1.1\r\n",
        b"ABCDEFGHIJKLMNOPQRSTU / HTTP/1.1\r\n",
        b"GET\r",
        b"GET / HTTP/1.1\n",
        b"GET / HTTP/2.0\r\n",
        b"GET / http/1.1\r\n",
        b"GET /HTTP/1.1\r\n",
        b"\x16\x03\x01",
    ],
)
def test_a_beginning_that_cannot_become_a_head_is_refused(head: bytes) -> None:
    assert not is_plausible(head)


def test_an_upgrade_is_declined_wherever_the_header_stands() -> None:
    head = b"GET /upgrade: HTTP/1.1\r\nUpgrade: h2c\r\nX-Upgrade: a\r\nUPGRADE: websocket\r\n\r\n"
    assert without_upgrade(head) == (
        b"GET /upgrade: HTTP/1.1\r\nx-declined-upgrade: h2c\r\nX-Upgrade: a\r\nx-declined-upgrade: websocket\r\n\r\n"
    )


@pytest.mark.parametrize(
    ("headers", "length"),
    [
        ([], 0),
        ([(b"host", b"x"), (b"accept", b"a"), (b"accept", b"b")], 0),
        ([(b"content-length", b" 12\t")], 12),
        ([(b"content-length", b"9" * 18)], 10**18 - 1),
    ],
)
def test_a_body_is_as_long_as_its_length_says(headers: list[tuple[bytes, bytes]], length: int) -> None:
    assert framing(headers) == (None, length)


@pytest.mark.parametrize("coding", [b"chunked", b" Chunked "])
def test_a_chunked_body_has_a_decoder(coding: bytes) -> None:
    decoder, length = framing([(b"transfer-encoding", coding)])
    assert isinstance(decoder, Dechunker)
    assert length == 0


@pytest.mark.parametrize(
    "headers",
    [
        [(b"host", b"x"), (b"host", b"x")],
        [(b"content-length", b"5"), (b"content-length", b"5")],
        [(b"transfer-encoding", b"chunked"), (b"transfer-encoding", b"chunked")],
        [(b"content-length", b"0"), (b"transfer-encoding", b"chunked")],
        [(b"transfer-encoding", b"identity")],
        [(b"content-length", b"")],
        [(b"content-length", b"-1")],
        [(b"content-length", b"1" * 19)],
    ],
)
def test_a_body_whose_end_could_be_read_in_two_ways_is_400(headers: list[tuple[bytes, bytes]]) -> None:
    with pytest.raises(Refused, match=r"^Bad Request$") as caught:
        framing(headers)
    assert caught.value.status == 400

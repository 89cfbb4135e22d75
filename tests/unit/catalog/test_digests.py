from __future__ import annotations

import hashlib
import os
import zlib
from pathlib import Path

import pytest

from rerank.catalog import digests
from rerank.catalog.digests import crc32, known_sha256, sha256


@pytest.fixture
def file(tmp_path: Path) -> Path:
    file = tmp_path / "model.safetensors"
    file.write_bytes(b"weights")
    return file


@pytest.mark.parametrize("content", [b"", b"weights", b"weights of several blocks"])
def test_checksums_are_those_of_the_whole_file(file: Path, content: bytes, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(digests, "_BLOCK", 8)
    file.write_bytes(content)

    assert sha256(file) == known_sha256(file) == hashlib.sha256(content).hexdigest()
    assert crc32(file) == zlib.crc32(content)


def test_a_known_digest_is_not_computed_again(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    digest = sha256(file)
    monkeypatch.setattr(digests, "sha256", lambda _: "computed again")

    assert known_sha256(file) == digest


def test_a_file_that_was_replaced_is_read_again_whatever_its_size_and_time(file: Path) -> None:
    sha256(file)
    before = file.stat()
    other = file.with_name("other")
    other.write_bytes(b"WEIGHTS")
    os.utime(other, ns=(before.st_atime_ns, before.st_mtime_ns))
    other.replace(file)

    assert known_sha256(file) == hashlib.sha256(b"WEIGHTS").hexdigest()


def test_a_checked_digest_is_always_computed(file: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    sha256(file)
    monkeypatch.setattr(digests, "_stamp", lambda _: (0, 0, 0, 0))
    file.write_bytes(b"damaged")

    assert sha256(file) == hashlib.sha256(b"damaged").hexdigest()

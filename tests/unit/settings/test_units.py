from __future__ import annotations

import pytest

from rerank.units import parse_memory, parse_seconds

GIB = 1024**3


@pytest.mark.parametrize(
    ("text", "seconds"),
    [("0", 0), ("90", 90), ("1.5", 1.5), ("45s", 45), ("10m", 600), (" 10 M ", 600), ("1.5h", 5400), ("2d", 172800)],
)
def test_reads_times(text: str, seconds: float) -> None:
    assert parse_seconds(text) == seconds


@pytest.mark.parametrize("text", ["", "soon", "-1", "1y", "10 m 5 s", "nan", "inf", "1e3", "m", "١m"])
def test_refuses_invalid_times(text: str) -> None:
    with pytest.raises(ValueError, match="as in 10m"):
        parse_seconds(text)


@pytest.mark.parametrize(
    ("text", "size"),
    [
        ("8GB", 8_000_000_000),
        ("8 gib", 8 * GIB),
        ("1.5GiB", 3 * GIB // 2),
        ("500MB", 500_000_000),
        ("64kB", 64_000),
        ("2TB", 2_000_000_000_000),
        ("123456", 123456),
        ("50b", 50),
        ("80%", 800),
        ("12.5 %", 125),
        ("80", 800),
        ("100", 1000),
        ("101", 101),
    ],
)
def test_reads_amounts_of_memory(text: str, size: int) -> None:
    assert parse_memory(text, whole=1000) == size


@pytest.mark.parametrize("text", ["", "much", "-8GB", "8 apples", "GB", "%", "8G B"])
def test_refuses_invalid_amounts_of_memory(text: str) -> None:
    with pytest.raises(ValueError, match="as in 8GB or 8GiB"):
        parse_memory(text, whole=1000)

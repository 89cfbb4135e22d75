from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from rerank.units import expand_home, human_size, parse_memory, parse_seconds, precision_name

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


@pytest.mark.parametrize("text", ["", "soon", "1y"])
def test_says_what_a_time_and_an_amount_have_to_be(text: str) -> None:
    with pytest.raises(ValueError, match=r"^it has to be seconds, or a number with s, m, h or d, as in 10m$"):
        parse_seconds(text)
    with pytest.raises(
        ValueError,
        match=r"^it has to be a number with a unit as in 8GB or 8GiB, a number of bytes, or a percentage as in 80%$",
    ):
        parse_memory(text or "1 y", whole=1000)


@pytest.mark.parametrize(
    ("value", "name"),
    [
        ("bfloat16", "bf16"),
        (" Float16 ", "fp16"),
        ("half", "fp16"),
        ("float", "fp32"),
        ("FLOAT32", "fp32"),
        ("int8", "int8"),
        ("Other", "other"),
        (None, None),
        (16, 16),
    ],
)
def test_a_precision_has_one_name_whoever_writes_it(value: Any, name: Any) -> None:
    assert precision_name(value) == name


def test_a_tilde_is_the_home_folder(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", "/home/anna")
    assert expand_home(Path("~/models")) == Path("/home/anna/models")
    assert expand_home(Path("models/~")) == Path("models/~")


def test_the_home_folder_of_an_unknown_user_is_refused() -> None:
    with pytest.raises(ValueError, match=r"^there is no home folder for ~no-such-user$"):
        expand_home(Path("~no-such-user/models"))


@pytest.mark.parametrize(
    ("size", "said"),
    [
        (0, "0 B"),
        (999, "999 B"),
        (1000, "1 kB"),
        (999_499, "999 kB"),
        (999_500, "1 MB"),
        (999_499_999, "999 MB"),
        (999_500_000, "1.0 GB"),
        (1_149_000_000, "1.1 GB"),
        (4_000_000_000_000, "4000.0 GB"),
    ],
)
def test_sizes_are_said_in_decimal_units(size: int, said: str) -> None:
    assert human_size(size) == said

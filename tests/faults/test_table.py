"""Pages for operators name tests that there are."""

from __future__ import annotations

import re

import pytest

from tests.process.server import ROOT


@pytest.mark.parametrize("page", ["guides/faults.md", "SECURITY.md"])
def test_every_row_of_the_table_has_its_tests(page: str) -> None:
    text = (ROOT / "docs" / page).read_text(encoding="utf-8")
    rows = [row.split("|") for row in text.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 10
    there = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        there |= set(re.findall(r"(?:def|class) (\w+)", file.read_text(encoding="utf-8")))
    for row in rows:
        named = re.findall(r"`(\w+)`", row[-2])
        assert named, row[1:3]
        assert set(named) <= there, row[1:3]

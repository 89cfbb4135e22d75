"""The page for operators names tests that there are."""

from __future__ import annotations

import re

from tests.process.server import ROOT


def test_every_fault_of_the_table_has_its_tests() -> None:
    page = (ROOT / "docs" / "faults.md").read_text(encoding="utf-8")
    rows = [row.split("|") for row in page.splitlines() if row.startswith("| ")][1:]
    assert len(rows) > 10
    there = set()
    for file in (ROOT / "tests").rglob("test_*.py"):
        there |= set(re.findall(r"(?:def|class) (\w+)", file.read_text(encoding="utf-8")))
    for row in rows:
        named = re.findall(r"`(\w+)`", row[-2])
        assert named, row[1]
        assert set(named) <= there, row[1]

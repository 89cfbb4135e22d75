"""The READMEs' chart shows the figures of the page of measurements."""

from __future__ import annotations

import json
import re
from typing import Any
from xml.etree import ElementTree

import pytest

from benchmarks.chart import FIGURES, PICTURES, picture

PAGE = FIGURES.with_name("performance.md")
COMMITTED: dict[str, Any] = json.loads(FIGURES.read_text(encoding="utf-8"))


def table(section: str) -> dict[str, dict[str, str]]:
    """The first table of a section: rows by their first cell, cells by their column."""
    text = PAGE.read_text(encoding="utf-8")
    body = text.split(f"\n## {section}\n", 1)[1].split("\n## ", 1)[0]
    lines = re.findall(r"^\|.*\|$", body, re.MULTILINE)
    cells = [[cell.strip() for cell in line.strip("|").split("|")] for line in lines]
    head, _, *rows = cells
    return {row[0]: dict(zip(head[1:], row[1:], strict=True)) for row in rows}


@pytest.mark.parametrize("group", COMMITTED["groups"], ids=[group["section"] for group in COMMITTED["groups"]])
def test_every_figure_is_that_of_the_pages_table(group: dict[str, Any]) -> None:
    found = table(group["section"])
    for row in group["rows"]:
        cells = found[row["name"]]
        # behind a rate its ratio may follow
        assert float(cells[group["pairs"]].split(" ")[0]) == row["pairs"]
        assert cells[group["memory"]].removesuffix(" GB") in (f"{row['memory']:.1f}", f"{row['memory']:.2f}")


@pytest.mark.parametrize("language", PICTURES)
def test_the_committed_chart_is_up_to_date(language: str) -> None:
    written = PICTURES[language].read_text(encoding="utf-8")
    assert written == picture(COMMITTED, language), "run: python -m benchmarks.chart"
    ElementTree.fromstring(written)


def test_ratios_are_to_the_first_row_of_the_same_group() -> None:
    text = picture(COMMITTED, "en")
    for group in COMMITTED["groups"]:
        first, *others = group["rows"]
        for row in others:
            assert f"{row['pairs'] / first['pairs']:.2f}× ({row['pairs']}/s)" in text

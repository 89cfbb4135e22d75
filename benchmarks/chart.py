"""The READMEs' chart, from the committed figures of docs/benchmarks/http.json.

    python -m benchmarks.chart

Writes docs/benchmarks/http.svg and http.zh-CN.svg: plain text, the same on every machine, in light and dark.
"""

from __future__ import annotations

import json
import sys
from html import escape
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
FIGURES = FOLDER / "http.json"
PICTURES = {"en": FOLDER / "http.svg", "zh": FOLDER / "http.zh-CN.svg"}

_WIDTH, _MARGIN, _ROW = 840, 20, 24
_LEFT = (220, 545)
"""Where the bars of the two columns begin."""
_LONGEST = 150
_UNITS = {"pairs": "/s", "memory": " GB"}
_STYLE = """\
text { font: 13px system-ui, -apple-system, "Segoe UI", "Noto Sans", "Noto Sans CJK SC", sans-serif; fill: #1f2328 }
.paper { fill: #ffffff; stroke: #d1d9e0 } .title { font-weight: 600 } .quiet { fill: #59636e; font-size: 12px }
.ours { fill: #0969da } .peer { fill: #9aa4af }
@media (prefers-color-scheme: dark) {
text { fill: #f0f6fc } .paper { fill: #0d1117; stroke: #3d444d } .quiet { fill: #9198a1 }
.ours { fill: #4493f8 } .peer { fill: #6e7681 } }"""


def picture(figures: dict[str, Any], language: str) -> str:
    """The chart as SVG."""
    lines: list[str] = []
    y = _MARGIN + 16
    for group in figures["groups"]:
        lines += _group(group, figures, language, y)
        y += (len(group["rows"]) + 2) * _ROW + 16
    lines.append(_text(_MARGIN, y, figures["captions"][language], "quiet"))
    height = y + _MARGIN
    title = escape(" · ".join(figures["columns"][language]))
    return (
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {_WIDTH} {height}" width="{_WIDTH}" height="{height}" '
        f'role="img">\n<title>{title}</title>\n<style>\n{_STYLE}\n</style>\n'
        f'<rect class="paper" x="0.5" y="0.5" width="{_WIDTH - 1}" height="{height - 1}" rx="6"/>\n'
        + "\n".join(lines)
        + "\n</svg>\n"
    )


def _group(group: dict[str, Any], figures: dict[str, Any], language: str, y: int) -> list[str]:
    lines = [_text(_MARGIN, y, group["titles"][language], "title")]
    heads = figures["columns"][language]
    lines += [_text(x, y + _ROW, head, "quiet") for x, head in zip(_LEFT, heads, strict=True)]
    for place, row in enumerate(group["rows"], start=2):
        label = row["shown"].format(ours=figures["ours"][language])
        kind = "peer" if label == row["shown"] else "ours"
        lines.append(_text(_MARGIN, y + place * _ROW, label))
        for x, measure in zip(_LEFT, _UNITS, strict=True):
            lines += _bar(x, y + place * _ROW, [each[measure] for each in group["rows"]], place - 2, measure, kind)
    return lines


def _bar(x: int, y: int, values: list[float], place: int, measure: str, kind: str) -> list[str]:
    """A bar, and behind it the ratio to the first with the figure as it was measured."""
    value = values[place]
    length = round(_LONGEST * value / max(values), 1)
    ratio = f"{value / values[0]:.2f}×" if place else "1×"
    return [
        f'<rect class="{kind}" x="{x}" y="{y - 12}" width="{length}" height="15" rx="2"/>',
        _text(x + length + 6, y, f"{ratio} ({value}{_UNITS[measure]})"),
    ]


def _text(x: float, y: int, text: str, kind: str = "") -> str:
    named = f' class="{kind}"' if kind else ""
    return f'<text x="{x:g}" y="{y}"{named}>{escape(text)}</text>'


def main() -> int:
    """Write the chart in both languages; the exit status."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    for language, path in PICTURES.items():
        path.write_text(picture(figures, language), encoding="utf-8")
        print(path)
    return 0


if __name__ == "__main__":
    sys.exit(main())

"""Plots: SVG to put into a page, which holds no text of a user and refers to nothing outside, and files."""

from __future__ import annotations

import io
from collections.abc import Sequence
from pathlib import Path
from typing import Any
from warnings import catch_warnings, filterwarnings

from rerank.evaluation.needs import needed

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")
_SIZE = (8, 3.6)
"""Inches."""
FORMATS = (".svg", ".png")
"""Ends of the names of files that a plot can be."""
_POINTS_DRAWN_APART = 5_000
"""Above that, SVG would take megabytes: the points become one image in it."""
_STYLE = {"svg.fonttype": "none", "svg.hashsalt": "rerank"}
_NO_METADATA = {"Creator": None, "Date": None, "Format": None, "Type": None}


def curves(x: Sequence[float], lines: Sequence[Sequence[float]], x_label: str, y_label: str) -> str:
    """Lines over a logarithmic axis, coloured in the order of ``COLOURS``."""
    figure = needed("matplotlib.figure").Figure(figsize=_SIZE, layout="constrained")
    axes = figure.subplots()
    for place, y in enumerate(lines):
        axes.plot(x, y, marker="o", markersize=3, color=COLOURS[place % len(COLOURS)])
    axes.axhline(0, color="#888888", linewidth=0.8)
    axes.set_xscale("log")
    axes.set_xticks(x, [f"{value:g}" for value in x], minor=False)
    axes.minorticks_off()
    axes.set_xlabel(x_label)
    axes.set_ylabel(y_label)
    return inline_svg(figure)


def inline_svg(figure: Any) -> str:
    """The figure as an element ``<svg>``, the same for the same figure."""
    written = io.StringIO()
    with needed("matplotlib").rc_context(_STYLE):
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    text = written.getvalue()
    return text[text.index("<svg") :]


def scatter(model: Sequence[float], reference: Sequence[float], names: tuple[str, str], title: str, file: Path) -> None:
    """Every pair's score by the model over its score by the reference, and the line on which both are equal.

    ``names``: the model's and the reference's. ``file``: its end, one of ``FORMATS``, is what it becomes.
    """
    figure = needed("matplotlib.figure").Figure(figsize=(6, 6), layout="constrained")
    axes = figure.subplots()
    many = len(model) > _POINTS_DRAWN_APART
    axes.scatter(reference, model, s=9, alpha=0.2 if many else 0.5, linewidths=0, rasterized=many, color=COLOURS[0])
    # as the points need it: the line would widen it
    axes.set(xlim=axes.get_xlim(), ylim=axes.get_ylim())
    axes.axline((0, 0), slope=1, color="#888888", linewidth=0.8, linestyle="--", zorder=0)
    # a dollar sign in a name begins no formula
    axes.set_ylabel(names[0], parse_math=False)
    axes.set_xlabel(names[1], parse_math=False)
    axes.set_title(title, parse_math=False)
    with needed("matplotlib").rc_context(_STYLE), catch_warnings():
        # a letter that the font lacks is seen in the picture
        filterwarnings("ignore", "Glyph .* missing from font")
        figure.savefig(file, dpi=150, metadata=_NO_METADATA if file.suffix == ".svg" else None)

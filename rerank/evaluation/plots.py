"""Plots as SVG to put into a page. They hold no text of a user, and refer to nothing outside."""

from __future__ import annotations

import io
from collections.abc import Sequence
from typing import Any

from rerank.evaluation.needs import needed

COLOURS = ("#1f77b4", "#d62728", "#2ca02c", "#9467bd", "#ff7f0e", "#17becf", "#8c564b", "#e377c2", "#7f7f7f", "#bcbd22")
_SIZE = (8, 3.6)
"""Inches."""
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
    with needed("matplotlib").rc_context({"svg.fonttype": "none", "svg.hashsalt": "rerank"}):
        figure.savefig(written, format="svg", metadata=_NO_METADATA)
    text = written.getvalue()
    return text[text.index("<svg") :]

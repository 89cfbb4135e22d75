"""The table and the picture of docs/benchmarks/scale.md, from its committed figures.

    python -m benchmarks.cluster_picture

Prints the table and writes docs/benchmarks/scale.svg (`make extras`).
"""

from __future__ import annotations

import json
import statistics
import sys
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from benchmarks.cluster_simulation import BOUND, SCENES
from rerank.evaluation.needs import needed
from rerank.evaluation.plots import COLOURS, inline_svg

FOLDER = Path(__file__).resolve().parents[1] / "docs" / "benchmarks"
FIGURES = FOLDER / "scale.json"
PICTURE = FOLDER / "scale.svg"
HEAD = (
    "| cluster | router | p50 | p99 | p99 to the bound's | loads per hour and replica | in memory | utilisation |\n"
    "|---|---|---|---|---|---|---|---|"
)
_MEANS = ("p50", "p99", "loads_per_hour", "warm", "utilisation")


@dataclass(frozen=True, slots=True)
class Row:
    """One router in one scene: the mean of the seeds."""

    scene: str
    policy: str
    keeps_up: bool
    p50: float
    p99: float
    ratios: tuple[float, ...]
    """Of each seed, p99 to the bound's for the same requests."""
    loads: float
    warm: float
    utilisation: float


def rows(figures: Sequence[dict[str, Any]]) -> list[Row]:
    """The rows of the table, in the order of the scenes, the bound first."""
    bounds = {(each["scene"], each["seed"]): each["p99"] for each in figures if each["policy"] == BOUND}
    found = []
    for scene in SCENES:
        for policy in (BOUND, *SCENES[scene].policies):
            runs = [each for each in figures if (each["scene"], each["policy"]) == (scene, policy)]
            if runs:
                found.append(_row(scene, policy, runs, bounds))
    return found


def _row(scene: str, policy: str, runs: Sequence[dict[str, Any]], bounds: dict[tuple[str, int], float]) -> Row:
    mean = {name: statistics.mean(run[name] or 0 for run in runs) for name in _MEANS}
    ratios = tuple((run["p99"] or 0) / bounds[scene, run["seed"]] for run in runs)
    keeps_up = all(run["keeps_up"] for run in runs)
    return Row(
        scene,
        policy,
        keeps_up,
        mean["p50"],
        mean["p99"],
        ratios,
        mean["loads_per_hour"],
        mean["warm"],
        mean["utilisation"],
    )


def table(figures: Sequence[dict[str, Any]]) -> str:
    """The table, in Markdown."""
    lines = [HEAD]
    for row in rows(figures):
        if row.keeps_up:
            cells = [f"{row.p50:.3f} s", f"{row.p99:.2f} s", _ratio(row), f"{row.loads:.1f}", f"{row.warm:.2%}"]
            lines.append(f"| {row.scene} | {row.policy} | {' | '.join(cells)} | {row.utilisation:.2f} |")
        else:
            lines.append(f"| {row.scene} | {row.policy} | does not keep up | | | {row.loads:.0f} | | |")
    return "\n".join(lines)


def _ratio(row: Row) -> str:
    if row.policy == BOUND:
        return "1"
    mean = statistics.mean(row.ratios)
    return f"{mean:.2f} ({min(row.ratios):.2f} to {max(row.ratios):.2f})" if len(row.ratios) > 1 else f"{mean:.2f}"


def picture(figures: Sequence[dict[str, Any]]) -> str:
    """Two plots as SVG: p99 to the bound's, and loads, of each router over the size of the cluster."""
    figure = needed("matplotlib.figure").Figure(figsize=(9, 3.8), layout="constrained")
    left, right = figure.subplots(1, 2)
    sizes = [scene for scene in SCENES if scene.endswith(("replica", "replicas"))]
    kept = [row for row in rows(figures) if row.scene in sizes and row.policy != BOUND]
    for colour, policy in zip(COLOURS, dict.fromkeys(row.policy for row in kept), strict=False):
        of_policy = [row for row in kept if row.policy == policy]
        up = [row for row in of_policy if row.keeps_up]
        ratios = [statistics.mean(row.ratios) for row in up]
        left.plot([_size(row) for row in up], ratios, marker="o", markersize=4, color=colour, label=policy)
        # zero has no place on a logarithmic axis
        loads = [max(row.loads, 1) for row in of_policy]
        right.plot([_size(row) for row in of_policy], loads, marker="o", markersize=4, color=colour)
    left.axhline(1.15, color="#888888", linewidth=0.8, linestyle="--")
    left.legend(fontsize=8)
    for axes, label in ((left, "p99 to the lower bound's"), (right, "loads per hour and replica, at least 1")):
        axes.set_xscale("log", base=4)
        counts = [SCENES[scene].traffic.replicas for scene in sizes]
        axes.set_xticks(counts, [str(count) for count in counts])
        axes.minorticks_off()
        axes.set_xlabel("replicas")
        axes.set_ylabel(label)
    right.set_yscale("log")
    return inline_svg(figure)


def _size(row: Row) -> int:
    return SCENES[row.scene].traffic.replicas


def main() -> int:
    """Print the table and write the picture; the exit status."""
    figures = json.loads(FIGURES.read_text(encoding="utf-8"))
    print(table(figures))
    PICTURE.write_text(picture(figures), encoding="utf-8")
    return 0


if __name__ == "__main__":
    sys.exit(main())

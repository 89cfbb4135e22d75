"""Report of an evaluation: one page that needs no other file and no network, and runs no script."""

from __future__ import annotations

from importlib.resources import files

from jinja2 import Environment, StrictUndefined

from rerank.evaluation.outcome import Outcome
from rerank.evaluation.plots import COLOURS, curves
from rerank.evaluation.worst import worst_queries


def page(outcome: Outcome) -> str:
    """The page as HTML. What texts and names hold is shown, never markup."""
    measure = outcome.measures.names[0]
    gains = outcome.gains(measure)
    plot = curves(gains.depths, gains.rows, "candidates reranked", "gain over the first stage")
    template = Environment(
        autoescape=True, undefined=StrictUndefined, trim_blocks=True, lstrip_blocks=True
    ).from_string(files("rerank.evaluation").joinpath("report.html").read_text(encoding="utf-8"))
    return template.render(
        outcome=outcome,
        gains=gains,
        plot=plot,
        colours=COLOURS,
        worst=[(row, worst_queries(outcome, row, measure)) for row in outcome.models],
    )

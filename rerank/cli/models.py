"""`rerank models`: the known models, and which are on disk."""

from __future__ import annotations

import sys
from collections.abc import Sequence

import typer

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import is_started
from rerank.catalog.staging import staging_folder
from rerank.cli.terminal import verbatim
from rerank.settings import read_settings
from rerank.units import human_size
from rerank_client import printable

_EPILOG = """
examples:
  rerank models
  RERANK_MODELS_DIR=/srv/models rerank models

`rerank pull NAME` downloads a model, `rerank ps` shows the models of a running server.

exit status:
  0  the table was printed
  2  wrong usage or settings
"""
_HEADINGS = ("name", "size", "languages", "on disk")

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def models() -> None:
    """List the known models: bundled cards, those of the models file, and folders in the models folder."""
    settings = read_settings()
    show_models(Catalog.open(settings.models_dir, settings.models_file), numbered=False)


def show_models(catalog: Catalog, *, numbered: bool) -> None:
    """Print the table of known models: drawn on a terminal, plain text elsewhere."""
    rows = [_row(card, catalog) for card in catalog.cards()]
    if sys.stdout.isatty():
        _draw(rows, numbered=numbered)
        return
    widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
    for row in (_HEADINGS, *rows):
        print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())


def _draw(rows: Sequence[tuple[str, ...]], *, numbered: bool) -> None:
    from rich.console import Console
    from rich.table import Column, Table
    from rich.text import Text

    # a name that is cut short cannot be typed
    table = Table(*(Column(heading, overflow="fold") for heading in (("", *_HEADINGS) if numbered else _HEADINGS)))
    for number, row in enumerate(rows, start=1):
        # as text: brackets in a name are no markup
        table.add_row(*map(Text, (str(number), *row) if numbered else row))
    Console().print(table)


def _row(card: ModelCard, catalog: Catalog) -> tuple[str, str, str, str]:
    size = human_size(card.download_bytes) if card.download_bytes else "-"
    return printable(card.id), size, card.languages or "-", _state(card, catalog)


def _state(card: ModelCard, catalog: Catalog) -> str:
    if catalog.is_local(card):
        return "on disk"
    destination = catalog.own_folder(card)
    if is_started(destination):
        return "broken"
    return "incomplete, will resume" if is_started(staging_folder(destination)) else "-"

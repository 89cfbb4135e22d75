"""The table of known models that the download command shows."""

from __future__ import annotations

import sys

from rerank.catalog.cards import ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import is_started
from rerank.catalog.staging import staging_folder
from rerank.units import human_size
from rerank_client import printable

_HEADINGS = ("name", "size", "languages", "on disk")


def show_models(catalog: Catalog, *, numbered: bool) -> None:
    """The table of known models: drawn on a terminal, plain text elsewhere."""
    rows = [_row(card, catalog) for card in catalog.cards()]
    if not sys.stdout.isatty():
        widths = [max(map(len, column)) for column in zip(_HEADINGS, *rows, strict=True)]
        for row in (_HEADINGS, *rows):
            print("  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip())
        return
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

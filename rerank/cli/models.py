"""`rerank models`: the known models, which are on disk, and the choice of those that a command is for."""

from __future__ import annotations

import re
import sys
from collections.abc import Iterable, Sequence
from typing import Annotated

import typer

from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import MANY, About, ModelCard
from rerank.catalog.catalog import Catalog
from rerank.catalog.checkpoint import is_started
from rerank.catalog.staging import staging_folder
from rerank.cli.terminal import complain, verbatim
from rerank.errors import SettingsError
from rerank.settings import read_settings
from rerank.units import human_size
from rerank_client import printable

_PROMPT = "numbers or names, separated by spaces or commas; empty to quit: "
_EPILOG = """
examples:
  rerank models
  rerank models --for cpu,zh,commercial
  RERANK_MODELS_DIR=/srv/models rerank models

`rerank pull NAME` downloads a model, `rerank ps` shows the models of a running server.

exit status:
  0  the table was printed
  2  wrong usage or settings
"""
_HEADINGS = ("name", "parameters", "size", "languages", "licence", "on disk")
_WISHES = ("cpu", "commercial")
_MEANT = {"cn": "zh", "jp": "ja", "kr": "ko", "chinese": "zh", "english": "en", "japanese": "ja", "korean": "ko"}
"""Languages' codes, by what is taken for them."""
_For = Annotated[
    str | None,
    typer.Option(
        "--for",
        metavar="WISHES",
        help="Show only models for all of these, separated by commas: cpu (up to 600 million parameters), commercial "
        "(use), and languages by their two letters.",
    ),
]

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def models(ctx: typer.Context, wishes: _For = None) -> None:
    """List the known models: built-in ones, those of the models file, and folders in the models folder."""
    settings = read_settings()
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    cards = catalog.cards()
    try:
        show_models(catalog, cards if wishes is None else _for(wishes, cards))
    except ValueError as error:
        ctx.fail(f"--for: {error}")


def _for(wishes: str, cards: Sequence[ModelCard]) -> list[ModelCard]:
    """The models that suit every wish; none whose card says nothing. Raises ValueError for an unknown wish."""
    described = [(card, card.about) for card in cards if card.about]
    asked = [wish.strip().lower() for wish in wishes.split(",") if wish.strip()]
    _check_wishes(asked, {code for _, about in described for code in about.languages} - {*MANY})
    return [card for card, about in described if all(about.suits(wish) for wish in asked)]


def _check_wishes(asked: Sequence[str], languages: Iterable[str]) -> None:
    if not asked:
        raise ValueError("it is empty; give cpu, commercial, or the two letters of a language, such as zh")
    known = sorted(languages)
    for wish in asked:
        if wish not in (*_WISHES, *known):
            hint = f"Did you mean {_MEANT[wish]}? " if wish in _MEANT else ""
            raise ValueError(
                f"{wish!r} is none of cpu, commercial and the languages that models name. {hint}The languages "
                f"are {', '.join(known)}; models for many languages may read others."
            )


def show_models(catalog: Catalog, cards: Sequence[ModelCard], *, numbered: bool = False) -> None:
    """Print a table of models: drawn on a terminal, plain text elsewhere."""
    rows = [_row(card, catalog) for card in cards]
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

    headings = (*([""] if numbered else ()), "name, languages, licence", "parameters", "size", "on disk")
    # a name that is cut short cannot be typed
    table = Table(*(Column(heading, overflow="fold") for heading in headings))
    for number, (name, parameters, size, languages, licence, state) in enumerate(rows, start=1):
        cells = (f"{name}\n  {languages}; {licence}", parameters, size, state)
        # as text: brackets in a name are no markup
        table.add_row(*map(Text, (str(number), *cells) if numbered else cells))
    Console().print(table)


def _row(card: ModelCard, catalog: Catalog) -> tuple[str, ...]:
    about, name, state = card.about, printable(card.id), _state(card, catalog)
    if about is None:
        return name, "-", "-", "-", "-", state
    return name, f"{about.parameters} M", human_size(about.download_bytes), about.purpose, named_licence(about), state


def named_licence(about: About) -> str:
    """A model's licence, in words."""
    return about.licence if about.commercial else f"{about.licence}, not commercial"


def _state(card: ModelCard, catalog: Catalog) -> str:
    if not card.has_weights:
        return "not needed"
    if catalog.is_local(card):
        return "on disk"
    destination = catalog.own_folder(card)
    if is_started(destination):
        return "broken"
    return "incomplete, will resume" if is_started(staging_folder(destination)) else "-"


def asked(ctx: typer.Context, catalog: Catalog, names: Sequence[str], *, every: bool) -> list[ModelCard]:
    """Each model once. Without names the user picks, on a terminal. Raises SettingsError for an unknown name."""
    if names or every:
        return _chosen(catalog, names, every=every)
    if not (sys.stdin.isatty() and sys.stdout.isatty()):
        ctx.fail("give the names of models, --all or --list (the menu needs a terminal)")
    return _menu(catalog)


def _chosen(catalog: Catalog, names: Sequence[str], *, every: bool = False) -> list[ModelCard]:
    """Each model once, in the order given. Raises SettingsError for an unknown name."""
    cards = [catalog.operator_choice(name) for name in names]
    if every:
        known = {card.id for card in BUILT_IN}
        cards += [card for card in catalog.cards() if card.repo and card.id in known]
    return list({card.id: card for card in cards}.values())


def _menu(catalog: Catalog) -> list[ModelCard]:
    """The models that the user picks; none if the answer is empty or the input ends."""
    cards = catalog.cards()
    show_models(catalog, cards, numbered=True)
    while True:
        try:
            words = [word for word in re.split(r"[\s,，、]+", input(_PROMPT)) if word]
        except EOFError:
            print()
            return []
        try:
            return _chosen(catalog, [_by_number(word, cards) for word in words])
        except SettingsError as error:
            complain(str(error))


def _by_number(word: str, cards: Sequence[ModelCard]) -> str:
    if not word.isdecimal():
        return word
    if not 1 <= int(word) <= len(cards):
        raise SettingsError(f"there is no number {word}; the menu has 1 to {len(cards)}")
    return cards[int(word) - 1].id

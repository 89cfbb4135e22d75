"""Tables of settings, models, metrics, errors and commands, as Markdown."""

from __future__ import annotations

import importlib
import os
import re
from collections.abc import Iterable, Iterator, Sequence
from contextlib import redirect_stdout
from io import StringIO
from types import SimpleNamespace
from typing import Any

from pydantic_core import PydanticUndefined
from typer.main import get_command

from rerank import errors
from rerank.api.errors import STATUSES
from rerank.catalog.built_in import BUILT_IN
from rerank.catalog.cards import ModelCard
from rerank.cli.main import COMMANDS
from rerank.server.connections import Connections
from rerank.server.gauges import gauges
from rerank.settings import GROUPS, setting_names
from rerank.telemetry.metrics import Gauge, Metrics
from rerank.units import human_size
from tools.site.surroundings import environment

_SHOWN_WIDTH = 100
_TERMINAL = {"COLUMNS": str(_SHOWN_WIDTH), "TERM": "dumb", "NO_COLOR": "1"}


def table(header: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """A Markdown table; a bar within a cell is escaped."""
    cells = [header, ["---"] * len(header), *rows]
    return "\n".join(f"| {' | '.join(_one_line(cell) for cell in row)} |" for row in cells)


def settings() -> str:
    """Every setting, a table for each group."""
    names = setting_names()
    parts = []
    for group in GROUPS:
        rows = [
            (f"`{names[field][0]}`", _default(info.default), _prose(info.description or ""), _listed(names[field][1:]))
            for field, info in group.model_fields.items()
        ]
        parts.append(f"## {group.__doc__}\n\n" + table(("Setting", "Default", "Description", "Also"), rows))
    return "\n\n".join(parts)


def models() -> str:
    """Every built-in model."""
    rows = [_model_row(card) for card in sorted(BUILT_IN, key=lambda card: card.id.lower()) if card.about]
    header = ("Model", "Kind", "Languages", "Parameters", "Download", "Tokens", "Licence")
    return table(header, rows)


def metrics() -> str:
    """Every metric of a server."""
    rows = sorted([*_gauges(), *_counted()])
    return table(("Metric", "Type", "Labels", "Description"), rows)


def error_classes() -> str:
    """Status of each class of errors, parents before children."""
    rows = [
        (*_status_of(kind), f"`{kind.__name__}`", _prose(kind.__doc__ or "")) for kind in _family(errors.RerankError)
    ]
    return table(("Status", "`error.type`", "Class in log and metrics", "Meaning"), rows)


def commands() -> str:
    """The help of every command, as a terminal shows it."""
    return "\n\n".join(f"### rerank {name}\n\n```text\n{_help_of(name)}\n```" for name in COMMANDS)


def _model_row(card: ModelCard) -> tuple[str, ...]:
    about = card.about
    assert about is not None
    tokens = str(card.max_length or "")
    parameters = f"{about.parameters} M" if about.parameters else ""
    download = human_size(about.download_bytes) if about.download_bytes else "bundled"
    return (f"`{card.id}`", card.stated_family or "", about.purpose, parameters, download, tokens, about.licence)


def _gauges() -> Iterator[tuple[str, ...]]:
    # nothing is read
    found: list[Gauge] = []
    server: Any = SimpleNamespace(admission=None, observe=None, add_gauges=lambda *added: found.extend(added))
    Connections(1, server)
    for gauge in (*gauges(server, server), *found):
        yield f"`{gauge.name}`", "gauge", _listed(filter(None, [gauge.label])), _prose(gauge.help)


def _counted() -> Iterator[tuple[str, ...]]:
    # prometheus_client has no public name for the labels of a counter that has counted nothing
    collectors: Iterable[Any] = Metrics()._registry._collector_to_names
    for collector in collectors:
        kind = collector._type
        name = f"{collector._name}_total" if kind == "counter" else collector._name
        yield f"`{name}`", kind, _listed(collector._labelnames), _prose(collector._documentation)


def _family(kind: type[errors.RerankError]) -> Iterator[type[errors.RerankError]]:
    for child in kind.__subclasses__():
        yield child
        yield from _family(child)


def _status_of(kind: type[errors.RerankError]) -> tuple[str, str]:
    listed = next((ancestor for ancestor in kind.__mro__ if ancestor in STATUSES), None)
    if listed is None:
        return "", "never sent"
    status, name = STATUSES[listed]
    return str(status), f"`{name}`"


def _help_of(name: str) -> str:
    command = get_command(importlib.import_module(f"rerank.cli.{name}").app)
    with environment({**os.environ, **_TERMINAL}), redirect_stdout(StringIO()) as shown:
        command.main(["--help"], prog_name=f"rerank {name}", standalone_mode=False)
    return "\n".join(line.rstrip() for line in shown.getvalue().strip().splitlines())


def _default(value: Any) -> str:
    if value is None or value is PydanticUndefined:
        return ""
    return f"`{str(value).lower() if isinstance(value, bool) else value}`"


def _listed(names: Iterable[str]) -> str:
    return ", ".join(f"`{name}`" for name in names)


def _prose(text: str) -> str:
    """The first paragraph of a docstring or help, with ``code`` as Markdown has it."""
    return re.sub(r"``(.+?)``", r"`\1`", " ".join(text.split("\n\n")[0].split())).replace("*", r"\*")


def _one_line(cell: str) -> str:
    return cell.replace("|", r"\|").replace("\n", " ")

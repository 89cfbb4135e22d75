"""`rerank serve`: every setting is an option."""

from __future__ import annotations

from collections.abc import Iterator
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import typer
from pydantic.fields import FieldInfo
from typer.core import TyperCommand

from rerank.cli.terminal import verbatim
from rerank.settings import GROUPS, Settings, read_settings, setting_names

_FIRST = (
    "host",
    "port",
    "api_key",
    "default_model",
    "preload",
    "models_dir",
    "device",
    "precision",
    "memory_budget",
    "hf_endpoint",
)
"""The settings that most people need."""
_METAVARS = {bool: "true|false", int: "N", float: "SECONDS", Path: "PATH"}
_EPILOG = """
examples:
  rerank serve
  rerank serve --port 9000 --default-model BAAI/bge-reranker-v2-m3
  RERANK_API_KEY=a-secret-key rerank serve --host 0.0.0.0
  rerank serve --preload bge-reranker-base,bge-reranker-v2-m3 --model-device cuda

Each option is also a setting in the environment and in `.env`: --port is RERANK_PORT.
The command line overrides the environment, and the environment overrides `.env`.

exit status:
  0  stopped
  2  wrong usage or settings
  3  the address cannot be listened on
"""


class InGroups(TyperCommand):
    """Options under the heading of their group."""

    def format_options(self, ctx: Any, formatter: Any) -> None:
        groups: dict[str, list[tuple[str, str]]] = {}
        for option in self.get_params(ctx):
            if record := option.get_help_record(ctx):
                groups.setdefault(getattr(option, "rich_help_panel", None) or "Options", []).append(record)
        for title, records in groups.items():
            with formatter.section(title):
                formatter.write_dl(records)


app = typer.Typer(rich_markup_mode=None, add_completion=False)


def serve(**given: str | None) -> None:
    """Serve rerank models over HTTP."""
    settings = read_settings({SETTING_OF[name]: value for name, value in given.items() if value is not None})
    # importing uvicorn and torch takes seconds, which a wrong setting need not wait for
    from rerank.server.serve import main

    raise typer.Exit(main(settings))


def setting_parameters() -> Iterator[Parameter]:
    """An option for every setting: the most needed first, then each group; former and prefixed names are hidden."""
    grouped = [(field, str(group.__doc__)) for group in GROUPS for field in group.__annotations__]
    for field, title in [(field, "Options") for field in _FIRST] + [row for row in grouped if row[0] not in _FIRST]:
        info = Settings.model_fields[field]
        for name in _option_names(field):
            option: Any = typer.Option(
                f"--{name.replace('_', '-')}",
                help=_help(info),
                metavar=_metavar(info.annotation),
                rich_help_panel=title,
                hidden=bool(info.deprecated) or name != _option_names(field)[0],
            )
            annotation = Annotated[str | None, option]
            yield Parameter(name, Parameter.KEYWORD_ONLY, default=None, annotation=annotation)


def _option_names(field: str) -> list[str]:
    """The shown name first: without the prefix, which only the environment needs."""
    names = [name.lower() for name in setting_names()[field]]
    return list(dict.fromkeys([names[0].removeprefix("rerank_"), *names]))


def _help(info: FieldInfo) -> str:
    if info.default is None:
        return str(info.description)
    default = str(info.default).lower() if isinstance(info.default, bool) else info.default
    return f"{info.description} [default: {default}]"


def _metavar(annotation: Any) -> str:
    if get_origin(annotation) is Literal:
        return "|".join(get_args(annotation))
    kind = next(iter(get_args(annotation)), annotation)
    return _METAVARS.get(kind, "TEXT")


SETTING_OF = {name: names[0].lower() for field, names in setting_names().items() for name in _option_names(field)}
"""The first name of a setting in the environment, by option: it precedes all others."""
serve.__signature__ = Signature(list(setting_parameters()))  # type: ignore[attr-defined]
app.command(cls=InGroups, epilog=verbatim(_EPILOG))(serve)

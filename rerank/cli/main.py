"""The `rerank` command and the table of its subcommands."""

from __future__ import annotations

import importlib
import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from typer.core import TyperCommand, TyperGroup
from typer.main import get_command

import rerank
from rerank.cli.terminal import CommandFailed, complain, escape_what_cannot_be_shown, verbatim
from rerank.errors import SettingsError

COMMANDS = {
    "serve": "Serve rerank models over HTTP.",
    "cluster": "Serve from several replicas behind one address.",
    "pull": "Download models from the Hugging Face Hub.",
    "models": "List the known models, and which are on disk.",
    "ps": "Show the models of a running server.",
    "key": "Make API keys.",
    "verify": "Compare a model's scores on this machine with known scores.",
    "calibrate": "Fit a model's scores to those of another, or to judgements.",
    "rank": "Rank a file of any length.",
    "tune": "Choose the weights of an ensemble's members.",
    "bench": "Measure models on this machine: speed, latency, memory.",
    "evaluate": "Measure how well models rank your own data.",
    "compare": "Compare a model's scores with those of a reference.",
    "health": "Ask the server on this machine whether it is alive.",
}
"""Summaries for `rerank --help`, by name, which is also the name of the module."""
_FORMER_NAMES = {"models": ("ps", "--all")}
"""Former names of commands of `rerank-server`."""
_EXAMPLES = """
examples:
  rerank serve                           start the server on port 8000
  rerank pull BAAI/bge-reranker-v2-m3    download a model
  rerank ps                              what the server has in memory
"""


class _Deferred(TyperCommand):
    """A command whose module is imported when it runs, so that none waits for the imports of another."""

    def make_context(self, *args: Any, **options: Any) -> Any:
        from rerank.settings import prepare_libraries

        # libraries read the environment when they are imported
        prepare_libraries()
        module = importlib.import_module(f"rerank.cli.{self.name}")
        return get_command(module.app).make_context(*args, **options)


class _Commands(TyperGroup):
    def __init__(self, **attributes: Any) -> None:
        super().__init__(**attributes)
        self.commands = {name: _Deferred(name, help=summary) for name, summary in COMMANDS.items()}


app = typer.Typer(cls=_Commands, rich_markup_mode=None, no_args_is_help=True, epilog=verbatim(_EXAMPLES))


def _print_version(wanted: bool) -> None:
    if wanted:
        print(rerank.__version__)
        raise typer.Exit


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", callback=_print_version, is_eager=True, help="Show the version and exit.")
    ] = False,
) -> None:
    """Serve rerank models, and manage them.

    `rerank COMMAND --help` explains a command.
    """


def main(arguments: Sequence[str] | None = None) -> int:
    """Run `rerank`; the exit status."""
    escape_what_cannot_be_shown()
    try:
        get_command(app).main(arguments, prog_name="rerank")
    except SystemExit as end:
        return int(end.code or 0)
    except SettingsError as error:
        complain(str(error))
        return 2
    except CommandFailed as error:
        complain(str(error))
        return error.status
    return 0


def server_main() -> int:
    """Run `rerank-server`: a command, or the server if there are only options; the exit status."""
    first, rest = (sys.argv[1:2] or [""])[0], sys.argv[2:]
    if first in COMMANDS:
        return main([*_FORMER_NAMES.get(first, (first,)), *rest])
    return main(["serve", *sys.argv[1:]])


def download_main() -> int:
    """Run `rerank-download`; the exit status."""
    return main(["pull", *sys.argv[1:]])

"""`rerank key new`: make an API key, of which only the hash is kept."""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Annotated, Any

import typer
from pydantic import ValidationError

from rerank.access.keys_file import KeyInFile, add_key
from rerank.catalog.catalog import Catalog
from rerank.cli.terminal import verbatim
from rerank.errors import SettingsError
from rerank.settings import Settings, read_settings

_EPILOG = """
examples:
  rerank key new chat
  rerank key new shop --model bge-reranker-v2-m3 --requests-per-minute 600
  rerank key new operations --admin

exit status:
  0  the key was added
  2  wrong usage or settings
"""

app = typer.Typer(rich_markup_mode=None, add_completion=False, no_args_is_help=True, epilog=verbatim(_EPILOG))


@app.callback()
def _key() -> None:
    """Make API keys with names and limits.

    The hash of a key is added to the keys file (RERANK_KEYS_FILE, keys.toml by default). To revoke a key or change its
    limits, edit the file.
    """


_Name = Annotated[str, typer.Argument(help="Name of the key, shown in the log: letters, digits, _ . -")]
_Model = Annotated[
    list[str] | None,
    typer.Option(metavar="MODEL", help="Model that the key may use; may be repeated. Default: all models."),
]
_Requests = Annotated[int | None, typer.Option(metavar="N", help="Maximum requests per minute. Default: no limit.")]
_Tokens = Annotated[int | None, typer.Option(metavar="N", help="Maximum tokens per minute. Default: no limit.")]
_Admin = Annotated[bool, typer.Option("--admin", help="The key may also load, unload and pin models.")]


@app.command(epilog=verbatim(_EPILOG))
def new(
    name: _Name,
    model: _Model = None,
    requests_per_minute: _Requests = None,
    tokens_per_minute: _Tokens = None,
    admin: _Admin = False,
) -> None:
    """Make a key, print it and add its hash to the keys file.

    The key is printed once and kept nowhere. A running server reads the keys file again at SIGHUP.
    """
    settings = read_settings()
    entry = _entry(
        name=name,
        models=_ids(settings, model) if model else None,
        requests_per_minute=requests_per_minute,
        tokens_per_minute=tokens_per_minute,
        admin=admin,
    )
    key = add_key(settings.keys_file, entry.caller())
    print(f"added {entry.name} to {settings.keys_file}; this is the only time its key is shown:", file=sys.stderr)
    print(key)


def _ids(settings: Settings, names: Sequence[str]) -> tuple[str, ...]:
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    return tuple(catalog.operator_choice(name).id for name in names)


def _entry(**fields: Any) -> KeyInFile:
    """The entry of the keys file. Raises SettingsError now for what would be refused when the file is read."""
    try:
        return KeyInFile(sha256="0" * 64, **fields)
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error

"""`rerank-server key new`: a key for somebody, of which only the hash stays here."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from pydantic import ValidationError

from rerank.access.keys_file import KeyInFile, add_key
from rerank.catalog.catalog import Catalog
from rerank.errors import SettingsError
from rerank.settings import read_settings

_EPILOG = """\
The key is printed once and kept nowhere; the keys file holds its hash. A running server reads the file again at SIGHUP.
To take a key back, or to change its limits, edit the file.

exit status: 0 the key was added, 2 wrong usage or settings
"""


def main(arguments: Sequence[str]) -> int:
    """Add a key and print it; the exit status is told in ``--help``."""
    parser = argparse.ArgumentParser(
        prog="rerank-server key",
        description="Make an API key and add its hash to the keys file (RERANK_KEYS_FILE, else keys.toml).",
        epilog=_EPILOG,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    new = parser.add_subparsers(dest="command", required=True, title="commands", metavar="").add_parser(
        "new", help="make a key", epilog=_EPILOG, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    new.add_argument("name", metavar="NAME", help="whose it is: letters, digits, _ . -; stands in the log")
    new.add_argument(
        "--model",
        action="append",
        dest="models",
        metavar="MODEL",
        help="a model it may use; may be given again (default: every model)",
    )
    new.add_argument("--requests-per-minute", type=int, metavar="N", help="default: no limit")
    new.add_argument("--tokens-per-minute", type=int, metavar="N", help="default: no limit")
    new.add_argument("--admin", action="store_true", help="it may load, unload and pin models, too")
    try:
        print(_new(parser.parse_args(arguments)))
    except SettingsError as error:
        print(f"rerank-server key: {error}", file=sys.stderr)
        return 2
    return 0


def _new(wanted: argparse.Namespace) -> str:
    settings = read_settings()
    catalog = Catalog.open(settings.models_dir, settings.models_file)
    try:
        # what the file would refuse is refused before it stands there
        entry = KeyInFile(
            name=wanted.name,
            sha256="0" * 64,
            models=wanted.models and tuple(catalog.operator_choice(name).id for name in wanted.models),
            requests_per_minute=wanted.requests_per_minute,
            tokens_per_minute=wanted.tokens_per_minute,
            admin=wanted.admin,
        )
    except ValidationError as error:
        first = error.errors()[0]
        raise SettingsError(f"{str(first['loc'][0]).replace('_', '-')}: {first['msg']}") from error
    key = add_key(settings.keys_file, entry.caller())
    print(f"added {entry.name} to {settings.keys_file}; this is the only time its key is shown:", file=sys.stderr)
    return key

"""Download rerank models: `python download_model.py --help`."""

from __future__ import annotations

import sys


def main() -> int:
    """Run the download command; the exit status."""
    try:
        from rerank.errors import SettingsError
        from rerank.settings import pass_on_env_file

        try:
            pass_on_env_file()
        except SettingsError as error:
            sys.stderr.write(f"rerank-download: {error}\n")
            return 2
        from rerank.cli import download

        return download.main()
    except KeyboardInterrupt:
        return 130


if __name__ == "__main__":
    raise SystemExit(main())

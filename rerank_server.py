"""The rerank server: `python rerank_server.py`, or `uvicorn rerank_server:app`."""

from __future__ import annotations

from typing import Any


def __getattr__(name: str) -> Any:
    # `app` is built when uvicorn asks for it, so that importing this module reads no configuration
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rerank.cli.build import app_from_settings
    from rerank.errors import SettingsError
    from rerank.settings import read_settings

    try:
        # kept, because uvicorn asks twice
        app = globals()["app"] = app_from_settings(read_settings())
    except SettingsError as error:
        raise SystemExit(f"rerank-server: {error}") from error
    return app


if __name__ == "__main__":
    from rerank.cli.serve import main

    raise SystemExit(main())

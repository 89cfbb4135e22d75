"""The rerank server: `python rerank_server.py`, or `uvicorn rerank_server:app`."""

from __future__ import annotations

import signal
import sys
from typing import Any

_STARTUP_FAILURE = 3
"""uvicorn's own status for it; it restarts workers that exit with another."""


def __getattr__(name: str) -> Any:
    # `app` is built when uvicorn asks for it, so that importing this module reads no configuration
    if name != "app":
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    from rerank.errors import SettingsError
    from rerank.server.workers import refuse_several_workers
    from rerank.settings import prepare_libraries, read_settings

    try:
        prepare_libraries()
        settings = read_settings()
        refuse_several_workers()
        # importing torch takes seconds, which a wrong setting need not wait for
        from rerank.server.build import app_from_settings
        from rerank.server.hosting import UnderUvicorn

        # kept, because uvicorn asks twice
        app = globals()["app"] = UnderUvicorn(app_from_settings(settings), settings)
    except SettingsError as error:
        sys.stderr.write(f"rerank: {error}\n")
        raise SystemExit(_STARTUP_FAILURE) from error
    return app


def main() -> int:
    """Run the server, or one of the commands; the exit status."""
    # nothing is there yet that had to be ended in order, and an import that Ctrl-C interrupts shows a traceback
    if signal.getsignal(signal.SIGINT) is signal.default_int_handler:
        signal.signal(signal.SIGINT, signal.SIG_DFL)
    from rerank.cli.main import server_main

    return server_main()


if __name__ == "__main__":
    raise SystemExit(main())

"""`rerank health`: whether the server on this machine is alive. For the image's health check.

Run as `python -m rerank.cli.health` it takes half a second: of this project it imports only the settings.
"""

from __future__ import annotations

import http.client

import typer

from rerank.cli.terminal import CommandFailed, verbatim
from rerank.settings import read_settings

_EPILOG = """
examples:
  rerank health
  PORT=9000 rerank health

exit status:
  0  the server is alive
  1  it says what is wrong
  2  wrong usage or settings
  3  no server answers
"""
_SECONDS = 4
_SHOWN_BYTES = 500

app = typer.Typer(rich_markup_mode=None, add_completion=False)


@app.command(epilog=verbatim(_EPILOG))
def health() -> None:
    """Ask the server on this machine whether it is alive.

    The address is that of the settings (HOST and PORT). Proxies are not used.
    """
    settings = read_settings()
    try:
        status, body = _ask(settings.local_host, settings.port)
    except (OSError, http.client.HTTPException) as error:
        raise CommandFailed(f"no server answers on port {settings.port}: {error}", 3) from error
    print(f"{status} {body!a}")
    raise typer.Exit(0 if status == http.client.OK else 1)


def _ask(host: str, port: int) -> tuple[int, str]:
    # unlike urllib and requests this module knows no proxies
    connection = http.client.HTTPConnection(host, port, timeout=_SECONDS)
    try:
        connection.request("GET", "/health")
        answer = connection.getresponse()
        return answer.status, answer.read(_SHOWN_BYTES).decode("utf-8", "replace")
    finally:
        connection.close()


if __name__ == "__main__":
    from rerank.cli.main import main

    raise SystemExit(main(["health"]))

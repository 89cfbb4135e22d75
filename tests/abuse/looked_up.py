"""Run a script, and write every name that it looks up to standard error.

python looked_up.py script.py arguments...
"""

from __future__ import annotations

import os
import runpy
import sys

TOLD = "LOOKED UP:"


def _watch(event: str, arguments: tuple[object, ...]) -> None:
    if event in {"socket.getaddrinfo", "socket.gethostbyname"}:
        os.write(2, f"{TOLD} {arguments[0]}\n".encode())


if __name__ == "__main__":
    sys.addaudithook(_watch)
    sys.argv = sys.argv[1:]
    runpy.run_path(sys.argv[0], run_name="__main__")

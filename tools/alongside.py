"""Targets of make that run alongside a command. Their output is printed when the command has ended, then its last line.

    python -m tools.alongside types sdks -- pytest tests

While a target runs, its file (`.venv/.sdks.lock`) is locked: tests wait for what they need.
"""

from __future__ import annotations

import fcntl
import os
import signal
import subprocess
import sys
import tempfile
from collections.abc import Sequence
from contextlib import ExitStack
from pathlib import Path
from typing import IO

_LINE = 4096
LOCKS = Path(__file__).resolve().parents[1] / ".venv"


class _Side:
    """One target under way."""

    def __init__(self, target: str, output: IO[str], make: str, locks: Path) -> None:
        self._target = target
        self._output = output
        own = {name: value for name, value in os.environ.items() if name not in ("MAKEFLAGS", "MFLAGS", "MAKELEVEL")}
        with lock_file(target, locks).open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            # the lock is the processes' from here on, and ends with the last of them
            self._process = subprocess.Popen(
                [make, "--no-print-directory", target],
                stdout=output,
                stderr=subprocess.STDOUT,
                env=own,
                pass_fds=[lock.fileno()],
            )

    def end(self) -> int:
        """Wait for the target and print what it said; the exit status."""
        status = self._process.wait()
        self._output.seek(0)
        print(
            f"\nmake {self._target} {'failed' if status else 'succeeded'} alongside:\n{self._output.read()}", flush=True
        )
        return status


def main(arguments: Sequence[str], make: str = os.environ.get("MAKE", "make"), locks: Path = LOCKS) -> int:
    """Run the command and the targets alongside; the first exit status that is not 0."""
    split = list(arguments).index("--")
    # each process hears an interrupt itself, and the command has things to end
    signal.signal(signal.SIGINT, lambda *_: None)
    with ExitStack() as outputs:
        sides = [
            _Side(target, outputs.enter_context(tempfile.TemporaryFile("w+", errors="replace")), make, locks)
            for target in arguments[:split]
        ]
        status, last = _run(arguments[split + 1 :])
        statuses = [status, *(side.end() for side in sides)]
    print(f"\n{last}", flush=True)
    return next((status for status in statuses if status), 0)


def _run(command: Sequence[str]) -> tuple[int, str]:
    """The exit status of the command, and the last line that it printed."""
    end = b""
    with subprocess.Popen(command, stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        while piece := os.read(process.stdout.fileno(), 65536):
            sys.stdout.buffer.write(piece)
            sys.stdout.buffer.flush()
            end = (end + piece)[-_LINE:]
    return process.returncode, end.decode(errors="replace").rstrip().rpartition("\n")[2]


def lock_file(target: str, locks: Path = LOCKS) -> Path:
    """The file that is locked while the target runs."""
    return locks / f".{target}.lock"


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

"""The server, imported where only its own packages are installed."""

from __future__ import annotations

import subprocess
import sys

PROGRAM = """
import sys

# packages of extras and of tests: requirements.txt brings none of them
for name in ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "pytest", "hypothesis"):
    sys.modules[name] = None  # an import of it raises ImportError
import rerank.cli.main
import rerank.server.build
import rerank.server.serve
"""


def test_the_server_needs_no_package_of_an_extra() -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM], capture_output=True, text=True, check=False)
    assert done.stderr == ""

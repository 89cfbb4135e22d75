"""The server, without a model, where packages are missing."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Sequence

import pytest

PROGRAM = """
import asyncio
import sys

for name in sys.argv[1:]:
    sys.modules[name] = None  # an import of it raises ImportError
import rerank.cli.main
import rerank.server.serve
from rerank import Engine
from rerank.server import build
from rerank.settings import Settings

async def start():
    async with Engine.open(Settings(_env_file=None, rerank_model_device="cpu")):
        pass

asyncio.run(start())
"""
OF_EXTRAS = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto", "pytest", "hypothesis")
"""Packages of extras and of tests: requirements.txt brings none of them."""
OF_HTTP = ("fastapi", "starlette")
"""Packages that are imported while the first model loads."""
OF_MODELS = ("torch", "transformers", "sentence_transformers")
"""Packages that take seconds to import."""
ON_DEMAND = (
    "aiohttp",
    "httpx2",
    "huggingface_hub.file_download",
    "huggingface_hub.utils",
    "jinja2",
    "rich",
    "requests",
)
"""Packages of upstreams, of downloads, of templates and of the command line, which take tenths of a second together."""


@pytest.mark.parametrize(
    "packages",
    [OF_EXTRAS, OF_HTTP, OF_MODELS, ON_DEMAND],
    ids=["extras", "those of the HTTP half", "those of models", "those on demand"],
)
def test_the_server_starts_without(packages: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-c", PROGRAM, *packages], capture_output=True, text=True, check=False)
    assert done.stderr == ""

"""What processes import, in which order, and where packages are missing."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path

import pytest

from tests.process.server import ROOT

START = """
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
POLICY_HALF = """
import importlib, pkgutil, sys

for name in ("torch", "transformers", "sentence_transformers", "tokenizers", "openvino", "nncf"):
    sys.modules[name] = None  # an import of it raises ImportError
for half in ("api", "gateway", "access", "registry"):
    package = importlib.import_module(f"rerank.{half}")
    for module in pkgutil.walk_packages(package.__path__, f"{package.__name__}."):
        importlib.import_module(module.name)
importlib.import_module("rerank.backends.base")
print(len([name for name in sys.modules if name.startswith("rerank.")]))
"""
TRACING = """
import sys
import rerank.api.app
from rerank.telemetry.tracing import open_tracing
optional = ("opentelemetry.sdk", "opentelemetry.exporter", "opentelemetry.proto")
print(open_tracing(), [name for name in sys.modules if name.startswith(optional)])
"""
SPY = """
import os, sys

class Spy:
    def find_spec(self, name, *_):
        if name == "torch":
            print({key: os.environ[key] for key in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY") if key in os.environ})
            sys.exit()

sys.meta_path.insert(0, Spy())
import rerank_server
rerank_server.app
import torch
"""


@pytest.mark.parametrize(
    "packages",
    [OF_EXTRAS, OF_HTTP, OF_MODELS, ON_DEMAND],
    ids=["extras", "those of the HTTP half", "those of models", "those on demand"],
)
def test_the_server_starts_without(packages: Sequence[str]) -> None:
    done = subprocess.run([sys.executable, "-c", START, *packages], capture_output=True, text=True, check=False)
    assert done.stderr == ""


def test_the_policy_half_is_imported_without_torch() -> None:
    done = subprocess.run([sys.executable, "-c", POLICY_HALF], capture_output=True, text=True, check=False)
    assert done.stderr == ""
    assert int(done.stdout) > 50


def test_without_variables_the_sdk_is_not_imported() -> None:
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    run = subprocess.run(
        [sys.executable, "-c", TRACING], cwd=ROOT, env=environment, capture_output=True, text=True, check=True
    )
    assert run.stdout == "None []\n"


@pytest.mark.parametrize(
    ("arguments", "heavy"),
    [
        ([], ["pydantic", "pydantic_settings", "rich", "fastapi", "torch"]),
        (["serve", "--help"], ["uvicorn", "rich", "fastapi", "torch"]),
        (["models"], ["uvicorn", "fastapi", "torch", "transformers"]),
        (["health"], ["rich", "requests", "huggingface_hub", "fastapi", "torch"]),
    ],
    ids=lambda value: " ".join(value) or "help",
)
def test_light_commands_import_nothing_heavy(arguments: list[str], heavy: list[str], tmp_path: Path) -> None:
    program = (
        "import sys\nfrom rerank.cli.main import main\n"
        f"main({arguments or ['--help']})\nprint(sorted(set({heavy}) & set(sys.modules)))"
    )
    run = subprocess.run(
        [sys.executable, "-c", program],
        cwd=tmp_path,
        env={"PYTHONPATH": str(ROOT), "PATH": "", "PORT": "1"},
        capture_output=True,
        text=True,
    )
    assert run.stdout.splitlines()[-1:] == ["[]"], run.stderr


@pytest.mark.parametrize(
    ("given", "seen"),
    [
        ({}, {"GOMP_SPINCOUNT": "10000"}),
        ({"OMP_WAIT_POLICY": "active"}, {"OMP_WAIT_POLICY": "active"}),
        ({"GOMP_SPINCOUNT": "7"}, {"GOMP_SPINCOUNT": "7"}),
    ],
)
def test_how_long_threads_of_openmp_spin_is_said_before_torch_is_imported(
    given: dict[str, str], seen: dict[str, str], tmp_path: Path
) -> None:
    environment = {
        name: value for name, value in os.environ.items() if name not in ("GOMP_SPINCOUNT", "OMP_WAIT_POLICY")
    }
    # next to the project's files, but without its .env
    environment |= given | {"PYTHONPATH": str(ROOT), "RERANK_MODEL_DEVICE": "cpu"}
    done = subprocess.run(
        [sys.executable, "-c", SPY], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout.splitlines()[0] == str(seen)

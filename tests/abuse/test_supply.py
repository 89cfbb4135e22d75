"""What the image is made of, and what a container of it may take."""

from __future__ import annotations

import re
import subprocess
from pathlib import Path

import pytest
import yaml  # type: ignore[import-untyped]

from tests.process.server import ROOT

_PIN = re.compile(r"^([\w.-]+)==([\w.+-]+)", re.MULTILINE)
_DIGEST = "sha256:" + "ab" * 32
_DOCKER = f"""#!/bin/sh
if [ "$1" = buildx ]; then echo {_DIGEST}; else echo "$@"; fi
"""


def pins(file: str) -> dict[str, str]:
    """Versions by the package's name as the index spells it."""
    return {re.sub(r"[._-]+", "-", name).lower(): version for name, version in _PIN.findall((ROOT / file).read_text())}


def test_every_package_of_the_image_but_torch_is_pinned_by_hash() -> None:
    locked, wanted = pins("requirements.lock"), pins("requirements.txt")
    del wanted["torch"]
    assert wanted.items() <= locked.items()
    tracing = locked.keys() - wanted.keys()
    assert {"opentelemetry-sdk", "opentelemetry-exporter-otlp-proto-http"} <= tracing
    assert {name: locked[name] for name in tracing}.items() <= pins("requirements-dev.txt").items()
    entries = re.split(r"^(?=[\w.-]+==)", (ROOT / "requirements.lock").read_text(), flags=re.MULTILINE)[1:]
    assert len(entries) == len(locked)
    assert all(re.search(r"--hash=sha256:[0-9a-f]{64}\b", entry) for entry in entries)


def test_files_of_requirements_do_not_undo_each_other() -> None:
    versions: dict[str, set[str]] = {}
    for file in ROOT.glob("requirements*.txt"):
        for name, version in pins(file.name).items():
            versions.setdefault(name, set()).add(version)
    assert {name: found for name, found in versions.items() if len(found) > 1} == {}


def test_the_image_installs_by_hash_on_bases_that_can_be_named_by_digest() -> None:
    recipe = (ROOT / "Dockerfile").read_text()
    assert "--require-hashes --no-deps --only-binary :all: -r requirements.lock" in recipe
    assert re.findall(r"^FROM (\S+)", recipe, re.MULTILINE) == ["${BUILD}", "${RUNTIME}"]


def test_the_image_is_built_from_the_digests_that_the_tags_name(tmp_path: Path) -> None:
    docker = tmp_path / "docker"
    docker.write_text(_DOCKER)
    docker.chmod(0o755)
    built = subprocess.run(
        ["make", "--silent", "image", "ARGS=--pull"],
        cwd=ROOT,
        env={"PATH": f"{tmp_path}:/usr/local/bin:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=60,
        check=True,
    )
    assert built.stdout.split() == [
        *("build", "-t", "rerank-gateway"),
        *("--build-arg", f"RUNTIME=gcr.io/distroless/python3-debian13:latest@{_DIGEST}"),
        *("--build-arg", f"BUILD=python:3.13-slim-trixie@{_DIGEST}"),
        *("--pull", "."),
    ]


@pytest.mark.parametrize("service", ["rerank", "rerank-gpu"])
def test_a_container_has_limits_and_no_rights(service: str) -> None:
    given = yaml.safe_load((ROOT / "compose.yaml").read_text())["services"][service]
    assert given["mem_limit"] == given["memswap_limit"] == "${MEMORY_LIMIT:-8g}"
    assert given["pids_limit"] == 1024
    assert (given["read_only"], given["cap_drop"]) == (True, ["ALL"])

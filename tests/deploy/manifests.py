"""Kubernetes manifests as tests see them: rendered by helm, and checked against the schemas of their kinds."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import jsonschema_rs
import kubernetes_validate  # type: ignore[import-untyped]
import pytest
import yaml  # type: ignore[import-untyped]

from tests.support.installed import wait_for

ROOT = Path(__file__).parents[2]
CHART = ROOT / "deploy" / "helm" / "rerank-gateway"
EXAMPLES = ROOT / "deploy" / "helm" / "examples"
SCHEMAS = Path(__file__).parent / "schemas"
LOWEST, NEWEST = "1.30", "1.37"
NAMESPACE, RELEASE = "search", "rerank-gateway"
NEEDED = ("image.repository=registry.example/rerank-gateway", "auth.secret=rerank-keys")
"""What everyone has to say."""

Manifest = dict[str, Any]


def helm(*arguments: str) -> subprocess.CompletedProcess[str]:
    """Run helm; skips where it is not installed."""
    wait_for("helm")
    program = shutil.which("helm", path=str(Path(sys.executable).parent)) or shutil.which("helm")
    if program is None:
        pytest.skip("helm is not installed: make helm")
    return subprocess.run([program, *arguments], capture_output=True, text=True)


@cache
def rendered(*values: str, release: str = RELEASE) -> tuple[Manifest, ...]:
    """The manifests of a release with these values: files of values, or NAME=VALUE."""
    done = template(*values, release=release)
    assert done.returncode == 0, done.stderr
    return tuple(each for each in yaml.safe_load_all(done.stdout) if each)


def template(*values: str, release: str = RELEASE) -> subprocess.CompletedProcess[str]:
    """What helm makes of the values, or says against them."""
    options = [f"--values={value}" if value.endswith(".yaml") else f"--set={value}" for value in values]
    return helm("template", release, str(CHART), f"--namespace={NAMESPACE}", *options)


def of_kind(manifests: Sequence[Manifest], kind: str) -> list[Manifest]:
    """The manifests of one kind."""
    return [manifest for manifest in manifests if manifest["kind"] == kind]


def the(manifests: Sequence[Manifest], kind: str) -> Manifest:
    """The only manifest of a kind."""
    (manifest,) = of_kind(manifests, kind)
    return manifest


def pod_templates(manifest: Manifest) -> Iterator[Manifest]:
    """Every template of pods in a manifest."""
    for name, value in manifest.items():
        if name == "template" and "spec" in value:
            yield value
        for each in value if isinstance(value, list) else [value]:
            if isinstance(each, dict):
                yield from pod_templates(each)


def check(manifest: Manifest, version: str = NEWEST) -> None:
    """Raise for a manifest that Kubernetes, or the operator whose resource it is, would not take."""
    _check(json.dumps(manifest), version)


@cache
def _check(text: str, version: str) -> None:
    manifest = json.loads(text)
    own = SCHEMAS / f"{manifest['kind']}.json"
    if own.exists():
        # its regular expressions are Go's, which Python's do not contain
        jsonschema_rs.validate(json.loads(own.read_text(encoding="utf-8")), manifest)
    else:
        kubernetes_validate.validate(manifest, version, strict=True)


def environment(container: Mapping[str, Any]) -> dict[str, str]:
    """The container's variables; one of a Secret has its name in capitals for a value."""
    return {
        each["name"]: each["value"] if "value" in each else f"SECRET-{each['valueFrom']['secretKeyRef']['key']}"
        for each in container.get("env", [])
    }

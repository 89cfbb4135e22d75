"""Fetch the packages that the web pages use from npm, and keep the files that they need, with versions and hashes.

    python tools/vendor.py

Writes rerank/api/pages/files/vendor. Needs npm; what is pinned here is checked against npm's own hash by npm.
"""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
import tarfile
import tempfile
from pathlib import Path
from typing import Any

FOLDER = Path(__file__).resolve().parents[1] / "rerank" / "api" / "pages" / "files" / "vendor"
LICENCES = "LICENCES.txt"
PACKAGES: dict[str, dict[str, str]] = {
    "htm@3.1.1": {"preact/standalone.module.js": "preact-htm.js"},
    # is within htm's file
    "preact@10.5.15": {},
    "@picocss/pico@2.1.1": {"css/pico.min.css": "pico.css"},
    "uplot@1.6.32": {"dist/uPlot.esm.js": "uplot.js", "dist/uPlot.min.css": "uplot.css"},
}
"""Of each package the files to keep, and their names here."""


def main() -> int:
    """Fetch and write everything; the exit status."""
    FOLDER.mkdir(parents=True, exist_ok=True)
    entries, licences = [], []
    for package, files in PACKAGES.items():
        found, text = _fetch(package, files)
        entries += found
        licences.append(f"{package}\n\n{text.strip()}\n")
    (FOLDER / "vendored.json").write_text(json.dumps(entries, indent=2) + "\n", encoding="utf-8")
    (FOLDER / LICENCES).write_text("\n\n".join(licences), encoding="utf-8")
    print(f"{len(entries)} files in {FOLDER}")
    return 0


def _fetch(package: str, files: dict[str, str]) -> tuple[list[dict[str, Any]], str]:
    """What is kept of a package, and its licence."""
    with tempfile.TemporaryDirectory() as folder:
        command = ["npm", "pack", package, "--silent", "--pack-destination", folder]
        subprocess.run(command, check=True, stdout=subprocess.DEVNULL)
        with tarfile.open(next(Path(folder).glob("*.tgz"))) as packed:
            licence = json.loads(_content(packed, "package.json"))["license"]
            kept = [_keep(package, licence, name, _content(packed, path)) for path, name in files.items()]
            text = next(name for name in packed.getnames() if "/LICEN" in name).removeprefix("package/")
            return kept, _content(packed, text).decode()


def _content(packed: tarfile.TarFile, path: str) -> bytes:
    stream = packed.extractfile(f"package/{path}")
    if stream is None:
        raise FileNotFoundError(path)
    return stream.read()


def _keep(package: str, licence: str, name: str, content: bytes) -> dict[str, Any]:
    # a map of the source would be fetched from where it is not
    content = b"\n".join(line for line in content.splitlines() if b"sourceMappingURL" not in line) + b"\n"
    (FOLDER / name).write_bytes(content)
    return {"file": name, "package": package, "licence": licence, "sha256": hashlib.sha256(content).hexdigest()}


if __name__ == "__main__":
    sys.exit(main())

"""Where a fetched model came from, written beside its weights."""

from __future__ import annotations

import json
from dataclasses import dataclass
from pathlib import Path

MANIFEST = ".rerank-manifest.json"


@dataclass(frozen=True, slots=True)
class Manifest:
    """Repository and commit of a fetched model."""

    repo: str
    commit: str


def read_manifest(folder: Path) -> Manifest | None:
    """Where the model in a folder came from; None if it was not fetched by this server. Raises OSError."""
    file = folder / MANIFEST
    if not file.is_file():
        return None
    try:
        content = json.loads(file.read_text(encoding="utf-8"))
        return Manifest(repo=str(content["repo"]), commit=str(content["commit"]))
    except (ValueError, KeyError, TypeError):
        # only the fetcher writes it; whatever else is there says nothing of where the model came from
        return None
